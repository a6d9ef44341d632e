//! Objects: round trips, ranges, conditions, metadata, copies, and what a sample backend got wrong.

use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use stowage_engine::Engine;
use stowage_types::BucketName;

use crate::kit::{Kit, bytes, client_with, refusal};

#[tokio::test]
async fn objects_of_all_sizes_come_back() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("sizes").await;
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 3 * 1024 * 1024 + 7] {
        let body = bytes(size, 1);
        account.put("sizes", "key", body.clone()).await.unwrap();
        assert_eq!(account.get("sizes", "key").await.unwrap(), body, "{size}");
    }
    // Overwritten files go.
    kit.wait_for_files(1).await;
    let delete = account.s3.delete_object().bucket("sizes").key("key");
    delete.clone().send().await.unwrap();
    delete.send().await.unwrap();
    kit.wait_for_files(0).await;
    assert_eq!(account.get("sizes", "key").await.unwrap_err(), (404, "NoSuchKey".into()));
}

#[tokio::test]
async fn checksums_in_trailers_are_verified_and_kept() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("sums").await;
    let s3 = client_with(kit.address, &account.keys, true);
    for (key, size) in [("small", 100), ("large", 700_000)] {
        let body = ByteStream::from(bytes(size, 2));
        let put = s3.put_object().bucket("sums").key(key).body(body).send().await.unwrap();
        assert!(put.checksum_crc32.is_some(), "{put:?}");
        let got = s3.get_object().bucket("sums").key(key).send().await.unwrap();
        assert_eq!(got.checksum_crc32, put.checksum_crc32);
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes(size, 2));
    }
}

#[tokio::test]
async fn keys_are_names_and_never_paths() {
    let kit = Kit::start().await;
    let (mine, theirs) = (kit.account(1).await, kit.account(2).await);
    mine.bucket("keys").await;
    theirs.bucket("other").await;
    theirs.put("other", "secret", "theirs").await.unwrap();
    let long = "k".repeat(1024);
    let keys = [
        "../other/secret",
        "..",
        ".",
        "a",
        "a/b",
        "a/b/c",
        "x//y",
        "x/../y",
        "./z",
        "trail/",
        "/lead",
        "sp ace+plus",
        "%2e%2e/q",
        "é漢🦀",
        "new\nline",
        "tab\t\"<&>",
        "-",
        &long,
    ];
    for (n, key) in keys.iter().enumerate() {
        mine.put("keys", key, format!("{n}")).await.unwrap_or_else(|e| panic!("{key}: {e:?}"));
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(mine.get("keys", key).await.unwrap(), format!("{n}").as_bytes(), "{key}");
    }
    assert_eq!(theirs.get("other", "secret").await.unwrap(), b"theirs");
    let listed = mine.s3.list_objects_v2().bucket("keys").encoding_type("url".into());
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.contents().len(), keys.len());
    let longer = mine.put("keys", &"k".repeat(1025), "x").await.unwrap_err();
    assert_eq!(longer.0, 400, "{longer:?}");
}

#[tokio::test]
async fn a_body_that_is_not_what_was_announced_leaves_the_good_object() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("digest").await;
    for size in [10, 400_000] {
        let good = bytes(size, 3);
        account.put("digest", "key", good.clone()).await.unwrap();
        let url = account.presigned_put("digest", "key").await;
        let evil = bytes(size, 4);
        let wrong_md5 = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
        let (status, body) = kit.raw("PUT", &url, &wrong_md5, &evil).await;
        assert!(status == 400 && body.contains("BadDigest"), "{status} {body}");
        let put = account.s3.put_object().bucket("digest").key("key");
        let put = put.body(ByteStream::from(evil)).checksum_crc32("AAAAAA==");
        assert_eq!(refusal(put.send().await.unwrap_err()), (400, "BadDigest".into()));
        let (status, body) = kit.raw("PUT", &url, &[("content-md5", "short")], b"x").await;
        assert!(status == 400 && body.contains("InvalidDigest"), "{status} {body}");
        assert_eq!(account.get("digest", "key").await.unwrap(), good);
    }
    kit.wait_for_files(1).await;
}

#[tokio::test]
async fn ranges_are_served() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("ranges").await;
    for size in [1000_usize, 2_500_000] {
        let body = bytes(size, 5);
        account.put("ranges", "key", body.clone()).await.unwrap();
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=10-99", 10..100),
            ("bytes=900-", 900..size),
            ("bytes=-5", size - 5..size),
            ("bytes=0-999999999", 0..size),
        ] {
            let get = account.s3.get_object().bucket("ranges").key("key").range(range);
            let got = get.send().await.unwrap();
            let last = expected.end - 1;
            let header = format!("bytes {}-{last}/{size}", expected.start);
            assert_eq!(got.content_range(), Some(header.as_str()), "{range}");
            let got = got.body.collect().await.unwrap().to_vec();
            assert_eq!(got, body[expected], "{range}");
        }
        let beyond = account.s3.get_object().bucket("ranges").key("key").range("bytes=9999999-");
        assert_eq!(refusal(beyond.send().await.unwrap_err()), (416, "InvalidRange".into()));
    }
}

#[tokio::test]
async fn conditions_hold_for_reads_and_writes() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("conditions").await;
    let put = || account.s3.put_object().bucket("conditions").key("k");
    let first = put().if_none_match("*").body(ByteStream::from_static(b"1")).send().await.unwrap();
    let etag = first.e_tag.unwrap();
    let again = put().if_none_match("*").body(ByteStream::from_static(b"2")).send().await;
    assert_eq!(refusal(again.unwrap_err()), (412, "PreconditionFailed".into()));
    let stale = put().if_match("\"00\"").body(ByteStream::from_static(b"3")).send().await;
    assert_eq!(refusal(stale.unwrap_err()), (412, "PreconditionFailed".into()));
    put().if_match(&etag).body(ByteStream::from_static(b"4")).send().await.unwrap();
    assert_eq!(account.get("conditions", "k").await.unwrap(), b"4");

    let get = || account.s3.get_object().bucket("conditions").key("k");
    assert_eq!(refusal(get().if_match(&etag).send().await.unwrap_err()).0, 412);
    let head = account.s3.head_object().bucket("conditions").key("k").send().await.unwrap();
    let now = head.e_tag.unwrap();
    assert_eq!(refusal(get().if_none_match(&now).send().await.unwrap_err()).0, 304);
    let later = DateTime::from_secs(4_000_000_000);
    let since = get().if_modified_since(later);
    assert_eq!(refusal(since.send().await.unwrap_err()).0, 304);
    let before = get().if_unmodified_since(DateTime::from_secs(1_000_000_000));
    assert_eq!(refusal(before.send().await.unwrap_err()).0, 412);
}

#[tokio::test]
async fn metadata_is_kept_and_overridden_on_request() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("meta").await;
    let put = account.s3.put_object().bucket("meta").key("k").body(ByteStream::from_static(b"x"));
    let put = put.content_type("text/plain").cache_control("no-cache").metadata("owner", "me");
    put.content_disposition("inline").content_language("nl").send().await.unwrap();
    let head = account.s3.head_object().bucket("meta").key("k").send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.cache_control(), Some("no-cache"));
    assert_eq!(head.content_disposition(), Some("inline"));
    assert_eq!(head.content_language(), Some("nl"));
    assert_eq!(head.metadata().unwrap()["owner"], "me");
    assert_eq!(head.content_length(), Some(1));
    let get = account.s3.get_object().bucket("meta").key("k").response_content_type("a/b");
    let got = get.response_content_disposition("attachment").send().await.unwrap();
    assert_eq!(got.content_type(), Some("a/b"));
    assert_eq!(got.content_disposition(), Some("attachment"));

    let copy = || account.s3.copy_object().bucket("meta").copy_source("meta/k");
    copy().key("same").send().await.unwrap();
    let same = account.s3.head_object().bucket("meta").key("same").send().await.unwrap();
    assert_eq!(same.metadata().unwrap()["owner"], "me");
    let replaced = copy().key("k").metadata_directive(MetadataDirective::Replace);
    replaced.metadata("owner", "you").send().await.unwrap();
    let head = account.s3.head_object().bucket("meta").key("k").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["owner"], "you");
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
    assert_eq!(refusal(copy().key("k").send().await.unwrap_err()).0, 400);
}

#[tokio::test]
async fn copies_stand_on_their_own() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("copies").await;
    let body = bytes(500_000, 6);
    account.put("copies", "from", body.clone()).await.unwrap();
    let copy = account.s3.copy_object().bucket("copies").key("to").copy_source("copies/from");
    copy.send().await.unwrap();
    let delete = account.s3.delete_object().bucket("copies").key("from");
    delete.send().await.unwrap();
    kit.wait_for_files(1).await;
    assert_eq!(account.get("copies", "to").await.unwrap(), body);
    let missing = account.s3.copy_object().bucket("copies").key("x").copy_source("copies/from");
    assert_eq!(refusal(missing.send().await.unwrap_err()), (404, "NoSuchKey".into()));
}

#[tokio::test]
async fn a_reader_finishes_what_was_overwritten() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("readers").await;
    let body = bytes(20 * 1024 * 1024, 7);
    account.put("readers", "k", body.clone()).await.unwrap();
    let got = account.s3.get_object().bucket("readers").key("k").send().await.unwrap();
    account.put("readers", "k", "new").await.unwrap();
    kit.wait_for_files_or(0, Duration::from_secs(3)).await;
    assert!(got.body.collect().await.unwrap().to_vec() == body, "the old content changed");
    kit.wait_for_files(0).await;
    assert_eq!(account.get("readers", "k").await.unwrap(), b"new");
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("many").await;
    for n in 0..5 {
        account.put("many", &format!("k{n}"), "x").await.unwrap();
    }
    let keys = ["k0", "k1", "none", "k3"];
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = Delete::builder().set_objects(Some(keys.map(object).to_vec())).build().unwrap();
    let done = account.s3.delete_objects().bucket("many").delete(delete).send().await.unwrap();
    assert_eq!(done.deleted().len(), 4);
    let left = account.s3.list_objects_v2().bucket("many").send().await.unwrap();
    let left: Vec<_> = left.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(left, ["k2", "k4"]);
}

/// More than one statement takes, some of them in files and some named twice or absent: figures
/// and files are right, and what was not named stays.
#[tokio::test]
async fn a_full_batch_of_objects_is_deleted_whole() {
    const COUNT: usize = 620;
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("full").await;
    let put = async |n: usize| {
        let size = if n.is_multiple_of(100) { 200_000 } else { 10 };
        account.put("full", &format!("k{n:05}"), vec![7; size]).await.unwrap();
    };
    for first in (0..COUNT).step_by(20) {
        futures_util::future::join_all((first..first + 20).map(put)).await;
    }
    assert_eq!(kit.files().len(), 7);
    let mut keys: Vec<String> = (1..COUNT).map(|n| format!("k{n:05}")).collect();
    keys.extend(["k00007".to_owned(), "k00600".to_owned(), "absent".to_owned()]);
    let bucket = BucketName::new("full").unwrap();
    kit.engine.delete_objects(&account.uid, &bucket, &keys).await.unwrap();
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    assert_eq!((usage.object_count, usage.stored_bytes), (1, 200_000));
    kit.wait_for_files(1).await;
    assert_eq!(account.get("full", "k00000").await.unwrap(), vec![7; 200_000]);
    // A repeat finds nothing to do.
    kit.engine.delete_objects(&account.uid, &bucket, &keys).await.unwrap();
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    assert_eq!(usage.object_count, 1);
}

#[tokio::test]
async fn what_is_lacking_is_refused() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("lacking").await;
    let put = || account.s3.put_object().bucket("lacking").key("k");
    let encrypted = put().server_side_encryption("AES256".into()).send().await.unwrap_err();
    assert_eq!(refusal(encrypted), (501, "NotImplemented".into()));
    let tagged = put().tagging("a=b").send().await.unwrap_err();
    assert_eq!(refusal(tagged), (501, "NotImplemented".into()));
    let public = put().acl("public-read".into()).send().await.unwrap_err();
    assert_eq!(refusal(public), (501, "NotImplemented".into()));
    let policy = account.s3.get_bucket_policy().bucket("lacking").send().await.unwrap_err();
    assert_eq!(refusal(policy), (501, "NotImplemented".into()));
    let versions = account.s3.list_object_versions().bucket("lacking").send().await.unwrap_err();
    assert_eq!(refusal(versions), (501, "NotImplemented".into()));
}

#[tokio::test]
async fn readers_among_writers_see_whole_versions() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("busy").await;
    account.put("busy", "k", vec![0; 1000]).await.unwrap();
    let writers = (0..3_u8).map(|writer| {
        let s3 = account.s3.clone();
        tokio::spawn(async move {
            for n in 0..15_usize {
                let body = vec![writer; [900_000, 100, 40_000][n % 3]];
                let put = s3.put_object().bucket("busy").key("k").body(body.into());
                put.send().await.unwrap();
            }
        })
    });
    let readers = (0..3).map(|_| {
        let s3 = account.s3.clone();
        tokio::spawn(async move {
            for _ in 0..30 {
                let got = s3.get_object().bucket("busy").key("k").send().await.unwrap();
                let length = got.content_length().unwrap();
                let body = got.body.collect().await.unwrap().to_vec();
                assert_eq!(body.len() as i64, length);
                assert!(body.iter().all(|byte| *byte == body[0]), "versions are mixed");
            }
        })
    });
    let tasks: Vec<_> = writers.chain(readers).collect();
    for task in tasks {
        task.await.unwrap();
    }
    account.s3.delete_object().bucket("busy").key("k").send().await.unwrap();
    kit.wait_for_files(0).await;
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    assert_eq!((usage.object_count, usage.stored_bytes), (0, 0));
}
