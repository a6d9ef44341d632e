//! Listings of objects, in both versions: prefix, delimiter, marker, pages, encoding.

use super::{Answer, Asker};

const VERSIONS: [&str; 2] = ["", "list-type=2&"];

async fn filled(keys: &[&str]) -> Asker {
    let asker = Asker::start(&["listed"]).await;
    for key in keys {
        asker.account.put("listed", key, *key).await.unwrap();
    }
    asker
}

/// Keys and common prefixes of a page.
fn items(page: &Answer) -> (Vec<String>, Vec<String>) {
    // The first `Prefix` is the one that was asked for.
    let prefix =
        |text: String| text.trim_start_matches("<Prefix>").trim_end_matches("</Prefix>").to_owned();
    let prefixes = page.elements("CommonPrefixes").into_iter().map(prefix);
    (page.elements("Key"), prefixes.collect())
}

/// A query and what it finds, in both versions.
type Found<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

async fn expect_items(asker: &Asker, rows: &[Found<'_>]) {
    for (query, keys, prefixes) in rows {
        for version in VERSIONS {
            let page = asker.ask(&format!("GET /listed?{version}{query}"), &[], b"").await;
            let (found, rolled) = items(&page);
            assert_eq!(page.status, 200, "{version}{query}: {page:?}");
            assert_eq!(found, *keys, "{version}{query}");
            assert_eq!(rolled, *prefixes, "{version}{query}");
            assert_eq!(page.element("IsTruncated").as_deref(), Some("false"), "{query}");
            if !version.is_empty() {
                let count = (keys.len() + prefixes.len()).to_string();
                assert_eq!(page.element("KeyCount"), Some(count), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_bucket_lists_nothing_and_buckets_do_not_mix() {
    let asker = Asker::start(&["listed", "other"]).await;
    asker.store("/other/a", b"x").await;
    expect_items(&asker, &[("", &[], &[]), ("prefix=a&delimiter=/", &[], &[])]).await;
}

#[tokio::test]
async fn delimiters_roll_keys_up() {
    let asker = filled(&["foo/bar", "foo/bar/xyzzy", "quux/thud", "asdf"]).await;
    expect_items(
        &asker,
        &[
            ("delimiter=/", &["asdf"], &["foo/", "quux/"]),
            ("delimiter=%2F", &["asdf"], &["foo/", "quux/"]),
            ("delimiter=", &["asdf", "foo/bar", "foo/bar/xyzzy", "quux/thud"], &[]),
            ("", &["asdf", "foo/bar", "foo/bar/xyzzy", "quux/thud"], &[]),
            ("delimiter=%23", &["asdf", "foo/bar", "foo/bar/xyzzy", "quux/thud"], &[]),
            ("delimiter=a", &["quux/thud"], &["a", "foo/ba"]),
            ("delimiter=bar", &["asdf", "quux/thud"], &["foo/bar"]),
            ("prefix=foo/&delimiter=/", &["foo/bar"], &["foo/bar/"]),
            ("prefix=foo/bar/&delimiter=/", &["foo/bar/xyzzy"], &[]),
            ("prefix=quux&delimiter=/", &[], &["quux/"]),
        ],
    )
    .await;
    let asker = filled(&["b\na", "b\nc", "c%a", "c%b", "d e", "d f", "g.h", "g.i", "_j/k"]).await;
    let all = &["_j/k", "b\na", "b\nc", "c%a", "c%b", "d e", "d f", "g.h", "g.i"];
    expect_items(
        &asker,
        &[
            ("delimiter=%25", &["_j/k", "b\na", "b\nc", "d e", "d f", "g.h", "g.i"], &["c%"]),
            ("delimiter=%20", &["_j/k", "b\na", "b\nc", "c%a", "c%b", "g.h", "g.i"], &["d "]),
            ("delimiter=+", &["_j/k", "b\na", "b\nc", "c%a", "c%b", "g.h", "g.i"], &["d "]),
            ("delimiter=.", &["_j/k", "b\na", "b\nc", "c%a", "c%b", "d e", "d f"], &["g."]),
            ("delimiter=%0A", &["_j/k", "c%a", "c%b", "d e", "d f", "g.h", "g.i"], &["b\n"]),
            ("delimiter=/", &all[1..], &["_j/"]),
            ("delimiter=%08", all, &[]),
            ("prefix=_j&delimiter=/", &[], &["_j/"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_slash_between_others_is_not_skipped() {
    // `0` follows `/` in the order of bytes: what is rolled up must not swallow it.
    let asker = filled(&["0/", "0/1", "00", "0/2", "1999", "1999#", "1999+", "2000"]).await;
    expect_items(
        &asker,
        &[
            ("delimiter=/", &["00", "1999", "1999#", "1999+", "2000"], &["0/"]),
            ("prefix=1999", &["1999", "1999#", "1999+"], &[]),
            ("prefix=0/", &["0/", "0/1", "0/2"], &[]),
            ("prefix=0/&delimiter=/", &["0/", "0/1", "0/2"], &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn prefixes_choose_keys() {
    let asker = filled(&["foo/bar", "foo/baz", "quux", "b/a/r", "b/a/c", "b/a/g", "g"]).await;
    let all = &["b/a/c", "b/a/g", "b/a/r", "foo/bar", "foo/baz", "g", "quux"];
    expect_items(
        &asker,
        &[
            ("prefix=foo/", &["foo/bar", "foo/baz"], &[]),
            ("prefix=ba", &[], &[]),
            ("prefix=b", &["b/a/c", "b/a/g", "b/a/r"], &[]),
            ("prefix=", all, &[]),
            ("prefix=d", &[], &[]),
            ("prefix=%0A", &[], &[]),
            ("prefix=foo/baz", &["foo/baz"], &[]),
            ("prefix=foo/bazz", &[], &[]),
            ("prefix=b/&delimiter=/", &[], &["b/a/"]),
            ("prefix=b/a/&delimiter=/", &["b/a/c", "b/a/g", "b/a/r"], &[]),
            ("prefix=fo&delimiter=o", &[], &["foo"]),
            ("prefix=d&delimiter=/", &[], &[]),
            ("prefix=b&delimiter=z", &["b/a/c", "b/a/g", "b/a/r"], &[]),
            ("prefix=y&delimiter=z", &[], &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn pages_have_the_size_that_is_asked_for() {
    let asker = filled(&["bar", "baz", "foo", "quxx"]).await;
    for (query, keys, truncated, told) in [
        ("max-keys=1", &["bar"][..], true, "1"),
        ("max-keys=3", &["bar", "baz", "foo"], true, "3"),
        ("max-keys=4", &["bar", "baz", "foo", "quxx"], false, "4"),
        ("max-keys=0", &[], false, "0"),
        ("", &["bar", "baz", "foo", "quxx"], false, "1000"),
        ("max-keys=100000", &["bar", "baz", "foo", "quxx"], false, "1000"),
    ] {
        for version in VERSIONS {
            let page = asker.ask(&format!("GET /listed?{version}{query}"), &[], b"").await;
            assert_eq!(page.elements("Key"), keys, "{version}{query}");
            assert_eq!(page.element("IsTruncated").unwrap(), truncated.to_string(), "{query}");
            assert_eq!(page.element("MaxKeys").as_deref(), Some(told), "{query}");
        }
    }
    for query in ["max-keys=blah", "max-keys=-1", "max-keys=1.5", "encoding-type=base64"] {
        for version in VERSIONS {
            let page = asker.ask(&format!("GET /listed?{version}{query}"), &[], b"").await;
            assert_eq!(page.outcome(), (400, "InvalidArgument".into()), "{version}{query}");
        }
    }
    let bad = asker.ask("GET /listed?list-type=2&continuation-token=%25", &[], b"").await;
    assert_eq!(bad.outcome(), (400, "InvalidArgument".into()));
}

#[tokio::test]
async fn markers_need_not_be_keys() {
    let asker = filled(&["bar", "baz", "foo", "quxx"]).await;
    for (marker, keys) in [
        ("", &["bar", "baz", "foo", "quxx"][..]),
        ("baz", &["foo", "quxx"]),
        ("blah", &["foo", "quxx"]),
        ("zzz", &[]),
        ("%0A", &["bar", "baz", "foo", "quxx"]),
        ("%00", &["bar", "baz", "foo", "quxx"]),
        ("ba", &["bar", "baz", "foo", "quxx"]),
        ("%F0%9F%A6%80", &[]),
    ] {
        for (version, name) in [("", "marker"), ("list-type=2&", "start-after")] {
            let page = asker.ask(&format!("GET /listed?{version}{name}={marker}"), &[], b"").await;
            assert_eq!(page.elements("Key"), keys, "{name}={marker}");
            assert_eq!(page.element("IsTruncated").as_deref(), Some("false"), "{marker}");
        }
    }
}

#[tokio::test]
async fn a_page_says_how_to_go_on() {
    let asker = filled(&["a", "b/1", "b/2", "c", "d/1", "e"]).await;
    // Version 1 by marker, with what is rolled up counted as one.
    let (mut seen, mut marker) = (Vec::new(), String::new());
    for _ in 0..4 {
        let query = format!("GET /listed?delimiter=/&max-keys=2&marker={marker}");
        let page = asker.ask(&query, &[], b"").await;
        assert_eq!(page.element("Marker").unwrap_or_default(), marker);
        let (keys, prefixes) = items(&page);
        seen.extend(keys.into_iter().chain(prefixes));
        match page.element("NextMarker") {
            Some(next) => marker = next,
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["a", "b/", "c", "d/", "e"]);
    // Version 2 by token; where both are sent the token counts.
    let first = asker.ask("GET /listed?list-type=2&start-after=a&max-keys=1", &[], b"").await;
    assert_eq!(
        (first.elements("Key"), first.element("StartAfter")),
        (vec!["b/1".into()], Some("a".into()))
    );
    let token = first.element("NextContinuationToken").unwrap();
    let query = format!("GET /listed?list-type=2&start-after=a&continuation-token={token}");
    let rest = asker.ask(&query, &[], b"").await;
    assert_eq!(rest.elements("Key"), ["b/2", "c", "d/1", "e"]);
    assert_eq!(rest.element("ContinuationToken"), Some(token));
    assert_eq!(rest.element("StartAfter").as_deref(), Some("a"));
    // An empty token is the beginning.
    let all = asker.ask("GET /listed?list-type=2&continuation-token=", &[], b"").await;
    assert_eq!(all.elements("Key").len(), 6);
}

#[tokio::test]
async fn entries_say_what_an_object_is() {
    let asker = Asker::start(&["listed"]).await;
    let etag = asker.store("/listed/key", b"content").await;
    let uid = asker.account.uid.as_str();
    for (query, owners) in [
        ("", 1),
        ("list-type=2", 0),
        ("list-type=2&fetch-owner=true", 1),
        ("list-type=2&fetch-owner=false", 0),
    ] {
        let page = asker.ask(&format!("GET /listed?{query}"), &[], b"").await;
        assert_eq!(page.elements("ETag"), [etag.as_str()], "{query}");
        assert_eq!(page.elements("Size"), ["7"], "{query}");
        assert_eq!(page.elements("StorageClass"), ["STANDARD"], "{query}");
        assert_eq!(page.elements("ID"), vec![uid; owners], "{query}");
        assert_eq!(page.element("Name").as_deref(), Some("listed"), "{query}");
        let time = page.element("LastModified").unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
    }
}

#[tokio::test]
async fn keys_are_encoded_when_asked_for() {
    let asker = filled(&["foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "asdf+b", "ü%"]).await;
    for version in VERSIONS {
        let query = format!("GET /listed?{version}delimiter=/&encoding-type=url");
        let page = asker.ask(&query, &[], b"").await;
        let (keys, prefixes) = items(&page);
        assert_eq!(keys, ["asdf%2Bb", "%C3%BC%25"]);
        assert_eq!(prefixes, ["foo%2B1/", "foo/", "quux%20ab/"]);
        assert_eq!(page.element("EncodingType").as_deref(), Some("url"));
        let query = format!("GET /listed?{version}prefix=quux%20&encoding-type=url");
        let page = asker.ask(&query, &[], b"").await;
        assert_eq!(page.element("Prefix").as_deref(), Some("quux%20"));
    }
}

#[tokio::test]
async fn more_than_a_page_of_keys_is_listed_whole() {
    const COUNT: usize = 1050;
    let asker = Asker::start(&["listed"]).await;
    let put = async |n: usize| {
        asker.account.put("listed", &format!("k{n:04}"), "x").await.unwrap();
    };
    for first in (0..COUNT).step_by(50) {
        futures_util::future::join_all((first..first + 50).map(put)).await;
    }
    let first = asker.ask("GET /listed?list-type=2", &[], b"").await;
    assert_eq!(first.elements("Key").len(), 1000);
    let token = first.element("NextContinuationToken").unwrap();
    let query = format!("GET /listed?list-type=2&continuation-token={token}");
    let rest = asker.ask(&query, &[], b"").await;
    let keys = [first.elements("Key"), rest.elements("Key")].concat();
    let wanted: Vec<String> = (0..COUNT).map(|n| format!("k{n:04}")).collect();
    assert_eq!(keys, wanted);
    assert_eq!(rest.element("NextContinuationToken"), None);
}
