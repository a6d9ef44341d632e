//! Listings of objects.

use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_types::S3uid;
use tonic::{Code, Status};

use crate::kit::{Kit, OWNER, assert_reason};

struct Listing<'a> {
    kit: &'a Kit,
    uid: S3uid,
    bucket: &'static str,
    prefix: &'static str,
    search: &'static str,
    page_size: i32,
}

impl Listing<'_> {
    async fn page(&self, page_token: &str) -> Result<pb::ListObjectsResponse, Status> {
        let request = pb::ListObjectsRequest {
            parent: format!("accounts/{}/buckets/{}", self.uid, self.bucket),
            prefix: self.prefix.to_owned(),
            search: self.search.to_owned(),
            page_size: self.page_size,
            page_token: page_token.to_owned(),
        };
        let request = self.kit.as_customer(OWNER, request);
        Ok(self.kit.objects().list_objects(request).await?.into_inner())
    }

    /// Objects and prefixes of all pages, and how many pages there were.
    async fn all(&self) -> (Vec<String>, Vec<String>, usize) {
        let (mut keys, mut prefixes, mut pages) = (Vec::new(), Vec::new(), 0);
        let mut token = String::new();
        loop {
            let page = self.page(&token).await.unwrap();
            assert!(page.objects.len() + page.prefixes.len() <= 1000);
            keys.extend(page.objects.into_iter().map(|object| object.key));
            prefixes.extend(page.prefixes);
            pages += 1;
            token = page.next_page_token;
            if token.is_empty() {
                return (keys, prefixes, pages);
            }
        }
    }
}

async fn listing(kit: &Kit, keys: impl IntoIterator<Item = String>) -> Listing<'_> {
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.engine.put_all("photos", keys, 3);
    Listing { kit, uid, bucket: "photos", prefix: "", search: "", page_size: 0 }
}

fn some_keys() -> Vec<String> {
    let keys = ["a.txt", "b/Beach.JPG", "b/c/deep.txt", "b/forest.jpg", "d/e", "z.txt"];
    keys.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn one_level_is_listed_at_any_page_size() {
    let kit = Kit::start().await;
    let mut listing = listing(&kit, some_keys()).await;
    for page_size in [0, 1, 2, 3, 1000, 5000] {
        listing.page_size = page_size;
        listing.prefix = "";
        let (keys, prefixes, _) = listing.all().await;
        assert_eq!((keys, prefixes), (strings(&["a.txt", "z.txt"]), strings(&["b/", "d/"])));
        listing.prefix = "b/";
        let (keys, prefixes, _) = listing.all().await;
        assert_eq!(keys, ["b/Beach.JPG", "b/forest.jpg"]);
        assert_eq!(prefixes, ["b/c/"]);
    }
    let page = listing.page("").await.unwrap();
    let object = &page.objects[0];
    assert_eq!((object.size_bytes, object.etag.len()), (3, 32));
    assert!(object.update_time.is_some());
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_search_ignores_case_and_levels_and_keeps_to_the_prefix() {
    let kit = Kit::start().await;
    let mut listing = listing(&kit, some_keys()).await;
    for (prefix, search, expected) in [
        ("", "jpg", vec!["b/Beach.JPG", "b/forest.jpg"]),
        ("", "TXT", vec!["a.txt", "b/c/deep.txt", "z.txt"]),
        ("b/", "txt", vec!["b/c/deep.txt"]),
        ("", "none", vec![]),
    ] {
        for page_size in [0, 1, 2] {
            (listing.prefix, listing.search, listing.page_size) = (prefix, search, page_size);
            let (keys, prefixes, _) = listing.all().await;
            assert_eq!(keys, expected, "{prefix} {search} {page_size}");
            assert!(prefixes.is_empty());
        }
    }
}

#[tokio::test]
async fn a_search_scans_ten_thousand_keys_per_page() {
    let kit = Kit::start().await;
    let keys = (0..12_000).map(|number| format!("key-{number:05}"));
    let mut listing = listing(&kit, keys).await;
    listing.search = "key-11999";
    let first = listing.page("").await.unwrap();
    assert!(first.objects.is_empty());
    assert!(!first.next_page_token.is_empty(), "it goes on from there");
    assert_eq!(kit.engine.list_calls(), 10);
    let second = listing.page(&first.next_page_token).await.unwrap();
    assert_eq!(second.objects.len(), 1);
    assert!(second.next_page_token.is_empty());
}

#[tokio::test]
async fn tokens_are_tied_to_bucket_prefix_and_search_and_may_not_be_altered() {
    let kit = Kit::start().await;
    let mut listing = listing(&kit, some_keys()).await;
    kit.create_bucket(OWNER, &listing.uid, "music").await.unwrap();
    (listing.prefix, listing.search, listing.page_size) = ("b/", "j", 1);
    let token = listing.page("").await.unwrap().next_page_token;
    listing.page(&token).await.unwrap();
    let mut altered = token.clone();
    altered.pop();
    altered.push(if token.ends_with('0') { '1' } else { '0' });
    for (bucket, prefix, search, token) in [
        ("music", "b/", "j", &token),
        ("photos", "b", "j", &token),
        ("photos", "b/", "", &token),
        ("photos", "b/", "jp", &token),
        ("photos", "b/", "j", &altered),
        ("photos", "b/", "j", &"junk".to_owned()),
    ] {
        (listing.bucket, listing.prefix, listing.search) = (bucket, prefix, search);
        let refused = listing.page(token).await;
        assert_reason(refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_and_bad_fields_are_told() {
    let kit = Kit::start().await;
    let mut listing = listing(&kit, some_keys()).await;
    listing.page_size = -1;
    let refused = listing.page("").await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    listing.page_size = 0;
    listing.bucket = "music";
    assert_reason(listing.page("").await, Code::NotFound, ErrorReason::BucketNotFound);
    let delete = async |bucket: &str, key: &str| {
        let parent = format!("accounts/{}/buckets/{bucket}", listing.uid);
        let request = pb::DeleteObjectRequest { parent, key: key.to_owned(), ..Default::default() };
        kit.objects().delete_object(kit.as_customer(OWNER, request)).await
    };
    assert_reason(delete("music", "a").await, Code::NotFound, ErrorReason::BucketNotFound);
    assert_reason(delete("photos", "").await, Code::InvalidArgument, ErrorReason::InvalidField);
    let long = "x".repeat(1025);
    let refused = delete("photos", &long).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    for _ in 0..2 {
        delete("photos", "a.txt").await.expect("one that is not there is no error");
    }
}
