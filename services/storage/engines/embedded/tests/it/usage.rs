//! Quotas and traffic, to the byte.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::{Engine, TrafficTotals, UsageBatch, UsageCursor};
use stowage_types::S3uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{Account, Kit, bytes, refusal};

async fn collect(kit: &Kit) -> UsageBatch {
    kit.engine.collect_usage(&UsageCursor::default(), 1000).await.unwrap()
}

/// Totals of the account over all hours: received, sent, reads, writes.
fn sum(batch: &UsageBatch, uid: &S3uid, bucket: &str) -> (u64, u64, u64, u64) {
    let of = |row: &&TrafficTotals| row.uid == *uid && row.bucket == bucket;
    batch.traffic.iter().filter(of).fold((0, 0, 0, 0), |sum, row| {
        (
            sum.0 + row.received_bytes,
            sum.1 + row.sent_bytes,
            sum.2 + row.read_requests,
            sum.3 + row.write_requests,
        )
    })
}

/// Requests that were refused, over all hours.
fn refused(batch: &UsageBatch, uid: &S3uid, bucket: &str) -> u64 {
    let of = |row: &&TrafficTotals| row.uid == *uid && row.bucket == bucket;
    batch.traffic.iter().filter(of).map(|row| row.refused_requests).sum()
}

#[tokio::test]
async fn a_quota_is_exact_and_gives_credit_for_overwrites() {
    let kit = Kit::start().await;
    let account = kit.account_with(1, Some(100_000), None).await;
    account.bucket("quota").await;
    account.put("quota", "a", bytes(60_000, 1)).await.unwrap();
    let over = (403, "QuotaExceeded".to_owned());
    assert_eq!(account.put("quota", "b", bytes(40_001, 1)).await.unwrap_err(), over);
    account.put("quota", "b", bytes(40_000, 1)).await.unwrap();
    assert_eq!(account.put("quota", "c", "1").await.unwrap_err(), over);
    account.put("quota", "a", bytes(60_000, 2)).await.unwrap();
    account.put("quota", "a", bytes(59_000, 2)).await.unwrap();
    account.put("quota", "c", bytes(1000, 1)).await.unwrap();
    let copy = account.s3.copy_object().bucket("quota").key("d").copy_source("quota/c");
    assert_eq!(refusal(copy.send().await.unwrap_err()), over);
    account.s3.delete_object().bucket("quota").key("c").send().await.unwrap();
    let begin = account.s3.create_multipart_upload().bucket("quota").key("m");
    let upload = begin.send().await.unwrap().upload_id.unwrap();
    let part = |size: usize| {
        let part = account.s3.upload_part().bucket("quota").key("m").upload_id(&upload);
        part.part_number(1).body(ByteStream::from(bytes(size, 1))).send()
    };
    assert_eq!(refusal(part(1001).await.unwrap_err()), over);
    part(1000).await.unwrap();
    assert_eq!(account.put("quota", "c", "1").await.unwrap_err(), over);
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    let figures = (usage.object_count, usage.stored_bytes, usage.unfinished_bytes);
    assert_eq!(figures, (2, 99_000, 1000));
}

/// Puts 20 objects of 30,000 bytes at once; answers how many were taken.
pub(crate) async fn put_at_once(account: &Account, bucket: &'static str) -> u32 {
    let puts = (0..20).map(|n| {
        let s3 = account.s3.clone();
        tokio::spawn(async move {
            let body = ByteStream::from(bytes(30_000, n));
            s3.put_object().bucket(bucket).key(format!("k{n}")).body(body).send().await.is_ok()
        })
    });
    let mut stored = 0;
    for put in puts.collect::<Vec<_>>() {
        stored += u32::from(put.await.unwrap());
    }
    stored
}

#[tokio::test]
async fn concurrent_puts_do_not_pass_the_quota() {
    let kit = Kit::start().await;
    let account = kit.account_with(1, Some(100_000), None).await;
    account.bucket("race").await;
    assert_eq!(put_at_once(&account, "race").await, 3);
    kit.wait_for_files(3).await;
}

#[tokio::test]
async fn traffic_is_counted_to_the_byte_and_once() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("traffic").await;
    let put = account.presigned_put("traffic", "k").await;
    let get = account.presigned_get("traffic", "k").await;
    assert_eq!(kit.raw("PUT", &put, &[], &vec![b'x'; 30_000]).await.0, 200);
    assert_eq!(kit.raw("GET", &get, &[], b"").await.0, 200);
    assert_eq!(kit.raw("GET", &get, &[("range", "bytes=0-99")], b"").await.0, 206);
    let batch = collect(&kit).await;
    assert_eq!(sum(&batch, &account.uid, "traffic"), (30_000, 30_100, 2, 1));
    assert_eq!(collect(&kit).await.traffic, batch.traffic, "absolute figures stay");
    let nothing = kit.engine.collect_usage(&batch.next, 1000).await.unwrap();
    assert!(nothing.storage.is_empty() && nothing.traffic.is_empty(), "{nothing:?}");
    assert_eq!(kit.raw("GET", &get, &[], b"").await.0, 200);
    let more = kit.engine.collect_usage(&batch.next, 1000).await.unwrap();
    assert_eq!(sum(&more, &account.uid, "traffic"), (30_000, 60_100, 3, 1));
    let info = kit.engine.list_buckets(&account.uid, None, 10).await.unwrap();
    assert_eq!((info[0].received_bytes, info[0].sent_bytes), (30_000, 60_100));
    // What was counted is there after a restart.
    let uid = account.uid.clone();
    let kit = Kit::start_in(kit.stop().await).await;
    assert_eq!(sum(&collect(&kit).await, &uid, "traffic"), (30_000, 60_100, 3, 1));
}

#[tokio::test]
async fn an_aborted_put_counts_as_far_as_it_went() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("aborted").await;
    let url = account.presigned_put("aborted", "k").await;
    let mut stream = kit.raw_head("PUT", &url, &[], 1_000_000).await;
    stream.write_all(&vec![b'x'; 300_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    wait_for_bytes(&kit, &account.uid, "aborted", 300_000).await;
    let seen = sum(&collect(&kit).await, &account.uid, "aborted");
    assert_eq!((seen.0, seen.2, seen.3), (300_000, 0, 1));
    kit.wait_for_files(0).await;
    assert_eq!(account.get("aborted", "k").await.unwrap_err().0, 404);
}

#[tokio::test]
async fn refused_requests_are_not_charged_to_the_owner() {
    let kit = Kit::start().await;
    let (owner, other) = (kit.account(1).await, kit.account(2).await);
    owner.bucket("charged").await;
    let before = collect(&kit).await;
    assert_eq!(other.put("charged", "k", bytes(5000, 1)).await.unwrap_err().0, 403);
    assert_eq!(other.get("charged", "k").await.unwrap_err().0, 403);
    assert_eq!(kit.raw("GET", "/charged/k", &[], b"").await.0, 403);
    let after = collect(&kit).await;
    for bucket in ["", "charged"] {
        assert_eq!(sum(&before, &owner.uid, bucket), sum(&after, &owner.uid, bucket));
        assert_eq!(sum(&after, &other.uid, bucket), (0, 0, 0, 0), "nobody pays");
    }
    assert_eq!(refused(&after, &owner.uid, "charged"), 2, "apart, for the bucket that was meant");
    // That a key is not there is an answer.
    assert_eq!(owner.get("charged", "none").await.unwrap_err().0, 404);
    let reads = sum(&after, &owner.uid, "charged").2;
    let after = collect(&kit).await;
    assert_eq!(sum(&after, &owner.uid, "charged").2, reads + 1);
    assert_eq!(refused(&after, &owner.uid, "charged"), 2);
    // And it stays so.
    let uid = owner.uid.clone();
    let kit = Kit::start_in(kit.stop().await).await;
    assert_eq!(refused(&collect(&kit).await, &uid, "charged"), 2);
}

#[tokio::test]
async fn a_bucket_made_again_starts_at_zero() {
    let kit = Kit::start().await;
    let (first, second) = (kit.account(1).await, kit.account(2).await);
    first.bucket("again").await;
    first.put("again", "k", bytes(2000, 1)).await.unwrap();
    let start = collect(&kit).await;
    assert_eq!((start.storage[0].stored_bytes, start.storage[0].deleted), (2000, false));
    first.s3.delete_object().bucket("again").key("k").send().await.unwrap();
    first.s3.delete_bucket().bucket("again").send().await.unwrap();
    second.bucket("again").await;
    second.put("again", "k", bytes(10, 1)).await.unwrap();
    let batch = kit.engine.collect_usage(&start.next, 1000).await.unwrap();
    let rows: Vec<_> = batch
        .storage
        .iter()
        .map(|row| (row.uid.clone(), row.stored_bytes, row.object_count, row.deleted))
        .collect();
    let (uid, other) = (first.uid.clone(), second.uid.clone());
    assert_eq!(rows, [(uid, 0, 0, true), (other, 10, 1, false)]);
    let info = kit.engine.list_buckets(&second.uid, None, 10).await.unwrap();
    assert_eq!(info[0].received_bytes, 10);
    // Small pages give the same in the end.
    let (mut cursor, mut rows) = (UsageCursor::default(), 0);
    for _ in 0..50 {
        let page = kit.engine.collect_usage(&cursor, 1).await.unwrap();
        rows += page.storage.len() + page.traffic.len();
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    let all = collect(&kit).await;
    assert_eq!(rows, all.storage.len() + all.traffic.len());
}

#[tokio::test]
async fn a_running_request_ends_before_the_engine_does() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("stopping").await;
    let url = account.presigned_put("stopping", "k").await;
    let mut stream = kit.raw_head("PUT", &url, &[], 100_000).await;
    stream.write_all(&vec![b'x'; 50_000]).await.unwrap();
    wait_for_bytes(&kit, &account.uid, "stopping", 50_000).await;
    kit.cancel();
    stream.write_all(&vec![b'x'; 50_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let uid = account.uid.clone();
    let kit = Kit::start_in(kit.stop().await).await;
    assert_eq!(sum(&collect(&kit).await, &uid, "stopping"), (100_000, 0, 0, 1));
    let account = kit.account(1).await;
    assert_eq!(account.get("stopping", "k").await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_request_that_outlasts_the_shutdown_is_cut_and_counted() {
    let kit = Kit::start_draining(Duration::from_millis(50)).await;
    let account = kit.account(1).await;
    account.bucket("cut").await;
    let url = account.presigned_put("cut", "k").await;
    let mut stream = kit.raw_head("PUT", &url, &[], 100_000).await;
    stream.write_all(&vec![b'x'; 50_000]).await.unwrap();
    wait_for_bytes(&kit, &account.uid, "cut", 50_000).await;
    let uid = account.uid.clone();
    let kit = Kit::start_in(kit.stop().await).await;
    assert_eq!(sum(&collect(&kit).await, &uid, "cut"), (50_000, 0, 0, 1));
    assert_eq!(kit.files().len(), 0);
}

/// Waits until so many bytes have been received.
pub(crate) async fn wait_for_bytes(kit: &Kit, uid: &S3uid, bucket: &str, count: u64) {
    for _ in 0..200 {
        if sum(&collect(kit).await, uid, bucket).0 >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{count} bytes did not arrive");
}

#[tokio::test]
async fn who_gives_up_asking_for_figures_takes_none_of_them_along() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("cut").await;
    for polls in 0..40 {
        account.put("cut", "a", bytes(1000, 1)).await.unwrap();
        let mut asking = Box::pin(kit.engine.list_buckets(&account.uid, None, 10));
        for _ in 0..polls {
            if futures_util::poll!(&mut asking).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let (received, _, _, writes) = sum(&collect(&kit).await, &account.uid, "cut");
    assert_eq!(writes, 40);
    assert!(received >= 40 * 1000, "{received}");
}
