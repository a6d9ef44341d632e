//! Listings over the endpoint. Their order and roll-up is checked against a model in the crate.

use crate::kit::{Account, Kit, refusal};

async fn filled(kit: &Kit, keys: &[&str]) -> Account {
    let account = kit.account(1).await;
    account.bucket("listed").await;
    for key in keys {
        account.put("listed", key, *key).await.unwrap();
    }
    account
}

#[tokio::test]
async fn keys_come_in_byte_order_with_etag_and_size() {
    let kit = Kit::start().await;
    let account = filled(&kit, &["b", "a/2", "a", "a/1", "é", "Z"]).await;
    let page = account.s3.list_objects_v2().bucket("listed").send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["Z", "a", "a/1", "a/2", "b", "é"]);
    for object in page.contents() {
        let head = account.s3.head_object().bucket("listed").key(object.key().unwrap());
        let head = head.send().await.unwrap();
        assert_eq!(object.e_tag(), head.e_tag());
        assert!(object.e_tag().is_some_and(|etag| etag.len() == 34), "{object:?}");
        assert_eq!(object.size(), head.content_length());
        assert!(object.last_modified().is_some());
    }
}

#[tokio::test]
async fn pages_and_delimiters_in_both_versions() {
    let kit = Kit::start().await;
    let account = filled(&kit, &["a--1", "a--2", "b", "c--1", "d"]).await;
    let expected = ["a--", "b", "c--", "d"];
    let (mut seen, mut token) = (Vec::new(), None);
    for _ in 0..5 {
        let page = account.s3.list_objects_v2().bucket("listed").delimiter("--").max_keys(1);
        let page = page.set_continuation_token(token).send().await.unwrap();
        assert_eq!(page.key_count(), Some(1));
        seen.extend(page.contents().iter().filter_map(|object| object.key.clone()));
        seen.extend(page.common_prefixes().iter().filter_map(|common| common.prefix.clone()));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let (mut seen, mut marker) = (Vec::new(), None);
    for _ in 0..5 {
        let page = account.s3.list_objects().bucket("listed").delimiter("--").max_keys(1);
        let page = page.set_marker(marker).send().await.unwrap();
        seen.extend(page.contents().iter().filter_map(|object| object.key.clone()));
        seen.extend(page.common_prefixes().iter().filter_map(|common| common.prefix.clone()));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let after = account.s3.list_objects_v2().bucket("listed").start_after("b").send().await;
    assert_eq!(after.unwrap().contents().len(), 2);
    let none = account.s3.list_objects_v2().bucket("listed").max_keys(0).send().await.unwrap();
    assert_eq!((none.contents().len(), none.is_truncated()), (0, Some(false)));
    let bad = account.s3.list_objects_v2().bucket("listed").continuation_token("%%");
    assert_eq!(refusal(bad.send().await.unwrap_err()).0, 400);
}

#[tokio::test]
async fn an_empty_delimiter_is_none() {
    let kit = Kit::start().await;
    let account = filled(&kit, &["a/1", "a/2"]).await;
    let page = account.s3.list_objects_v2().bucket("listed").delimiter("").send().await.unwrap();
    assert_eq!((page.contents().len(), page.common_prefixes().len()), (2, 0));
    let head = account.s3.head_object().bucket("listed").key("a/").send().await.unwrap_err();
    assert_eq!(refusal(head).0, 404);
}

#[tokio::test]
async fn keys_are_really_encoded_when_asked_for() {
    let kit = Kit::start().await;
    let account = filled(&kit, &["sp ace+plus", "%2e%2e/q", "é/x", "new\nline"]).await;
    let list = account.s3.list_objects_v2().bucket("listed").encoding_type("url".into());
    let page = list.clone().send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["%252e%252e/q", "new%0Aline", "sp%20ace%2Bplus", "%C3%A9/x"]);
    let page = list.delimiter("/").send().await.unwrap();
    let prefixes: Vec<_> = page.common_prefixes().iter().filter_map(|p| p.prefix()).collect();
    assert_eq!(prefixes, ["%252e%252e/", "%C3%A9/"]);
}
