//! Accounts that are suspended, keys that come and go, and when they were used.

use std::time::Duration;

use stowage_engine::{AccountAccess, AccountSpec, Engine, KeyPair, KeyUsage};
use stowage_types::{BucketName, Clock, S3uid, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{Account, Kit, bytes, client, key_pair, refusal};
use crate::usage::wait_for_bytes;

fn spec(account: &Account, keys: Vec<KeyPair>, suspended: bool) -> AccountSpec {
    let access = if suspended { AccountAccess::Suspended } else { AccountAccess::Full };
    AccountSpec { access, ..AccountSpec::new(account.uid.clone(), keys) }
}

async fn suspend(kit: &Kit, account: &Account, suspended: bool) {
    let spec = spec(account, vec![account.keys.clone()], suspended);
    kit.engine.ensure_account(&spec).await.unwrap();
}

fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

#[tokio::test]
async fn a_suspended_account_keeps_everything_and_gets_nothing_done() {
    let kit = Kit::start().await;
    let (account, other) = (kit.account(1).await, kit.account(2).await);
    account.bucket("kept").await;
    other.bucket("others").await;
    account.put("kept", "small", "treasure").await.unwrap();
    account.put("kept", "large", bytes(100_000, 1)).await.unwrap();
    let (get, put) =
        (account.presigned_get("kept", "small").await, account.presigned_put("kept", "new").await);
    suspend(&kit, &account, true).await;
    for _ in 0..2 {
        assert_eq!(account.get("kept", "small").await.unwrap_err(), denied());
        assert_eq!(account.put("kept", "new", "x").await.unwrap_err(), denied());
        let s3 = &account.s3;
        assert_eq!(refusal(s3.list_buckets().send().await.unwrap_err()), denied());
        let delete = s3.delete_object().bucket("kept").key("small").send().await;
        assert_eq!(refusal(delete.unwrap_err()), denied());
        let make = s3.create_bucket().bucket("more").send().await;
        assert_eq!(refusal(make.unwrap_err()), denied());
        for (method, url, body) in [("GET", &get, &b""[..]), ("PUT", &put, b"x")] {
            let (status, answer) = kit.raw(method, url, &[], body).await;
            assert!(status == 403 && answer.contains("AccessDenied"), "{method} {status} {answer}");
        }
        // A wrong secret does not learn of it.
        let stranger = KeyPair { secret_key: "wrong".to_owned().into(), ..account.keys.clone() };
        let guess = client(kit.address, &stranger).list_buckets().send().await;
        assert_eq!(refusal(guess.unwrap_err()), (403, "SignatureDoesNotMatch".to_owned()));
        suspend(&kit, &account, true).await;
    }
    other.put("others", "k", "goes on").await.unwrap();
    // It is still so after a restart.
    let kit = Kit::start_in(kit.stop().await).await;
    let s3 = client(kit.address, &account.keys);
    assert_eq!(refusal(s3.list_buckets().send().await.unwrap_err()), denied());
    let account = Account { s3, ..account };
    suspend(&kit, &account, false).await;
    assert_eq!(account.get("kept", "small").await.unwrap(), b"treasure");
    assert_eq!(account.get("kept", "large").await.unwrap(), bytes(100_000, 1));
    account.put("kept", "new", "x").await.unwrap();
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    assert_eq!((usage.object_count, usage.stored_bytes), (3, 100_009));
}

/// Reads what comes until the server closes, at most ten seconds.
async fn rest(mut stream: tokio::net::TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn uploads_under_way_end_when_their_account_is_suspended_or_their_key_taken_away() {
    let kit = Kit::start().await;
    let (account, other) = (kit.account(1).await, kit.account(2).await);
    account.bucket("uploads").await;
    other.bucket("others").await;
    for suspended in [true, false] {
        let url = account.presigned_put("uploads", "k").await;
        let mut stream = kit.raw_head("PUT", &url, &[], 1_000_000).await;
        stream.write_all(&bytes(300_000, 1)).await.unwrap();
        let foreign = other.presigned_put("others", "k").await;
        let mut goes_on = kit.raw_head("PUT", &foreign, &[], 200_000).await;
        goes_on.write_all(&bytes(100_000, 2)).await.unwrap();
        // All is read, so that the answer is not lost in a reset of the connection.
        let received = if suspended { 300_000 } else { 600_000 };
        wait_for_bytes(&kit, &account.uid, "uploads", received).await;
        kit.wait_for_files(2).await;
        let keys = if suspended { vec![account.keys.clone()] } else { vec![key_pair(9)] };
        kit.engine.ensure_account(&spec(&account, keys, suspended)).await.unwrap();
        // Although the client sends nothing more, and waits.
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("AccessDenied"), "{answer}");
        goes_on.write_all(&bytes(100_000, 2)).await.unwrap();
        let answer = rest(goes_on).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        suspend(&kit, &account, false).await;
        assert_eq!(account.get("uploads", "k").await.unwrap_err().0, 404);
        other.s3.delete_object().bucket("others").key("k").send().await.unwrap();
        kit.wait_for_files(0).await;
    }
}

#[tokio::test]
async fn downloads_under_way_end_when_their_account_is_suspended() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("downloads").await;
    // More than sockets hold, so that the server is not at its end when it happens.
    let size = 40_000_000;
    account.put("downloads", "k", bytes(size, 1)).await.unwrap();
    let url = account.presigned_get("downloads", "k").await;
    let mut stream = kit.raw_head("GET", &url, &[], 0).await;
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    suspend(&kit, &account, true).await;
    let mut left = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut left)).await;
    let _ = read.expect("the connection ends");
    assert!(first.len() + left.len() < size, "{} bytes came", left.len());
}

async fn uses(kit: &Kit, uid: &S3uid) -> Vec<KeyUsage> {
    kit.engine.key_usage(uid).await.unwrap()
}

#[tokio::test]
async fn it_is_known_when_each_key_was_last_used() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    let second = key_pair(8);
    let both = vec![account.keys.clone(), second.clone()];
    kit.engine.ensure_account(&spec(&account, both.clone(), false)).await.unwrap();
    let unused = uses(&kit, &account.uid).await;
    assert!(unused.iter().all(|key| key.last_use_time.is_none()), "{unused:?}");
    assert_eq!(unused.len(), 2);
    let before = SystemClock.now();
    account.bucket("used").await;
    let seen = uses(&kit, &account.uid).await;
    let time_of = |seen: &[KeyUsage], key: &KeyPair| {
        seen.iter().find(|usage| usage.access_key == key.access_key).unwrap().last_use_time
    };
    let used = time_of(&seen, &account.keys);
    assert!(used >= Some(before) && used <= Some(SystemClock.now()), "{seen:?}");
    assert_eq!(time_of(&seen, &second), None);
    // A request that is refused uses no key: another's secret, or a suspended account.
    let wrong = KeyPair { secret_key: "wrong".to_owned().into(), ..second.clone() };
    client(kit.address, &wrong).list_buckets().send().await.unwrap_err();
    kit.engine.ensure_account(&spec(&account, both.clone(), true)).await.unwrap();
    client(kit.address, &second).list_buckets().send().await.unwrap_err();
    assert_eq!(uses(&kit, &account.uid).await, seen);
    // It outlives a change of the account, and the process.
    kit.engine.ensure_account(&spec(&account, both, false)).await.unwrap();
    let kit = Kit::start_in(kit.stop().await).await;
    assert_eq!(uses(&kit, &account.uid).await, seen);
    client(kit.address, &second).list_buckets().send().await.unwrap();
    assert!(time_of(&uses(&kit, &account.uid).await, &second) > used);
    // A key that comes back is a new one.
    kit.engine.ensure_account(&spec(&account, vec![second], false)).await.unwrap();
    let again = vec![account.keys.clone()];
    kit.engine.ensure_account(&spec(&account, again, false)).await.unwrap();
    assert_eq!(time_of(&uses(&kit, &account.uid).await, &account.keys), None);
    let nobody = S3uid::parse(&"f".repeat(32)).unwrap();
    let absent = kit.engine.key_usage(&nobody).await;
    assert!(matches!(absent, Err(stowage_engine::Error::NotFound)), "{absent:?}");
}

#[tokio::test]
async fn unfinished_uploads_are_aborted_some_at_a_time() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("unfinished").await;
    for number in 0..5_u32 {
        let begin = account.s3.create_multipart_upload().bucket("unfinished").key("k");
        let upload = begin.send().await.unwrap().upload_id.unwrap();
        let part = account.s3.upload_part().bucket("unfinished").key("k").upload_id(upload);
        let body = bytes(20_000, number).into();
        part.part_number(1).body(body).send().await.unwrap();
    }
    let name = BucketName::new("unfinished").unwrap();
    let usage = kit.engine.account_usage(&account.uid).await.unwrap();
    assert_eq!(usage.unfinished_bytes, 100_000);
    for (aborted, left) in [(3, 40_000), (2, 0), (0, 0)] {
        let done = kit.engine.abort_uploads(&account.uid, &name, None, 3).await.unwrap();
        let usage = kit.engine.account_usage(&account.uid).await.unwrap();
        assert_eq!((done, usage.unfinished_bytes), (aborted, left));
    }
    kit.wait_for_files(0).await;
}
