//! Accounts that are read and not written, and what a bucket may store.

use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::{AccountAccess, AccountSpec, Engine, Quota};
use stowage_types::BucketName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{Account, Kit, bytes, refusal};
use crate::usage::{put_at_once, wait_for_bytes};

async fn set(kit: &Kit, account: &Account, access: AccountAccess) {
    let spec = AccountSpec::new(account.uid.clone(), vec![account.keys.clone()]);
    kit.engine.ensure_account(&AccountSpec { access, ..spec }).await.unwrap();
}

fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

fn over() -> (u16, String) {
    (403, "QuotaExceeded".to_owned())
}

#[tokio::test]
async fn a_read_only_account_reads_all_and_changes_nothing() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("kept").await;
    account.put("kept", "k", "treasure").await.unwrap();
    let s3 = &account.s3;
    let begin = s3.create_multipart_upload().bucket("kept").key("parts").send().await.unwrap();
    let upload = begin.upload_id.unwrap();
    let (get, put) =
        (account.presigned_get("kept", "k").await, account.presigned_put("kept", "new").await);
    set(&kit, &account, AccountAccess::ReadOnly).await;

    assert_eq!(account.get("kept", "k").await.unwrap(), b"treasure");
    assert_eq!(kit.raw("GET", &get, &[], b"").await.0, 200);
    s3.head_object().bucket("kept").key("k").send().await.unwrap();
    s3.list_objects_v2().bucket("kept").send().await.unwrap();
    s3.list_multipart_uploads().bucket("kept").send().await.unwrap();
    assert_eq!(s3.list_buckets().send().await.unwrap().buckets().len(), 1);

    assert_eq!(account.put("kept", "k", "other").await.unwrap_err(), denied());
    assert_eq!(kit.raw("PUT", &put, &[], b"x").await.0, 403);
    let copy = s3.copy_object().bucket("kept").key("c").copy_source("kept/k").send().await;
    assert_eq!(refusal(copy.unwrap_err()), denied());
    let delete = s3.delete_object().bucket("kept").key("k").send().await;
    assert_eq!(refusal(delete.unwrap_err()), denied());
    let bucket = s3.create_bucket().bucket("another").send().await;
    assert_eq!(refusal(bucket.unwrap_err()), denied());
    let part = s3.upload_part().bucket("kept").key("parts").upload_id(&upload).part_number(1);
    let part = part.body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(refusal(part.unwrap_err()), denied());
    let abort = s3.abort_multipart_upload().bucket("kept").key("parts").upload_id(&upload);
    assert_eq!(refusal(abort.send().await.unwrap_err()), denied());

    set(&kit, &account, AccountAccess::Full).await;
    account.put("kept", "k", "other").await.unwrap();
    assert_eq!(kit.raw("PUT", &put, &[], b"x").await.0, 200);
}

#[tokio::test]
async fn an_upload_under_way_is_refused_when_its_account_is_read_only_by_then() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("late").await;
    for (number, length) in [(1, 8), (2, 600_000)] {
        let half = length / 2;
        let url = account.presigned_put("late", "k").await;
        let mut stream = kit.raw_head("PUT", &url, &[], length).await;
        let body = bytes(length, number);
        stream.write_all(&body[..half]).await.unwrap();
        wait_for_bytes(&kit, &account.uid, "late", half as u64).await;
        set(&kit, &account, AccountAccess::ReadOnly).await;
        stream.write_all(&body[half..]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("403") && answer.contains("AccessDenied"), "{answer}");
        set(&kit, &account, AccountAccess::Full).await;
        assert_eq!(account.get("late", "k").await.unwrap_err().0, 404);
    }
    kit.wait_for_files(0).await;
}

#[tokio::test]
async fn a_bucket_keeps_to_its_quota_to_the_byte_and_the_object() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    for name in ["bound", "free"] {
        account.bucket(name).await;
    }
    let bound = BucketName::new("bound").unwrap();
    let quota = Quota { bytes: Some(100_000), objects: Some(3) };
    kit.engine.set_bucket_quota(&account.uid, &bound, quota).await.unwrap();
    account.put("bound", "a", bytes(60_000, 1)).await.unwrap();
    assert_eq!(account.put("bound", "b", bytes(40_001, 1)).await.unwrap_err(), over());
    // Parts of an unfinished upload count, and what is given back counts no more.
    let s3 = &account.s3;
    let begin = s3.create_multipart_upload().bucket("bound").key("b").send().await.unwrap();
    let upload = begin.upload_id.unwrap();
    let part = s3.upload_part().bucket("bound").key("b").upload_id(&upload).part_number(1);
    part.body(ByteStream::from(bytes(40_000, 2))).send().await.unwrap();
    assert_eq!(account.put("bound", "c", "1").await.unwrap_err(), over());
    let abort = s3.abort_multipart_upload().bucket("bound").key("b").upload_id(&upload);
    abort.send().await.unwrap();
    account.put("bound", "b", bytes(39_000, 1)).await.unwrap();
    account.put("bound", "c", "1").await.unwrap();
    assert_eq!(account.put("bound", "d", "1").await.unwrap_err(), over(), "the fourth object");
    account.put("bound", "c", "2").await.unwrap();
    account.put("free", "d", bytes(200_000, 1)).await.unwrap();
    // One below what is stored is taken, and refuses what adds.
    let less = Quota { bytes: Some(50_000), objects: None };
    kit.engine.set_bucket_quota(&account.uid, &bound, less).await.unwrap();
    assert_eq!(account.put("bound", "d", "1").await.unwrap_err(), over());
    account.put("bound", "a", bytes(59_000, 1)).await.unwrap();
}

#[tokio::test]
async fn concurrent_puts_do_not_pass_the_quota_of_a_bucket() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("race").await;
    let quota = Quota { bytes: None, objects: Some(3) };
    let name = BucketName::new("race").unwrap();
    kit.engine.set_bucket_quota(&account.uid, &name, quota).await.unwrap();
    assert_eq!(put_at_once(&account, "race").await, 3);
    kit.wait_for_files(3).await;
}
