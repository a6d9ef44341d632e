//! Multipart uploads.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use stowage_engine::{AccountSpec, Engine};

use crate::kit::{Account, Kit, bytes, client, client_with, key_pair, refusal};

const MIB: usize = 1024 * 1024;

async fn begin(account: &Account, bucket: &str, key: &str) -> String {
    let begun = account.s3.create_multipart_upload().bucket(bucket).key(key).send().await;
    begun.unwrap().upload_id.unwrap()
}

async fn part(
    s3: &Client,
    place: (&str, &str, &str),
    number: i32,
    body: Vec<u8>,
) -> Result<CompletedPart, (u16, String)> {
    let (bucket, key, upload) = place;
    let part = s3.upload_part().bucket(bucket).key(key).upload_id(upload).part_number(number);
    let part = part.body(ByteStream::from(body)).send().await.map_err(refusal)?;
    let done = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
    Ok(done.set_checksum_crc32(part.checksum_crc32).build())
}

async fn complete(
    s3: &Client,
    place: (&str, &str, &str),
    parts: Vec<CompletedPart>,
) -> Result<String, (u16, String)> {
    let (bucket, key, upload) = place;
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
    let done = complete.multipart_upload(parts).send().await.map_err(refusal)?;
    Ok(done.e_tag.unwrap())
}

#[tokio::test]
async fn parts_with_gaps_in_their_numbers_make_one_object() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("parts").await;
    let upload = begin(&account, "parts", "big").await;
    let place = ("parts", "big", upload.as_str());
    let bodies = [bytes(5 * MIB, 1), bytes(6 * MIB, 2), bytes(1000, 3)];
    let mut parts = Vec::new();
    for (body, number) in bodies.iter().zip([3, 7, 9999]) {
        // The first try of each is replaced.
        part(&account.s3, place, number, b"first try".to_vec()).await.unwrap();
        parts.push(part(&account.s3, place, number, body.clone()).await.unwrap());
    }
    part(&account.s3, place, 8, b"left out".to_vec()).await.unwrap();
    let listed = account.s3.list_parts().bucket("parts").key("big").upload_id(&upload);
    let listed = listed.max_parts(3).send().await.unwrap();
    let numbers: Vec<_> = listed.parts().iter().filter_map(|part| part.part_number()).collect();
    assert_eq!((numbers, listed.is_truncated()), (vec![3, 7, 8], Some(true)));
    let etag = complete(&account.s3, place, parts.clone()).await.unwrap();
    assert!(etag.ends_with("-3\""), "{etag}");
    // A client that lost the answer asks again.
    assert_eq!(complete(&account.s3, place, parts).await.unwrap(), etag);
    let whole = bodies.concat();
    assert!(account.get("parts", "big").await.unwrap() == whole, "the content differs");
    let range = format!("bytes={}-{}", 5 * MIB - 10, 11 * MIB + 9);
    let get = account.s3.get_object().bucket("parts").key("big").range(range);
    let got = get.send().await.unwrap().body.collect().await.unwrap().to_vec();
    assert!(got == whole[5 * MIB - 10..11 * MIB + 10], "the range differs");
    let second = account.s3.get_object().bucket("parts").key("big").part_number(2);
    let second = second.send().await.unwrap();
    assert_eq!(second.parts_count(), Some(3));
    assert!(second.body.collect().await.unwrap().to_vec() == bodies[1], "part 2 differs");
    kit.wait_for_files(3).await;
    let head = account.s3.head_object().bucket("parts").key("big").send().await.unwrap();
    assert_eq!(head.content_length(), Some(whole.len() as i64));
    let copy = account.s3.copy_object().bucket("parts").key("copy").copy_source("parts/big");
    copy.send().await.unwrap();
    assert!(account.get("parts", "copy").await.unwrap() == whole, "the copy differs");
}

#[tokio::test]
async fn parts_are_checked_when_the_upload_is_completed() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("checked").await;
    let upload = begin(&account, "checked", "k").await;
    let place = ("checked", "k", upload.as_str());
    let one = part(&account.s3, place, 1, b"too small".to_vec()).await.unwrap();
    let two = part(&account.s3, place, 2, b"last".to_vec()).await.unwrap();
    let wrong = CompletedPart::builder().part_number(1).e_tag("\"00\"").build();
    let absent = CompletedPart::builder().part_number(5).e_tag("\"00\"").build();
    for (parts, code) in [
        (vec![wrong, two.clone()], "InvalidPart"),
        (vec![absent], "InvalidPart"),
        (vec![two.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), two.clone()], "EntityTooSmall"),
        (vec![], "MalformedXML"),
    ] {
        let refused = complete(&account.s3, place, parts).await.unwrap_err();
        assert_eq!(refused, (400, code.to_owned()));
    }
    // Nothing was lost by all that.
    complete(&account.s3, place, vec![two]).await.unwrap();
    assert_eq!(account.get("checked", "k").await.unwrap(), b"last");
    let gone = part(&account.s3, place, 1, b"x".to_vec()).await.unwrap_err();
    assert_eq!(gone, (404, "NoSuchUpload".to_owned()));
    for number in [0, 10_001] {
        let upload = begin(&account, "checked", "n").await;
        let refused = part(&account.s3, ("checked", "n", &upload), number, vec![1]).await;
        assert_eq!(refused.unwrap_err().0, 400, "{number}");
    }
}

#[tokio::test]
async fn another_key_of_the_account_may_complete() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("rotated").await;
    let upload = begin(&account, "rotated", "k").await;
    let place = ("rotated", "k", upload.as_str());
    let one = part(&account.s3, place, 1, b"x".to_vec()).await.unwrap();
    let spec = AccountSpec::new(account.uid.clone(), vec![key_pair(77)]);
    kit.engine.ensure_account(&spec).await.unwrap();
    let old = complete(&account.s3, place, vec![one.clone()]).await.unwrap_err();
    assert_eq!(old, (403, "InvalidAccessKeyId".to_owned()));
    let s3 = client(kit.address, &key_pair(77));
    complete(&s3, place, vec![one]).await.unwrap();
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("aborted").await;
    let first = begin(&account, "aborted", "a/k").await;
    let second = begin(&account, "aborted", "b").await;
    let third = begin(&account, "aborted", "b").await;
    part(&account.s3, ("aborted", "a/k", &first), 1, bytes(100_000, 1)).await.unwrap();
    let list = || account.s3.list_multipart_uploads().bucket("aborted");
    let all = list().send().await.unwrap();
    let keys: Vec<_> = all.uploads().iter().filter_map(|upload| upload.key()).collect();
    assert_eq!(keys, ["a/k", "b", "b"]);
    let rolled = list().delimiter("/").send().await.unwrap();
    assert_eq!((rolled.uploads().len(), rolled.common_prefixes().len()), (2, 1));
    let mut ids = Vec::new();
    let (mut key, mut id) = (None, None);
    for _ in 0..4 {
        let page = list().max_uploads(1).set_key_marker(key).set_upload_id_marker(id);
        let page = page.send().await.unwrap();
        ids.extend(page.uploads().iter().filter_map(|upload| upload.upload_id.clone()));
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated != Some(true) {
            break;
        }
    }
    let mut expected = vec![second.clone(), third.clone()];
    expected.sort();
    expected.insert(0, first.clone());
    assert_eq!(ids, expected);
    assert_eq!(kit.engine.account_usage(&account.uid).await.unwrap().unfinished_bytes, 100_000);
    for (key, upload) in [("a/k", &first), ("b", &second), ("b", &third)] {
        let abort = account.s3.abort_multipart_upload().bucket("aborted").key(key);
        abort.upload_id(upload).send().await.unwrap();
    }
    assert_eq!(kit.engine.account_usage(&account.uid).await.unwrap().unfinished_bytes, 0);
    kit.wait_for_files(0).await;
    let again = account.s3.abort_multipart_upload().bucket("aborted").key("b").upload_id(&second);
    assert_eq!(refusal(again.send().await.unwrap_err()), (404, "NoSuchUpload".into()));
}

#[tokio::test]
async fn parts_can_be_copied_from_objects() {
    let kit = Kit::start().await;
    let (account, other) = (kit.account(1).await, kit.account(2).await);
    account.bucket("sources").await;
    other.bucket("foreign").await;
    let body = bytes(6 * MIB, 4);
    account.put("sources", "from", body.clone()).await.unwrap();
    other.put("foreign", "secret", "x").await.unwrap();
    let upload = begin(&account, "sources", "to").await;
    let copy = |number: i32, source: &str| {
        let copy = account.s3.upload_part_copy().bucket("sources").key("to").upload_id(&upload);
        copy.part_number(number).copy_source(source)
    };
    let one = copy(1, "sources/from").send().await.unwrap().copy_part_result.unwrap();
    let two = copy(2, "sources/from").copy_source_range("bytes=10-19").send().await.unwrap();
    let two = two.copy_part_result.unwrap();
    let stolen = copy(3, "foreign/secret").send().await.unwrap_err();
    assert_eq!(refusal(stolen), (403, "AccessDenied".into()));
    let done = |number, etag| CompletedPart::builder().part_number(number).set_e_tag(etag).build();
    let parts = vec![done(1, one.e_tag), done(2, two.e_tag)];
    complete(&account.s3, ("sources", "to", &upload), parts).await.unwrap();
    let whole = [&body[..], &body[10..20]].concat();
    assert!(account.get("sources", "to").await.unwrap() == whole, "the content differs");
}

#[tokio::test]
async fn checksums_of_parts_add_up() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("added").await;
    let s3 = client_with(kit.address, &account.keys, true);
    let begin = s3.create_multipart_upload().bucket("added").key("k");
    let begun = begin.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
    let upload = begun.upload_id.unwrap();
    let place = ("added", "k", upload.as_str());
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 * MIB), (2, 10)] {
        let body = ByteStream::from(bytes(size, 9));
        let part = s3.upload_part().bucket("added").key("k").upload_id(&upload);
        let part = part.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32);
        let part = part.body(body).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
        parts.push(done.set_checksum_crc32(part.checksum_crc32).build());
    }
    complete(&s3, place, parts).await.unwrap();
    let got = s3.get_object().bucket("added").key("k").send().await.unwrap();
    assert!(got.checksum_crc32().is_some_and(|sum| sum.ends_with("-2")), "{got:?}");
    assert_eq!(got.body.collect().await.unwrap().to_vec().len(), 5 * MIB + 10);
}
