//! Buckets: names and rights of many keys, and what customers do to them over S3.

use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::{Engine, Error, Quota};

use super::kit::{account, bucket, client, engine, info, key_pair, put, refusal};

#[tokio::test]
async fn every_key_opens_every_bucket_whichever_came_first() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let [by_us, by_client, later] = [bucket(), bucket(), bucket()];
    engine.create_bucket(&spec.uid, &by_us).await.unwrap();
    let s3 = client(&spec.keys[0]);
    s3.create_bucket().bucket(by_client.as_str()).send().await.unwrap();
    spec.keys.push(key_pair());
    engine.ensure_account(&spec).await.unwrap();
    engine.create_bucket(&spec.uid, &later).await.unwrap();
    for name in [&by_us, &by_client, &later] {
        for key in &spec.keys {
            put(key, name, &key.access_key, vec![1]).await;
        }
    }
    assert_eq!(info(&engine, &spec.uid).await.unwrap().bucket_count, 3);
}

#[tokio::test]
async fn two_accounts_have_buckets_of_one_name() {
    let engine = engine();
    let name = bucket();
    for size in [10, 20] {
        let spec = account(&engine).await;
        engine.create_bucket(&spec.uid, &name).await.unwrap();
        put(&spec.keys[0], &name, "k", vec![1; size]).await;
        let page = engine.list_buckets(&spec.uid, None, 10).await.unwrap();
        let stored: Vec<_> = page.iter().map(|info| info.stored_bytes).collect();
        assert_eq!(stored, [size as u64]);
    }
}

#[tokio::test]
async fn a_bucket_that_a_client_deletes_goes_if_it_is_empty_and_else_comes_back() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, s3) = (&spec.uid, client(&spec.keys[0]));
    let [empty, full] = [bucket(), bucket()];
    for name in [&empty, &full] {
        engine.create_bucket(uid, name).await.unwrap();
    }
    put(&spec.keys[0], &full, "k", vec![1; 10]).await;
    // Garage says yes to both, and takes but the name away.
    for name in [&empty, &full] {
        s3.delete_bucket().bucket(name.as_str()).send().await.unwrap();
    }
    let page = engine.list_buckets(uid, None, 10).await.unwrap();
    let names: Vec<_> = page.iter().map(|info| &info.bucket).collect();
    assert_eq!(names, [&full]);
    s3.get_object().bucket(full.as_str()).key("k").send().await.unwrap();
}

#[tokio::test]
async fn the_name_of_a_deleted_bucket_is_free_for_its_account() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name, s3) = (&spec.uid, bucket(), client(&spec.keys[0]));
    // By turns: who had a name before is not asked.
    for round in 0..2 {
        engine.create_bucket(uid, &name).await.unwrap();
        put(&spec.keys[0], &name, "k", vec![1; 10]).await;
        s3.delete_object().bucket(name.as_str()).key("k").send().await.unwrap();
        engine.delete_bucket(uid, &name).await.unwrap();
        s3.create_bucket().bucket(name.as_str()).send().await.unwrap();
        put(&spec.keys[0], &name, "k", vec![1; 10]).await;
        s3.delete_object().bucket(name.as_str()).key("k").send().await.unwrap();
        if round == 0 {
            engine.list_buckets(uid, None, 10).await.unwrap();
        }
        s3.delete_bucket().bucket(name.as_str()).send().await.unwrap();
        assert!(engine.list_buckets(uid, None, 10).await.unwrap().is_empty(), "{round}");
    }
}

#[tokio::test]
async fn a_bucket_outlives_the_key_that_made_it() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let name = bucket();
    client(&spec.keys[0]).create_bucket().bucket(name.as_str()).send().await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 10]).await;
    spec.keys = vec![key_pair()];
    engine.ensure_account(&spec).await.unwrap();
    client(&spec.keys[0]).get_object().bucket(name.as_str()).key("k").send().await.unwrap();
}

#[tokio::test]
async fn clients_make_as_many_buckets_as_there_may_be() {
    let engine = engine();
    let mut spec = account(&engine).await;
    spec.bucket_max = Some(1);
    engine.ensure_account(&spec).await.unwrap();
    let [first, second] = [bucket(), bucket()];
    engine.create_bucket(&spec.uid, &first).await.unwrap();
    let s3 = client(&spec.keys[0]);
    let made = s3.create_bucket().bucket(second.as_str()).send().await.map_err(refusal);
    assert!(matches!(made, Err(Error::Denied)), "{made:?}");
    engine.delete_bucket(&spec.uid, &first).await.unwrap();
    s3.create_bucket().bucket(second.as_str()).send().await.unwrap();
}

#[tokio::test]
async fn buckets_share_the_quota_and_clients_get_below_it_by_themselves() {
    let engine = engine();
    let mut spec = account(&engine).await;
    spec.quota = Quota::bytes(100_000);
    engine.ensure_account(&spec).await.unwrap();
    let (uid, s3) = (&spec.uid, client(&spec.keys[0]));
    let [one, two] = [bucket(), bucket()];
    for name in [&one, &two] {
        engine.create_bucket(uid, name).await.unwrap();
    }
    let send = |name: &stowage_types::BucketName, key: &str, size: usize| {
        let put = s3.put_object().bucket(name.as_str()).key(key);
        put.body(ByteStream::from(vec![0; size])).send()
    };
    send(&one, "k", 60_000).await.unwrap();
    engine.account_usage(uid).await.unwrap();
    // What the one has is not there for the other.
    let over = send(&two, "k", 60_000).await.map_err(refusal);
    assert!(matches!(over, Err(Error::Denied)), "{over:?}");
    send(&two, "k", 40_000).await.unwrap();
    spec.quota = Quota::bytes(50_000);
    engine.ensure_account(&spec).await.unwrap();
    let over = send(&two, "more", 1).await.map_err(refusal);
    assert!(matches!(over, Err(Error::Denied)), "{over:?}");
    s3.delete_object().bucket(one.as_str()).key("k").send().await.unwrap();
    engine.account_usage(uid).await.unwrap();
    send(&two, "more", 10_000).await.unwrap();
}

#[tokio::test]
async fn unfinished_uploads_are_told_apart() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name, s3) = (&spec.uid, bucket(), client(&spec.keys[0]));
    engine.create_bucket(uid, &name).await.unwrap();
    let begin = s3.create_multipart_upload().bucket(name.as_str()).key("k").send().await;
    let upload = begin.unwrap().upload_id.unwrap();
    let part = s3.upload_part().bucket(name.as_str()).key("k").upload_id(upload).part_number(1);
    part.body(ByteStream::from(vec![0; 20_000])).send().await.unwrap();
    let usage = engine.account_usage(uid).await.unwrap();
    assert_eq!((usage.stored_bytes, usage.unfinished_bytes), (0, 20_000));
    // They are no objects, so the bucket is empty.
    engine.delete_bucket(uid, &name).await.unwrap();
}
