//! What is charged, to whom.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::kit::{Account, Kit, bytes, forged, status};

#[tokio::test]
async fn whatever_a_client_does_counts_as_the_engine_counts_it() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    let s3 = &account.s3;
    account.bucket("photos").await;
    s3.list_buckets().send().await.unwrap();
    for key in ["a", "b/c d", "ü/%25+&=?#", "//x//", "..", "\u{1f511}~*'()"] {
        account.put("photos", key, bytes(70_000)).await;
        assert_eq!(account.get("photos", key).await, bytes(70_000), "{key}");
        s3.head_object().bucket("photos").key(key).send().await.unwrap();
    }
    let range = s3.get_object().bucket("photos").key("a").range("bytes=10-99").send().await;
    assert_eq!(range.unwrap().body.collect().await.unwrap().to_vec(), bytes(70_000)[10..=99]);
    s3.get_object().bucket("photos").key("none").send().await.unwrap_err();
    s3.head_object().bucket("photos").key("none").send().await.unwrap_err();
    s3.get_object().bucket("nowhere").key("none").send().await.unwrap_err();
    s3.put_object().bucket("photos").key("empty").send().await.unwrap();
    s3.copy_object().bucket("photos").key("copy").copy_source("photos/a").send().await.unwrap();
    multipart(&account).await;
    s3.list_objects_v2().bucket("photos").send().await.unwrap();
    let gone = ObjectIdentifier::builder().key("a").build().unwrap();
    let gone = Delete::builder().objects(gone).build().unwrap();
    s3.delete_objects().bucket("photos").delete(gone).send().await.unwrap();
    s3.delete_object().bucket("photos").key("copy").send().await.unwrap();
    account.bucket("second").await;
    account.put("second", "k", bytes(10)).await;
    let counted = kit.sums().await;
    assert_eq!(counted, kit.of_engine().await);
    assert!(counted.len() >= 3, "both buckets and what names none: {counted:?}");
}

async fn multipart(account: &Account) {
    let s3 = &account.s3;
    let begun = s3.create_multipart_upload().bucket("photos").key("big").send().await.unwrap();
    let upload = begun.upload_id.unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, length) in [(1, 6 << 20), (2, 100_000)] {
        let part = s3.upload_part().bucket("photos").key("big").upload_id(&upload);
        let part = part.part_number(number).body(ByteStream::from(bytes(length))).send().await;
        let tag = part.unwrap().e_tag.unwrap();
        parts = parts.parts(CompletedPart::builder().part_number(number).e_tag(tag).build());
    }
    let done = s3.complete_multipart_upload().bucket("photos").key("big").upload_id(&upload);
    done.multipart_upload(parts.build()).send().await.unwrap();
    assert_eq!(account.get("photos", "big").await.len(), (6 << 20) + 100_000);
}

#[tokio::test]
async fn many_clients_at_once_are_counted_to_the_byte() {
    let kit = Kit::start().await;
    let mut clients = Vec::new();
    for n in 0..8_usize {
        let account = kit.account().await;
        let bucket = format!("crowd-{n}");
        account.bucket(&bucket).await;
        for client in 0..4_usize {
            let (s3, bucket) = (account.s3.clone(), bucket.clone());
            clients.push(tokio::spawn(async move {
                for round in 0..10_usize {
                    let key = format!("{client}-{round}");
                    let body = ByteStream::from(bytes(1000 * n + 77 * round));
                    let put = s3.put_object().bucket(&bucket).key(&key).body(body);
                    put.send().await.unwrap();
                    let got = s3.get_object().bucket(&bucket).key(&key).send().await.unwrap();
                    got.body.collect().await.unwrap();
                }
            }));
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    let counted = kit.sums().await;
    assert_eq!(counted, kit.of_engine().await);
    let bytes_of = |n: u64| 4 * (0..10).map(|round| 1000 * n + 77 * round).sum::<u64>();
    for ((_, bucket), sums) in counted {
        if bucket.is_empty() {
            assert_eq!(sums, [0, 0, 0, 1], "making the bucket");
            continue;
        }
        let n = bucket.strip_prefix("crowd-").unwrap().parse().unwrap();
        assert_eq!(sums, [bytes_of(n), bytes_of(n), 40, 40], "{bucket}");
    }
}

#[tokio::test]
async fn signed_urls_are_charged_to_who_signed_them() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("signed").await;
    let (put, get) =
        (account.presigned_put("signed", "k").await, account.presigned_get("signed", "k").await);
    let answer = kit.raw(&kit.head("PUT", &put, 30_000, ""), &vec![b'x'; 30_000]).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let answer = kit.raw(&kit.head("GET", &get, 0, ""), b"").await;
    assert_eq!(status(&answer), 200);
    let answer = kit.raw(&kit.head("GET", &get, 0, "range: bytes=0-99\r\n"), b"").await;
    assert_eq!(status(&answer), 206);
    assert_eq!(kit.sum(&account.uid, "signed").await, [30_000, 30_100, 2, 1]);
}

#[tokio::test]
async fn whoever_does_not_hold_the_key_charges_nobody() {
    let kit = Kit::start().await;
    let (victim, thief) = (kit.account().await, kit.account().await);
    victim.bucket("robbed").await;
    victim.put("robbed", "k", bytes(1000)).await;
    let before = kit.sums().await;
    let url = victim.presigned_put("robbed", "k").await;
    let forged = forged(&url);
    for (method, url, lines) in [
        ("PUT", forged.as_str(), ""),
        ("GET", forged.as_str(), ""),
        ("DELETE", url.as_str(), ""),
        ("OPTIONS", forged.as_str(), "origin: http://x\r\naccess-control-request-method: PUT\r\n"),
    ] {
        let answer = kit.raw(&kit.head(method, url, 50_000, lines), &vec![b'x'; 50_000]).await;
        assert!(status(&answer) >= 400 || method == "OPTIONS", "{method}: {answer}");
    }
    let key = &victim.keys.access_key;
    for line in [
        format!("authorization: AWS {key}:c2ln"),
        format!(
            "authorization: AWS4-HMAC-SHA256 Credential={key}/x, SignedHeaders=host, Signature=0"
        ),
        // Without it the engine would see nobody, and with it the front somebody.
        format!("authorization: AWS {key}:c2ln\r\nconnection: authorization"),
        String::new(),
    ] {
        let lines = if line.is_empty() { line } else { format!("{line}\r\n") };
        let head = kit.head("PUT", &format!("http://{}/robbed/k", kit.address), 5, &lines);
        let answer = kit.raw(&head, b"12345").await;
        assert!(status(&answer) >= 400, "{answer}");
    }
    thief.s3.get_object().bucket("robbed").key("k").send().await.unwrap_err();
    assert_eq!(kit.sums().await, before);
}

#[tokio::test]
async fn a_stop_waits_for_what_runs_and_for_its_counts() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("last").await;
    let url = account.presigned_put("last", "k").await;
    let head = kit.head("PUT", &url, 20_000, "");
    let mut stream = kit.send(&head, &vec![b'x'; 10_000]).await;
    // The engine has it, so it is under way.
    let place = (account.uid.clone(), "last".to_owned());
    while kit.of_engine().await.get(&place).is_none_or(|sum| sum[0] < 10_000) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kit.cancel();
    stream.write_all(&vec![b'x'; 10_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(kit.stop().await[&place], [20_000, 0, 0, 1]);
}
