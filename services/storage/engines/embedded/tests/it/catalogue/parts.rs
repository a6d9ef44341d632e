//! Single parts: their numbers, checksums, copies, and reading by them.

use super::Asker;
use crate::kit::{bytes, client_with};

const MIB: usize = 1024 * 1024;
const SOURCE: &str = "x-amz-copy-source";
const RANGE: &str = "x-amz-copy-source-range";
/// SHA-256 of 1024 times `A`, and of that digest: what a composite of one part is.
const PART_SUM: &str = "arcu6553sHVAiX4MjW0j7I7vD4w6R+Gz9Ok0Q9lTa+0=";
const COMPOSITE: &str = "Ok6Cs5b96ux6+MWQkJO7UBT5sKPBeXBLwvj/hK89smg=-1";

#[tokio::test]
async fn parts_have_numbers_and_are_listed() {
    let asker = Asker::start(&["list"]).await;
    let id = asker.begin("/list/foo", &[]).await;
    let line = |number: &str| format!("PUT /list/foo?partNumber={number}&uploadId={id}");
    asker
        .expect(&[
            (&line("0"), &[], "x", 400, "InvalidArgument"),
            (&line("10001"), &[], "x", 400, "InvalidArgument"),
            (&line("-1"), &[], "x", 400, "InvalidArgument"),
            (&line("one"), &[], "x", 400, "InvalidArgument"),
            (&line("10000"), &[], "10000", 200, ""),
            (&line("1"), &[], "1", 200, ""),
            (&line("7"), &[], "7", 200, ""),
            (&line("7"), &[], "seven", 200, ""),
            (&line("2"), &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], "x", 400, "BadDigest"),
            ("PUT /list/foo?partNumber=1&uploadId=none", &[], "x", 404, "NoSuchUpload"),
        ])
        .await;
    let all = format!("GET /list/foo?uploadId={id}");
    for (query, numbers, truncated) in [
        ("", &["1", "7", "10000"][..], "false"),
        ("&max-parts=2", &["1", "7"], "true"),
        ("&max-parts=2&part-number-marker=7", &["10000"], "false"),
        ("&part-number-marker=10000", &[], "false"),
        ("&max-parts=0", &[], "true"),
    ] {
        let page = asker.ask(&format!("{all}{query}"), &[], b"").await;
        assert_eq!(page.elements("PartNumber"), numbers, "{query}");
        assert_eq!(page.element("IsTruncated").as_deref(), Some(truncated), "{query}");
    }
    let told = asker.ask(&all, &[], b"").await;
    assert_eq!(told.elements("Size"), ["1", "5", "5"], "{told:?}");
    assert_eq!(told.elements("ETag").len(), 3);
    let negative = asker.ask(&format!("{all}&max-parts=-1"), &[], b"").await;
    assert_eq!(negative.outcome(), (400, "InvalidArgument".into()));
}

#[tokio::test]
async fn an_object_is_read_by_its_parts() {
    let asker = Asker::start(&["read"]).await;
    let parts = [bytes(5 * MIB, 1), bytes(5 * MIB + 3, 2), bytes(9, 3)];
    let id = asker.begin("/read/foo", &[]).await;
    let early = asker.ask("GET /read/foo?partNumber=1", &[], b"").await;
    assert_eq!(early.outcome(), (404, "NoSuchKey".into()));
    let mut etags = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        etags.push(asker.part("/read/foo", &id, n as u32 * 2 + 1, part).await);
    }
    let named: Vec<_> =
        etags.iter().enumerate().map(|(n, etag)| (n as u32 * 2 + 1, etag.as_str())).collect();
    let done = asker.complete("/read/foo", &id, &[], &named).await;
    // By their order in the object, whatever numbers they were sent with.
    for (n, part) in parts.iter().enumerate() {
        for method in ["GET", "HEAD"] {
            let line = format!("{method} /read/foo?partNumber={}", n + 1);
            let got = asker.ask(&line, &[], b"").await;
            assert_eq!(got.status, 206, "{line}");
            assert_eq!(got.header("x-amz-mp-parts-count"), Some("3"), "{line}");
            assert_eq!(Some(got.etag()), done.element("ETag"), "{line}");
            assert_eq!(got.header("content-length"), Some(part.len().to_string().as_str()));
            assert!(method == "HEAD" || got.body == *part, "{line}: other bytes");
        }
    }
    asker.store("/read/whole", b"body").await;
    let whole = asker.ask("GET /read/whole?partNumber=1", &[], b"").await;
    assert_eq!(whole.text(), "body");
    // Ceph's gateway answers 400 InvalidPart here; Amazon's S3 this.
    asker
        .expect(&[
            ("GET /read/foo?partNumber=4", &[], "", 416, "InvalidPartNumber"),
            ("GET /read/whole?partNumber=2", &[], "", 416, "InvalidPartNumber"),
            ("GET /read/whole?partNumber=0", &[], "", 416, "InvalidPartNumber"),
            ("GET /read/foo?partNumber=1", &[("range", "bytes=0-1")], "", 400, "InvalidRequest"),
        ])
        .await;
}

#[tokio::test]
async fn parts_are_copied_from_objects_and_their_ranges() {
    let asker = Asker::start(&["copy"]).await;
    asker.store("/copy/source", b"0123456789").await;
    for key in ["%20", "_", "__", "%3FversionId", "%25"] {
        asker.store(&format!("/copy/{key}"), b"special").await;
    }
    let id = asker.begin("/copy/foo", &[]).await;
    let line = format!("PUT /copy/foo?partNumber=1&uploadId={id}");
    let source = (SOURCE, "copy/source");
    for range in [
        "0-2",
        "bytes=0",
        "bytes=hello-world",
        "bytes=0-bar",
        "bytes=hello-",
        "bytes=0-",
        "bytes=-3",
        "bytes=5-2",
        "bytes=0-2,3-5",
    ] {
        let refused = asker.ask(&line, &[source, (RANGE, range)], b"").await;
        assert_eq!(refused.outcome(), (400, "InvalidArgument".into()), "{range}");
    }
    asker
        .expect(&[
            (&line, &[source, (RANGE, "bytes=0-21")], "", 416, "InvalidRange"),
            (&line, &[source, (RANGE, "bytes=10-10")], "", 416, "InvalidRange"),
            (&line, &[(SOURCE, "copy/absent")], "", 404, "NoSuchKey"),
            (&line, &[(SOURCE, "absent/source")], "", 404, "NoSuchBucket"),
            (
                &line,
                &[source, ("x-amz-copy-source-if-match", "\"x\"")],
                "",
                412,
                "PreconditionFailed",
            ),
            (&line.replace(&id, "none"), &[source], "", 404, "NoSuchUpload"),
        ])
        .await;
    for (source, range, found) in [
        ("copy/source", None, "0123456789"),
        ("copy/source", Some("bytes=0-9"), "0123456789"),
        ("/copy/source", Some("bytes=3-6"), "3456"),
        ("copy/source", Some("bytes=9-9"), "9"),
        ("copy/%20", None, "special"),
        ("copy/_", None, "special"),
        ("copy/__", None, "special"),
        ("copy/%3FversionId", None, "special"),
        ("copy/%25", None, "special"),
    ] {
        let id = asker.begin("/copy/foo", &[]).await;
        let line = format!("PUT /copy/foo?partNumber=1&uploadId={id}");
        let mut headers = vec![(SOURCE, source)];
        headers.extend(range.map(|range| (RANGE, range)));
        let copied = asker.ask(&line, &headers, b"").await;
        let etag = copied.element("ETag").unwrap_or_else(|| panic!("{source}: {copied:?}"));
        let done = asker.complete("/copy/foo", &id, &[], &[(1, &etag)]).await;
        assert_eq!(done.status, 200, "{source} {range:?}");
        assert_eq!(asker.ask("GET /copy/foo", &[], b"").await.text(), found, "{source} {range:?}");
    }
}

#[tokio::test]
async fn checksums_of_parts_are_checked_and_combined() {
    let asker = Asker::start(&["sum"]).await;
    let body = vec![b'A'; 1024];
    let algorithm = ("x-amz-checksum-algorithm", "SHA256");
    let begun = asker.ask("POST /sum/foo?uploads", &[algorithm], b"").await;
    assert_eq!(begun.header("x-amz-checksum-algorithm"), Some("SHA256"), "{begun:?}");
    assert_eq!(begun.header("x-amz-checksum-type"), Some("COMPOSITE"), "{begun:?}");
    let id = begun.element("UploadId").unwrap();
    let line = format!("PUT /sum/foo?partNumber=1&uploadId={id}");
    let sum = ("x-amz-checksum-sha256", PART_SUM);
    let wrong = asker.ask(&line, &[sum], b"B").await;
    assert_eq!(wrong.outcome(), (400, "BadDigest".into()));
    let part = asker.ask(&line, &[sum], &body).await;
    assert_eq!((part.status, part.header(sum.0)), (200, Some(PART_SUM)));
    let etag = part.etag();
    let bad = asker.complete("/sum/foo", &id, &[(sum.0, "bad")], &[(1, &etag)]).await;
    assert_eq!(bad.outcome(), (400, "BadDigest".into()), "{bad:?}");
    let done = asker.complete("/sum/foo", &id, &[(sum.0, COMPOSITE)], &[(1, &etag)]).await;
    assert_eq!((done.status, done.element("ChecksumSHA256").as_deref()), (200, Some(COMPOSITE)));
    let mode = [("x-amz-checksum-mode", "ENABLED")];
    let head = asker.ask("HEAD /sum/foo", &mode, b"").await;
    assert_eq!(head.header(sum.0), Some(COMPOSITE), "{head:?}");
    assert_eq!(head.header("x-amz-checksum-type"), Some("COMPOSITE"));
    let plain = asker.ask("HEAD /sum/foo", &[], b"").await;
    assert_eq!(plain.header(sum.0), None);
}

/// CRCs of parts add up to that of the whole, which a PUT of the whole has too.
#[tokio::test]
async fn checksums_over_the_whole_are_those_of_one_piece() {
    let asker = Asker::start(&["full"]).await;
    let parts = [bytes(5 * MIB, 1), bytes(1000, 2)];
    let mode = [("x-amz-checksum-mode", "ENABLED")];
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
        let name = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
        let kind =
            [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", "FULL_OBJECT")];
        let id = asker.begin("/full/parts", &kind).await;
        let trailer = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-trailer", &name),
        ];
        let mut etags = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let sum = asker.sum_of(&name, part).await;
            let length = part.len().to_string();
            let headers = [&trailer[..], &[("x-amz-decoded-content-length", &length)]].concat();
            let begin = format!("{:x}\r\n", part.len());
            let end = format!("\r\n0\r\n{name}:{sum}\r\n\r\n");
            let body = [begin.as_bytes(), part, end.as_bytes()].concat();
            let line = format!("PUT /full/parts?partNumber={}&uploadId={id}", n + 1);
            let sent = asker.ask(&line, &headers, &body).await;
            assert_eq!(sent.status, 200, "{algorithm}: {sent:?}");
            etags.push(sent.etag());
        }
        let named = [(1, etags[0].as_str()), (2, &etags[1])];
        let done = asker.complete("/full/parts", &id, &[], &named).await;
        assert_eq!(done.status, 200, "{algorithm}: {done:?}");
        let head = asker.ask("HEAD /full/parts", &mode, b"").await;
        let whole = asker.sum_of(&name, &parts.concat()).await;
        assert_eq!(head.header(&name), Some(whole.as_str()), "{algorithm}");
        assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"), "{algorithm}");
    }
}

impl Asker {
    /// A checksum of one piece, as the SDK computes it and the server has checked it.
    async fn sum_of(&self, header: &str, body: &[u8]) -> String {
        use aws_sdk_s3::types::ChecksumAlgorithm::{Crc32, Crc32C, Crc64Nvme};
        let algorithm = match header {
            "x-amz-checksum-crc32" => Crc32,
            "x-amz-checksum-crc32c" => Crc32C,
            _ => Crc64Nvme,
        };
        let s3 = client_with(self.kit.address, &self.account.keys, true);
        let put = s3.put_object().bucket("full").key("whole").body(body.to_vec().into());
        let put = put.checksum_algorithm(algorithm).send().await.unwrap();
        let sums = [put.checksum_crc32, put.checksum_crc32_c, put.checksum_crc64_nvme];
        sums.into_iter().flatten().next().unwrap_or_else(|| panic!("{header}"))
    }
}
