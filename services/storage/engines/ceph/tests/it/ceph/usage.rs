//! Figures for metering, from RGW's usage log and its buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use stowage_engine::{
    AccountAccess, Engine, Error, StorageFigures, TrafficTotals, UsageBatch, UsageCursor,
};
use stowage_engine_ceph::Ceph;
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kit::{account, bucket, client, engine, engine_with, eventually, options, put, url};
use stowage_engine_remote::testing::Proxy;

/// All of a pass and the sweep behind it, from the beginning.
async fn collect(engine: &Ceph, max: u32) -> UsageBatch {
    let mut all = UsageBatch::default();
    for _ in 0..10_000 {
        let batch = engine.collect_usage(&all.next, max).await.unwrap();
        all.storage.extend(batch.storage);
        all.traffic.extend(batch.traffic);
        all.next = batch.next;
        if !batch.more {
            return all;
        }
    }
    panic!("collection does not end");
}

fn traffic<'a>(batch: &'a UsageBatch, uid: &S3uid, bucket: &str) -> Vec<&'a TrafficTotals> {
    batch.traffic.iter().filter(|row| row.uid == *uid && row.bucket == bucket).collect()
}

fn stored<'a>(batch: &'a UsageBatch, uid: &S3uid, bucket: &str) -> Option<&'a StorageFigures> {
    batch.storage.iter().rfind(|row| row.uid == *uid && row.bucket == bucket)
}

/// Received, sent, reads and writes of all hours: a test may run over the end of one.
fn sum(rows: &[&TrafficTotals]) -> [u64; 4] {
    rows.iter().fold([0; 4], |sum, row| {
        [
            sum[0] + row.received_bytes,
            sum[1] + row.sent_bytes,
            sum[2] + row.read_requests,
            sum[3] + row.write_requests,
        ]
    })
}

fn same(expected: [u64; 4], seen: [u64; 4]) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{seen:?} is not {expected:?}")) }
}

/// Waits until RGW has written so much of a bucket.
async fn wait_for(engine: &Ceph, uid: &S3uid, bucket: &BucketName, expected: [u64; 4]) {
    eventually(|| async {
        let batch = collect(engine, 500).await;
        same(expected, sum(&traffic(&batch, uid, bucket.as_str())))
    })
    .await;
}

#[tokio::test]
async fn traffic_is_counted_to_the_byte_and_absolute() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name, s3) = (&spec.uid, bucket(), client(&spec.keys[0]));
    s3.create_bucket().bucket(name.as_str()).send().await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 3000]).await;
    for _ in 0..2 {
        let got = s3.get_object().bucket(name.as_str()).key("k").send().await.unwrap();
        got.body.collect().await.unwrap();
    }
    let expected = [3000, 6000, 2, 2];
    wait_for(&engine, uid, &name, expected).await;
    let all = collect(&engine, 500).await;
    let figures = stored(&all, uid, name.as_str()).unwrap();
    assert_eq!((figures.stored_bytes, figures.object_count, figures.deleted), (3000, 1, false));
    // The next pass reads the last hours again, and they say the same.
    let again = engine.collect_usage(&all.next, 500).await.unwrap();
    same(expected, sum(&traffic(&again, uid, name.as_str()))).unwrap();
    let info = engine.list_buckets(uid, None, 1).await.unwrap().remove(0);
    assert_eq!((info.received_bytes, info.sent_bytes), (3000, 6000));
    // Small batches give the same in the end, and no row twice.
    let small = collect(&engine, 1).await;
    let mut rows: BTreeMap<_, usize> = BTreeMap::new();
    for row in &small.traffic {
        *rows.entry((row.hour, row.uid.clone(), row.bucket.clone())).or_default() += 1;
    }
    same(expected, sum(&traffic(&small, uid, name.as_str()))).unwrap();
    assert!(rows.values().all(|count| *count == 1), "{rows:?}");
}

#[tokio::test]
async fn every_hour_is_asked_for_by_itself() {
    let proxy = Proxy::start(&url()).await;
    let mut options = options();
    options.admin_endpoint = proxy.url.clone();
    let engine = engine_with(options);
    let first = collect(&engine, 500).await;
    let asked = hours(&proxy.asked());
    let (begun, ended) = (asked.first().unwrap().0, asked.last().unwrap().1);
    assert_eq!((ended - begun).whole_hours(), 35 * 24 + 1);
    // RGW would put the traffic of several hours into the first: a longer question is one about a
    // stretch in which there is nothing, and else every hour of it is asked for.
    let mut reached = begun;
    for (at, (from, to)) in asked.iter().enumerate() {
        assert_eq!(*from, reached, "{asked:?}");
        let next = asked.get(at + 1).map_or(*to, |next| next.0);
        assert!(next == *to || next <= *from + Duration::from_secs(3600), "{asked:?}");
        reached = if (*to - *from).whole_hours() == 1 && next != *from { *to } else { next };
    }
    assert_eq!(reached, ended, "{asked:?}");
    let before = asked.len();
    engine.collect_usage(&first.next, 500).await.unwrap();
    let again = hours(&proxy.asked()).split_off(before);
    // One more if an hour has ended meanwhile.
    assert!((4..=5).contains(&again.len()), "{again:?}");
    assert!(again.iter().all(|(from, to)| (*to - *from).whole_hours() == 1), "{again:?}");
    assert_eq!((ended - again[0].0).whole_hours(), 4);
}

/// From and to of each question for everybody's usage.
fn hours(asked: &[String]) -> Vec<(OffsetDateTime, OffsetDateTime)> {
    let questions = asked.iter().filter(|line| line.starts_with("GET /admin/usage"));
    let questions = questions.filter(|line| !line.contains("uid="));
    let part = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        let text = rest.split(['&', ' ']).next().unwrap();
        let text = text.replace("%20", "T").replace("%3A", ":") + "Z";
        OffsetDateTime::parse(&text, &Rfc3339).unwrap()
    };
    questions.map(|line| (part(line, "start"), part(line, "end"))).collect()
}

#[tokio::test]
async fn usage_is_there_after_the_account_is_purged() {
    let engine = engine();
    let spec = account(&engine).await;
    let (uid, name) = (&spec.uid, bucket());
    client(&spec.keys[0]).create_bucket().bucket(name.as_str()).send().await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 3000]).await;
    engine.remove_account(uid, true).await.unwrap();
    wait_for(&engine, uid, &name, [3000, 0, 0, 2]).await;
}

#[tokio::test]
async fn buckets_that_are_gone_are_told_whoever_deleted_them() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let uid = spec.uid.clone();
    let [by_owner, by_us, again]: [BucketName; 3] = [bucket(), bucket(), bucket()];
    let s3 = client(&spec.keys[0]);
    for name in [&by_owner, &by_us, &again] {
        s3.create_bucket().bucket(name.as_str()).send().await.unwrap();
        put(&spec.keys[0], name, "k", vec![1; 3000]).await;
        wait_for(&engine, &uid, name, [3000, 0, 0, 2]).await;
        s3.delete_object().bucket(name.as_str()).key("k").send().await.unwrap();
    }
    let deleted = |name: &BucketName| s3.delete_bucket().bucket(name.as_str()).send();
    deleted(&by_owner).await.unwrap();
    deleted(&again).await.unwrap();
    s3.create_bucket().bucket(again.as_str()).send().await.unwrap();
    // With our own hand, which is in no log.
    spec.access = AccountAccess::Suspended;
    engine.ensure_account(&spec).await.unwrap();
    engine.delete_bucket(&uid, &by_us).await.unwrap();
    eventually(|| async {
        let all = collect(&engine, 500).await;
        for (name, expected) in [(&by_owner, true), (&by_us, true), (&again, false)] {
            let seen = stored(&all, &uid, name.as_str()).map(|row| row.deleted);
            if seen != Some(expected) {
                return Err(format!("{name}: {seen:?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_asked_before_it_is_due() {
    let proxy = Proxy::start(&url()).await;
    let mut options = options();
    options.admin_endpoint = proxy.url.clone();
    (options.usage_every, options.stored_every) =
        (Duration::from_secs(3600), Duration::from_secs(3600));
    let engine = engine_with(options);
    let all = collect(&engine, 500).await;
    let asked = proxy.asked().len();
    let batch = engine.collect_usage(&all.next, 500).await.unwrap();
    assert_eq!(batch, UsageBatch { next: all.next, ..UsageBatch::default() });
    assert_eq!(proxy.asked().len(), asked);
}

#[tokio::test]
async fn a_cursor_of_another_engine_is_refused() {
    let refused = engine().collect_usage(&UsageCursor::from_text("12.7"), 10).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}
