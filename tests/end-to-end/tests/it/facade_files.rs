//! `get_files`: levels, searches, pages and their tokens, `delete_file`.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use stowage_testkit::{Account, Kit, Site};

use crate::go_types::decode_success;

/// Keys in all, some in folders.
const KEYS: &[&str] = &[
    "1.txt",
    "2.txt",
    "Été/Neige.jpg",
    "deep/a/1",
    "deep/a/2",
    "deep/b",
    "deep/c/",
    "deep/c/3",
    "été/soleil.jpg",
    "z 100%+?&#.txt",
];
/// Keys that a page of a search looks at, at most.
const SCAN_KEYS_MAX: usize = 10_000;
/// How many objects are stored at once.
const AT_ONCE: usize = 64;

/// A customer's bucket, listed through the facade.
struct Lister<'a> {
    site: &'a Site,
    token: String,
    s3uid: String,
    bucket: &'static str,
}

impl Lister<'_> {
    async fn page(&self, rest: &[(&str, &str)]) -> Value {
        let all = [&[("s3uid", self.s3uid.as_str()), ("bucket_name", self.bucket)], rest].concat();
        let answer = self.site.facade.action("get_files", &self.token, &all).await;
        let page = decode_success("get_files", &answer);
        let count = keys(&page, "files", "key").len() + keys(&page, "folders", "prefix").len();
        assert_eq!(page["key_count"], count, "{page}");
        let token = page["next_continuation_token"].as_str().expect("a text");
        assert_eq!(page["is_truncated"], !token.is_empty(), "{page}");
        page
    }

    /// All pages of a listing, and how many there are.
    async fn all(&self, rest: &[(&str, &str)]) -> (Vec<String>, Vec<String>, usize) {
        let (mut files, mut folders, mut pages) = (Vec::new(), Vec::new(), 0);
        let mut token = String::new();
        loop {
            let page = self.page(&[rest, &[("continuation_token", &token)]].concat()).await;
            files.extend(keys(&page, "files", "key"));
            folders.extend(keys(&page, "folders", "prefix"));
            pages += 1;
            next(&page).clone_into(&mut token);
            if token.is_empty() {
                return (files, folders, pages);
            }
        }
    }

    async fn refusal(&self, rest: &[(&str, &str)]) -> Value {
        let all = [&[("s3uid", self.s3uid.as_str()), ("bucket_name", self.bucket)], rest].concat();
        let answer = self.site.facade.action("get_files", &self.token, &all).await;
        answer.failure();
        assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.text());
        answer.value()
    }
}

fn keys(page: &Value, list: &str, name: &str) -> Vec<String> {
    let text = |row: &Value| row[name].as_str().expect("a text").to_owned();
    page[list].as_array().expect("a list").iter().map(text).collect()
}

fn next(page: &Value) -> &str {
    page["next_continuation_token"].as_str().unwrap_or_default()
}

async fn store(account: &Account, bucket: &str, keys: impl Iterator<Item = String>) {
    let s3 = account.s3();
    let puts = keys.map(|key| {
        let put = s3.put_object().bucket(bucket).key(key);
        put.body(Bytes::from_static(b"12345").into()).send()
    });
    let outcomes: Vec<_> = stream::iter(puts).buffer_unordered(AT_ONCE).collect().await;
    for outcome in outcomes {
        outcome.expect("an object is stored");
    }
}

async fn account(kit: &Kit, bucket: &'static str) -> (String, Account) {
    let customer = kit.site.customer(&format!("{bucket}@example.com"), "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let account = kit.site.order(&customer.token, plan_id, bucket).await;
    (customer.token, account)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_level_or_a_search_is_listed_page_by_page() {
    let kit = Kit::start().await;
    let (token, account) = account(&kit, "levels").await;
    store(&account, "levels", KEYS.iter().map(|&key| key.to_owned())).await;
    let lister = Lister { site: &kit.site, token, s3uid: account.s3uid.clone(), bucket: "levels" };
    let first = lister.page(&[]).await;
    assert_eq!(first["files"][0]["name"], "1.txt");
    assert_eq!(first["files"][0]["size"], 5);
    assert!(first["files"][0]["last_modified"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(first["folders"][0]["name"], "deep");

    for (prefix, search, files, folders) in [
        ("", "", &["1.txt", "2.txt", "z 100%+?&#.txt"][..], &["deep/", "Été/", "été/"][..]),
        ("deep/", "", &["deep/b"], &["deep/a/", "deep/c/"]),
        ("deep/c/", "", &["deep/c/", "deep/c/3"], &[]),
        ("deep", "", &[], &["deep/"]),
        ("nothing", "", &[], &[]),
        ("", ".TXT", &["1.txt", "2.txt", "z 100%+?&#.txt"], &[]),
        ("", "ÉTÉ", &["Été/Neige.jpg", "été/soleil.jpg"], &[]),
        ("deep/", "A", &["deep/a/1", "deep/a/2"], &[]),
        ("", "%+?&#", &["z 100%+?&#.txt"], &[]),
        ("", "absent", &[], &[]),
    ] {
        for max_keys in ["1", "2", "3", "100", "5000"] {
            let rest = [("prefix", prefix), ("search", search), ("max_keys", max_keys)];
            let (found, found_folders, pages) = lister.all(&rest).await;
            let sorted =
                |list: &[&str]| list.iter().map(|&key| key.to_owned()).collect::<BTreeSet<_>>();
            let unique: BTreeSet<String> = found.iter().cloned().collect();
            assert_eq!(unique, sorted(files), "{rest:?}");
            assert_eq!(unique.len(), found.len(), "no page repeats another: {rest:?}");
            let unique: BTreeSet<String> = found_folders.iter().cloned().collect();
            assert_eq!(unique, sorted(folders), "{rest:?}");
            assert_eq!(unique.len(), found_folders.len(), "no page repeats another: {rest:?}");
            let max: usize = max_keys.parse().expect("a number");
            let rows = files.len() + folders.len();
            assert!(pages <= rows.div_ceil(max.min(100)).max(1) + 1, "{rest:?}: {pages} pages");
            // The same by page numbers, for clients that know nothing else.
            let (mut by_page, mut folders_by_page) = (Vec::new(), Vec::new());
            for page in 1..=pages + 1 {
                let number = page.to_string();
                let page = lister.page(&[&rest[..], &[("page", &number)]].concat()).await;
                by_page.extend(keys(&page, "files", "key"));
                folders_by_page.extend(keys(&page, "folders", "prefix"));
            }
            assert_eq!((by_page, folders_by_page), (found, found_folders), "{rest:?}");
        }
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_signed_and_bound_to_its_bucket_prefix_and_search() {
    let kit = Kit::start().await;
    let (token, account) = account(&kit, "tokens").await;
    let s3uid = account.s3uid.clone();
    let lister = Lister { site: &kit.site, token: token.clone(), s3uid, bucket: "tokens" };
    let create = [("s3uid", account.s3uid.as_str()), ("bucket_name", "tokens-2")];
    kit.site.facade.action("create_bucket", &token, &create).await.success();
    for bucket in ["tokens", "tokens-2"] {
        store(&account, bucket, (0..4).map(|n| format!("a/{n}"))).await;
    }
    let listing = [("prefix", "a/"), ("search", "a"), ("max_keys", "1")];
    let first = lister.page(&listing).await;
    let good = next(&first).to_owned();
    let second = lister.page(&with_token(&good)).await;
    assert_eq!(keys(&second, "files", "key"), ["a/1"]);
    // Another size of pages is the same listing; so is a page number beside the token.
    let more = [("prefix", "a/"), ("search", "a"), ("continuation_token", &good), ("page", "3")];
    assert_eq!(lister.page(&more).await["key_count"], 3);

    let assert_refused = |refusal: Value, what: &str| {
        assert_eq!(refusal["message"], "continuation_token invalid", "{what}: {refusal}");
        assert!(refusal["details"]["error"].is_string(), "{what}: {refusal}");
    };
    for (prefix, search) in [("a/", ""), ("a/", "A"), ("a/", "/"), ("a", "a"), ("", "a/")] {
        let rest = [("prefix", prefix), ("search", search), ("continuation_token", &good)];
        assert_refused(lister.refusal(&rest).await, prefix);
    }
    for at in 0..good.len() {
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        let altered = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        assert_refused(lister.refusal(&with_token(&altered)).await, &altered);
    }
    for nonsense in ["x", "612f30", &good[1..], &format!("{good}AAAA"), &"A".repeat(4000)] {
        assert_refused(lister.refusal(&with_token(nonsense)).await, nonsense);
    }
    let other = Lister { bucket: "tokens-2", ..lister };
    assert_refused(other.refusal(&with_token(&good)).await, "another bucket");

    // Another installation has another key, also for the same names.
    let elsewhere = Kit::start().await;
    let theirs = Lister { site: &elsewhere.site, ..stranger(&elsewhere).await };
    assert_refused(theirs.refusal(&with_token(&good)).await, "another installation");
    elsewhere.stop().await;
    kit.stop().await;
}

/// The listing of the test of tokens, gone on with from a token.
fn with_token(token: &str) -> [(&str, &str); 4] {
    [("prefix", "a/"), ("search", "a"), ("max_keys", "1"), ("continuation_token", token)]
}

/// Somebody with a bucket of the same name.
async fn stranger(kit: &Kit) -> Lister<'_> {
    let (token, account) = account(kit, "tokens").await;
    Lister { site: &kit.site, token, s3uid: account.s3uid, bucket: "tokens" }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_scans_a_bounded_number_of_keys_for_a_page() {
    let kit = Kit::start().await;
    let (token, account) = account(&kit, "many-keys").await;
    let total = SCAN_KEYS_MAX + 50;
    store(&account, "many-keys", (0..total).map(|n| format!("key-{n:05}"))).await;
    let lister = Lister { site: &kit.site, token, s3uid: account.s3uid, bucket: "many-keys" };
    // The last key only: the first page has looked at ten thousand and says so.
    let last = format!("KEY-{:05}", total - 1);
    let first = lister.page(&[("search", &last)]).await;
    assert_eq!((first["key_count"].as_u64(), &first["is_truncated"]), (Some(0), &true.into()));
    let token = next(&first);
    let second = lister.page(&[("search", &last), ("continuation_token", token)]).await;
    assert_eq!(keys(&second, "files", "key"), [last.to_lowercase()]);
    assert_eq!(second["is_truncated"], false);
    // What is found before the bound ends the page, and the next goes on behind it.
    let (found, _, pages) = lister.all(&[("search", "5"), ("prefix", "key-0000")]).await;
    assert_eq!((found, pages), (vec!["key-00005".to_owned()], 1));
    let (found, _, pages) = lister.all(&[("search", "key-100")]).await;
    assert_eq!((found.len(), pages), (50, 2));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_deleted_once_and_buckets_that_are_not_there_are_told() {
    let kit = Kit::start().await;
    let (token, account) = account(&kit, "deletions").await;
    store(&account, "deletions", ["a b/ü".to_owned(), "c".to_owned()].into_iter()).await;
    let s3uid = ("s3uid", account.s3uid.as_str());
    let facade = &kit.site.facade;
    for name in ["filename", "file", "key"] {
        let parameters = [s3uid, ("bucket", "deletions"), (name, "a b/ü")];
        let answer = facade.action("delete_file", &token, &parameters).await;
        // What is gone already is deleted, as in S3.
        assert_eq!(decode_success("delete_file", &answer)["filename"], "a b/ü", "{name}");
    }
    let listing = account.s3().list_objects_v2().bucket("deletions").send().await;
    let listing = listing.expect("objects are listed");
    assert_eq!(listing.contents().len(), 1, "the other one stayed");
    for (action, message) in [
        ("get_files", "bucket not found"),
        ("delete_file", "bucket not found"),
        ("delete_bucket", "Delete S3 bucket error: Bucket not empty or access denied"),
    ] {
        let parameters = [s3uid, ("bucket_name", "not-there"), ("filename", "c")];
        let answer = facade.action(action, &token, &parameters).await;
        assert_eq!(answer.failure(), message, "{action}");
    }
    let full = [s3uid, ("bucket_name", "deletions")];
    let refused = facade.action("delete_bucket", &token, &full).await;
    assert_eq!(refused.failure(), "Delete S3 bucket error: Bucket not empty or access denied");
    for (page, message) in [("0", "page invalid"), ("101", "page invalid"), ("x", "page invalid")] {
        let rest = [&full[..], &[("page", page)]].concat();
        let answer = facade.action("get_files", &token, &rest).await;
        assert_eq!(answer.failure(), message, "{page}");
    }
    for max_keys in ["0", "-1", "many", "1.5"] {
        let rest = [&full[..], &[("max_keys", max_keys)]].concat();
        let answer = facade.action("get_files", &token, &rest).await;
        assert_eq!(answer.failure(), "max_keys invalid", "{max_keys}");
    }
    kit.stop().await;
}
