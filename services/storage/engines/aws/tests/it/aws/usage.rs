//! Figures, which are counted.

use std::time::Duration;

use stowage_engine::{Engine as _, Error, StorageFigures, UsageCursor};
use stowage_engine_aws::Aws;
use stowage_types::S3uid;

use super::kit::{account, bucket, engine, engine_with, options, put};

/// Reads usage to its end; answers the rows of an account, and where it ended.
async fn collect(
    engine: &Aws,
    uid: &S3uid,
    from: &UsageCursor,
) -> (Vec<StorageFigures>, UsageCursor) {
    let (mut rows, mut cursor) = (Vec::new(), from.clone());
    loop {
        let batch = engine.collect_usage(&cursor, 3).await.unwrap();
        rows.extend(batch.storage.into_iter().filter(|row| row.uid == *uid));
        assert!(batch.traffic.is_empty());
        cursor = batch.next;
        if !batch.more {
            return (rows, cursor);
        }
    }
}

#[tokio::test]
async fn a_sweep_tells_what_every_bucket_stores() {
    let (engine, [one, two]) = (engine(), [bucket(), bucket()]);
    let spec = account(&engine).await;
    for name in [&one, &two] {
        engine.create_bucket(&spec.uid, name).await.unwrap();
    }
    put(&spec.keys[0], &one, "a", vec![0; 100]).await;
    put(&spec.keys[0], &one, "b", vec![0; 50]).await;
    let (rows, seen) = collect(&engine, &spec.uid, &UsageCursor::default()).await;
    let mut told: Vec<_> =
        rows.iter().map(|r| (r.bucket.as_str(), r.stored_bytes, r.object_count)).collect();
    told.sort_unstable();
    let mut expected = [(one.as_str(), 150, 2), (two.as_str(), 0, 0)];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let usage = engine.account_usage(&spec.uid).await.unwrap();
    let of = (usage.bucket_count, usage.object_count, usage.stored_bytes);
    assert_eq!(of, (2, 2, 150));
    // The next one is due at once, and is absolute.
    put(&spec.keys[0], &two, "c", vec![0; 7]).await;
    let (rows, _) = collect(&engine, &spec.uid, &seen).await;
    let sums: u64 = rows.iter().map(|row| row.stored_bytes).sum();
    assert_eq!((rows.len(), sums), (2, 157));
}

#[tokio::test]
async fn a_sweep_waits_until_it_is_due() {
    let mut options = options();
    options.stored_every = Duration::from_secs(3600);
    let (engine, name) = (engine_with(options), bucket());
    let spec = account(&engine).await;
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    let (rows, seen) = collect(&engine, &spec.uid, &UsageCursor::default()).await;
    assert_eq!(rows.len(), 1);
    let batch = engine.collect_usage(&seen, 100).await.unwrap();
    assert!(batch.storage.is_empty() && !batch.more, "{batch:?}");
    let foreign = engine.collect_usage(&UsageCursor::from_text("{\"garage\":1}"), 1).await;
    assert!(matches!(foreign, Err(Error::Invalid { .. })), "{foreign:?}");
}

#[tokio::test]
async fn figures_are_of_more_than_a_page_of_objects() {
    let (engine, name) = (engine(), bucket());
    let spec = account(&engine).await;
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    let puts = (0..1005).map(|number| {
        let (keys, name) = (spec.keys[0].clone(), name.clone());
        async move { put(&keys, &name, &format!("{number:04}"), vec![1; 2]).await }
    });
    let puts: Vec<_> = puts.collect();
    futures_util::stream::StreamExt::for_each_concurrent(
        futures_util::stream::iter(puts),
        8,
        |put| put,
    )
    .await;
    let usage = engine.account_usage(&spec.uid).await.unwrap();
    assert_eq!((usage.object_count, usage.stored_bytes), (1005, 2010));
    engine.remove_account(&spec.uid, true).await.unwrap();
    assert_eq!(engine.bucket_owner(&name).await.unwrap(), None);
}
