//! Figures for metering.

use std::time::Duration;

use stowage_engine::{Engine, Error, UsageBatch, UsageCursor};
use stowage_engine_garage::Garage;
use stowage_types::{BucketName, S3uid};

use super::kit::{account, admin_url, bucket, client, engine, engine_with, options, put};
use stowage_engine_remote::testing::Proxy;

/// All of a sweep, behind a cursor.
async fn collect(engine: &Garage, from: &UsageCursor) -> UsageBatch {
    let mut all = UsageBatch { next: from.clone(), ..UsageBatch::default() };
    for _ in 0..10_000 {
        let batch = engine.collect_usage(&all.next, 500).await.unwrap();
        all.storage.extend(batch.storage);
        all.next = batch.next;
        if !batch.more {
            return all;
        }
    }
    panic!("collection does not end");
}

fn told(batch: &UsageBatch, uid: &S3uid, name: &BucketName) -> Option<(u64, bool)> {
    let own =
        |row: &&stowage_engine::StorageFigures| row.uid == *uid && row.bucket == name.as_str();
    batch.storage.iter().rfind(own).map(|row| (row.stored_bytes, row.deleted))
}

#[tokio::test]
async fn buckets_that_are_gone_are_told_whoever_deleted_them() {
    let engine = engine();
    let spec = account(&engine).await;
    let uid = &spec.uid;
    let [by_owner, by_us, again, purged]: [BucketName; 4] =
        [bucket(), bucket(), bucket(), bucket()];
    let s3 = client(&spec.keys[0]);
    for name in [&by_owner, &by_us, &again, &purged] {
        engine.create_bucket(uid, name).await.unwrap();
    }
    put(&spec.keys[0], &purged, "k", vec![1; 30]).await;
    let first = collect(&engine, &UsageCursor::default()).await;
    assert_eq!(told(&first, uid, &purged), Some((30, false)));
    s3.delete_bucket().bucket(by_owner.as_str()).send().await.unwrap();
    engine.delete_bucket(uid, &by_us).await.unwrap();
    engine.delete_bucket(uid, &again).await.unwrap();
    engine.create_bucket(uid, &again).await.unwrap();
    engine.list_buckets(uid, None, 10).await.unwrap();
    let second = collect(&engine, &first.next).await;
    for (name, expected) in [
        (&by_owner, Some((0, true))),
        (&by_us, Some((0, true))),
        (&again, Some((0, false))),
        (&purged, Some((30, false))),
    ] {
        assert_eq!(told(&second, uid, name), expected, "{name}");
    }
    engine.remove_account(uid, true).await.unwrap();
    let third = collect(&engine, &second.next).await;
    assert_eq!(told(&third, uid, &purged), Some((0, true)));
}

#[tokio::test]
async fn nothing_is_asked_before_it_is_due() {
    let proxy = Proxy::start(&admin_url()).await;
    let mut options = options();
    options.admin_endpoint = proxy.url.clone();
    options.stored_every = Duration::from_secs(3600);
    let engine = engine_with(options);
    let all = collect(&engine, &UsageCursor::default()).await;
    let asked = proxy.asked().len();
    let batch = engine.collect_usage(&all.next, 500).await.unwrap();
    assert_eq!(batch, UsageBatch { next: all.next, ..UsageBatch::default() });
    assert!(asked > 0 && proxy.asked().len() == asked);
}

#[tokio::test]
async fn a_cursor_of_another_engine_is_refused() {
    let refused = engine().collect_usage(&UsageCursor::from_text("12.7"), 10).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}
