//! Buckets and what is in them.

use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::{Engine, Error, ListQuery};

use super::kit::{account, bucket, client, engine, put};

#[tokio::test]
async fn odd_keys_are_listed_and_deleted() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name) = (&spec.uid, bucket());
    engine.create_bucket(uid, &name).await.unwrap();
    let long = "l".repeat(1000);
    let mut keys: Vec<String> =
        ["a b+c%2B&d", "é/ü", "\u{1}control", "line\nfeed", "cr\r", "<xml>&amp;", "x//y", "z/"]
            .map(str::to_owned)
            .to_vec();
    keys.push(long);
    keys.sort();
    for key in &keys {
        put(&spec.keys[0], &name, key, vec![1]).await;
    }
    // One by one, so that each is the end of a page.
    let mut seen = Vec::new();
    let mut query = ListQuery { max: 1, ..ListQuery::default() };
    for _ in 0..=keys.len() {
        let page = engine.list_objects(uid, &name, &query).await.unwrap();
        seen.extend(page.objects.into_iter().map(|object| object.key));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, keys);
    engine.delete_objects(uid, &name, &keys).await.unwrap();
    engine.delete_bucket(uid, &name).await.unwrap();
}

#[tokio::test]
async fn unfinished_uploads_are_counted_and_aborted_some_at_a_time() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name, s3) = (&spec.uid, bucket(), client(&spec.keys[0]));
    engine.create_bucket(uid, &name).await.unwrap();
    for key in ["plain", "é a+b%20", "\u{1}control", "<xml>&amp;", "line\nfeed"] {
        let begin = s3.create_multipart_upload().bucket(name.as_str()).key(key);
        let upload = begin.send().await.unwrap().upload_id.unwrap();
        let part = s3.upload_part().bucket(name.as_str()).key(key);
        let part = part.upload_id(upload).part_number(1);
        part.body(ByteStream::from(vec![0; 20_000])).send().await.unwrap();
    }
    assert!(!engine.capabilities().unfinished_apart);
    for (aborted, left) in [(3, 40_000), (2, 0), (0, 0)] {
        let done = engine.abort_uploads(uid, &name, None, 3).await.unwrap();
        let usage = engine.account_usage(uid).await.unwrap();
        assert_eq!((done, usage.stored_bytes, usage.unfinished_bytes), (aborted, left, 0));
    }
}

#[tokio::test]
async fn a_bucket_that_others_share_with_an_account_is_not_its_own() {
    let engine = engine();
    let (owner, guest) = (account(&engine).await, account(&engine).await);
    let name = bucket();
    engine.create_bucket(&owner.uid, &name).await.unwrap();
    put(&owner.keys[0], &name, "k", vec![1]).await;
    let share = client(&owner.keys[0]).put_bucket_acl().bucket(name.as_str());
    let everybody = aws_sdk_s3::types::BucketCannedAcl::PublicReadWrite;
    share.acl(everybody).send().await.unwrap();
    // That the guest may do it over S3 is the owner's wish.
    put(&guest.keys[0], &name, "theirs", vec![1]).await;
    let query = ListQuery { max: 10, ..ListQuery::default() };
    let listed = engine.list_objects(&guest.uid, &name, &query).await;
    assert!(matches!(listed, Err(Error::NotFound)), "{listed:?}");
    let deleted = engine.delete_object(&guest.uid, &name, "k").await;
    assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}");
    let page = engine.list_objects(&owner.uid, &name, &query).await.unwrap();
    assert_eq!(page.objects.len(), 2);
}

#[tokio::test]
async fn an_account_that_has_shut_itself_out_is_acted_for() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name) = (&spec.uid, bucket());
    engine.create_bucket(uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1]).await;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":"*",
        "Action":"s3:*","Resource":["arn:aws:s3:::{name}","arn:aws:s3:::{name}/*"]}}]}}"#
    );
    let shut = client(&spec.keys[0]).put_bucket_policy().bucket(name.as_str()).policy(policy);
    shut.send().await.unwrap();
    let get = client(&spec.keys[0]).get_object().bucket(name.as_str()).key("k").send().await;
    assert!(get.is_err(), "the policy holds");
    let query = ListQuery { max: 10, ..ListQuery::default() };
    assert_eq!(engine.list_objects(uid, &name, &query).await.unwrap().objects.len(), 1);
    engine.delete_objects(uid, &name, &["k".to_owned()]).await.unwrap();
    engine.delete_bucket(uid, &name).await.unwrap();
}

#[tokio::test]
async fn buckets_are_made_once_by_many_at_once() {
    let spec = account(&engine()).await;
    let name = bucket();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (engine, uid, name) = (engine(), spec.uid.clone(), name.clone());
            tokio::spawn(async move { engine.create_bucket(&uid, &name).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(engine().list_buckets(&spec.uid, None, 10).await.unwrap().len(), 1);
}
