//! Objects written, read, replaced and deleted, and what names them.

use aws_sdk_s3::types::ChecksumAlgorithm;
use http::Request;

use super::{Answer, Asker};
use crate::kit::{bytes, client_with};

/// MD5 of `bar`.
const BAR_ETAG: &str = "\"37b51d194a7513e45b56f6524f2d51f2\"";

#[tokio::test]
async fn an_object_lives_until_it_is_deleted() {
    let asker = Asker::start(&["live"]).await;
    assert_eq!(asker.store("/live/foo", b"bar").await, BAR_ETAG);
    let got = asker.ask("GET /live/foo", &[], b"").await;
    assert_eq!((got.text().as_str(), got.etag().as_str()), ("bar", BAR_ETAG));
    asker.store("/live/foo", b"soup").await;
    assert_eq!(asker.ask("GET /live/foo", &[], b"").await.text(), "soup");
    asker
        .expect(&[
            ("DELETE /live/foo", &[], "", 204, ""),
            ("GET /live/foo", &[], "", 404, "NoSuchKey"),
            ("HEAD /live/foo", &[], "", 404, ""),
            ("DELETE /live/foo", &[], "", 204, ""),
            ("DELETE /live/never-there", &[], "", 204, ""),
            ("GET /live/foo?versionId=null", &[], "", 404, "NoSuchKey"),
            ("PUT /live/foo", &[], "", 200, ""),
            ("GET /live/foo?versionId=null", &[], "", 200, ""),
            ("GET /live/foo?versionId=other", &[], "", 404, "NoSuchVersion"),
            ("GET /live/foo?acl", &[], "", 200, ""),
            ("GET /live/foo?tagging", &[], "", 200, ""),
            ("GET /live/never-there?acl", &[], "", 404, "NoSuchKey"),
            ("GET /live/never-there?tagging", &[], "", 404, "NoSuchKey"),
            ("PUT /live/foo?tagging", &[], "<Tagging><TagSet/></Tagging>", 501, "NotImplemented"),
            ("GET /live/foo?torrent", &[], "", 501, "NotImplemented"),
            (
                "GET /live/foo?attributes",
                &[("x-amz-object-attributes", "ETag")],
                "",
                501,
                "NotImplemented",
            ),
            ("GET /live/foo?legal-hold", &[], "", 501, "NotImplemented"),
            ("POST /live/foo?restore", &[], "", 501, "NotImplemented"),
            ("PATCH /live/foo", &[], "", 501, "NotImplemented"),
        ])
        .await;
}

#[tokio::test]
async fn an_object_of_no_bytes_is_an_object() {
    let asker = Asker::start(&["empty"]).await;
    asker.store("/empty/foo", b"").await;
    let head = asker.ask("HEAD /empty/foo", &[], b"").await;
    assert_eq!(head.header("content-length"), Some("0"), "{head:?}");
    assert_eq!(head.etag(), "\"d41d8cd98f00b204e9800998ecf8427e\"");
    let got = asker.ask("GET /empty/foo", &[], b"").await;
    assert_eq!((got.status, got.body.len()), (200, 0));
}

#[tokio::test]
async fn keys_are_any_text() {
    let asker = Asker::start(&["keys"]).await;
    let long = "k".repeat(1024);
    // As they are sent, and what the key is.
    let keys: [(&str, &str); 31] = [
        ("%20", " "),
        ("%22", "\""),
        ("$", "$"),
        ("%25", "%"),
        ("&", "&"),
        ("'", "'"),
        ("%3C", "<"),
        ("%3E", ">"),
        ("_", "_"),
        ("_%20", "_ "),
        ("_%20_", "_ _"),
        ("__", "__"),
        ("+", "+"),
        ("%2B%20", "+ "),
        ("%252e%252e", "%2e%2e"),
        ("%3Fquery%23part", "?query#part"),
        ("%3FversionId", "?versionId"),
        ("a/../b", "a/../b"),
        ("..", ".."),
        (".", "."),
        ("./a", "./a"),
        ("/lead", "/lead"),
        ("//two", "//two"),
        ("a//b", "a//b"),
        ("trail/", "trail/"),
        ("%C3%BCml%C3%A4ut", "ümläut"),
        ("%F0%9F%A6%80", "🦀"),
        ("%E2%82%AC", "€"),
        ("tab%09new%0Aline", "tab\tnew\nline"),
        ("a:b;c=d,e@f!g*(h)", "a:b;c=d,e@f!g*(h)"),
        (&long, &long),
    ];
    for (sent, key) in keys {
        asker.store(&format!("/keys/{sent}"), key.as_bytes()).await;
    }
    for (sent, key) in keys {
        let got = asker.ask(&format!("GET /keys/{sent}"), &[], b"").await;
        assert_eq!(got.text(), key, "{sent}");
    }
    let listed = asker.account.s3.list_objects_v2().bucket("keys").send().await.unwrap();
    let mut found: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
    let mut wanted: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let longer = format!("PUT /keys/{}", "k".repeat(1025));
    // Not UTF-8, which a key is.
    asker
        .expect(&[
            (&longer, &[], "x", 400, "KeyTooLongError"),
            ("PUT /keys/%FF%FE", &[], "x", 400, "InvalidURI"),
        ])
        .await;
}

#[tokio::test]
async fn checksums_that_a_client_sends_are_compared_and_told() {
    let asker = Asker::start(&["sums"]).await;
    for (name, sum) in [
        ("x-amz-checksum-crc32", "/sUwqQ=="),
        ("x-amz-checksum-crc32c", "Ya91Mw=="),
        ("x-amz-checksum-crc64nvme", "lhVdXyVQTGE="),
        ("x-amz-checksum-sha1", "BA8G/XdAkkeNRQd09bowxdp4rMg="),
        ("x-amz-checksum-sha256", "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="),
    ] {
        let target = format!("/sums/{name}");
        let put = asker.ask(&format!("PUT {target}"), &[(name, sum)], b"content").await;
        assert_eq!((put.status, put.header(name)), (200, Some(sum)), "{put:?}");
        let head = asker.ask(&format!("HEAD {target}"), &[], b"").await;
        assert_eq!(head.header(name), None, "told only when asked for");
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        for method in ["HEAD", "GET"] {
            let told = asker.ask(&format!("{method} {target}"), &mode, b"").await;
            assert_eq!(told.header(name), Some(sum), "{told:?}");
            assert_eq!(told.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        }
        let wrong = asker.ask(&format!("PUT {target}"), &[(name, sum)], b"Content").await;
        assert_eq!(wrong.outcome(), (400, "BadDigest".into()), "{name}");
        let bad = asker.ask(&format!("PUT {target}"), &[(name, "bad")], b"content").await;
        assert_eq!(bad.outcome(), (400, "BadDigest".into()), "{name}");
        assert_eq!(asker.ask(&format!("GET {target}"), &[], b"").await.text(), "content");
    }
}

#[tokio::test]
async fn a_checksum_that_comes_after_the_body_is_compared() {
    let asker = Asker::start(&["trailing"]).await;
    let chunked =
        |sum: &str| format!("7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n").into_bytes();
    let headers = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "7"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-encoding", "aws-chunked"),
    ];
    for (sum, status, code) in [("/sUwqQ==", 200, ""), ("AAAAAA==", 400, "BadDigest")] {
        let put = asker.ask("PUT /trailing/key", &headers, &chunked(sum)).await;
        assert_eq!(put.outcome(), (status, code.to_owned()), "{put:?}");
        assert_eq!(asker.ask("GET /trailing/key", &[], b"").await.text(), "content");
    }
    let s3 = client_with(asker.kit.address, &asker.account.keys, true);
    for algorithm in [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Sha256] {
        let put = s3.put_object().bucket("trailing").key("sdk").body(bytes(90_000, 1).into());
        put.checksum_algorithm(algorithm).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_names_its_request() {
    let asker = Asker::start(&["named"]).await;
    for line in ["GET /named/absent", "GET /absent", "PUT /named/key?acl"] {
        let refused = asker.ask(line, &[], b"").await;
        let id = refused.header("x-amz-request-id").map(str::to_owned);
        assert!(refused.status >= 400 && id.is_some(), "{line}: {refused:?}");
        assert_eq!(refused.element("RequestId"), id, "{line}");
        assert_eq!(refused.header("content-type"), Some("application/xml"), "{line}");
    }
}

/// A body of zeros and ones of many sizes comes back, whole or not at all, while others write.
#[tokio::test]
async fn of_two_writers_one_wins_whole() {
    let asker = Asker::start(&["race"]).await;
    for size in [1024 * 1024, 4 * 1024 * 1024] {
        let (a, b) = (vec![b'a'; size], vec![b'b'; size]);
        let (first, second) =
            tokio::join!(asker.ask("PUT /race/key", &[], &a), asker.ask("PUT /race/key", &[], &b));
        assert_eq!((first.status, second.status), (200, 200));
        let got = asker.ask("GET /race/key", &[], b"").await;
        assert!(got.body == a || got.body == b, "{size}: the two are mixed");
    }
}

/// How a body may be sent, and how not.
#[tokio::test]
async fn bodies_are_of_the_length_that_was_announced() {
    let asker = Asker::start(&["length"]).await;
    let url = asker.account.presigned_put("length", "key").await;
    let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let head = |more: &str, body: &str| {
        format!("PUT /{target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n{body}")
    };
    let chunked = "transfer-encoding: chunked\r\n";
    for (more, body, status, code) in [
        ("content-length: 3\r\n", "bar", 200, ""),
        ("content-length: 3\r\nexpect: 100-continue\r\n", "bar", 100, ""),
        (chunked, "3\r\nbar\r\n0\r\n\r\n", 411, "MissingContentLength"),
        ("", "", 411, "MissingContentLength"),
        ("content-length: -1\r\n", "", 400, ""),
        ("content-length: \r\n", "", 400, ""),
        ("content-length: 3\r\ncontent-length: 4\r\n", "bar", 400, ""),
    ] {
        let answer = asker.send_bytes(head(more, body).as_bytes()).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{more:?}: {answer:?}");
        if status == 100 {
            assert!(answer.text().starts_with("HTTP/1.1 200"), "{answer:?}");
        }
    }
    assert_eq!(asker.ask("GET /length/key", &[], b"").await.text(), "bar");
    // More than S3 takes in one piece; nothing of it need be sent.
    let huge = asker.send_bytes(head("content-length: 5368709121\r\n", "").as_bytes()).await;
    assert_eq!(huge.outcome(), (400, "EntityTooLarge".into()));
}

/// What does not match the digest that was signed is not stored.
#[tokio::test]
async fn a_body_that_was_changed_on_the_way_is_refused() {
    let asker = Asker::start(&["changed"]).await;
    for (name, value, status, code) in [
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", 200, ""),
        ("x-amz-content-sha256", &"0".repeat(64), 400, "XAmzContentSHA256Mismatch"),
        ("x-amz-content-sha256", "no-digest", 403, "SignatureDoesNotMatch"),
    ] {
        let put = asker.ask("PUT /changed/key", &[(name, value)], b"bar").await;
        assert_eq!(put.outcome(), (status, code.to_owned()), "{value}: {put:?}");
    }
    // A request without a method that S3 knows.
    let request = Request::builder().method("BREW").uri("/changed/key").body("".into()).unwrap();
    let answer: Answer = asker.send(&request).await;
    assert_eq!(answer.status, 501, "{answer:?}");
}
