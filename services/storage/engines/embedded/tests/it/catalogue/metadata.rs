//! What is kept of an object beside its bytes.

use super::Asker;

#[tokio::test]
async fn standard_headers_are_kept() {
    let asker = Asker::start(&["kept"]).await;
    for (n, (name, sent, kept)) in [
        ("content-type", "text/plain", Some("text/plain")),
        ("content-type", "text/html; charset=utf-8", Some("text/html; charset=utf-8")),
        ("content-type", "nonsense", Some("nonsense")),
        ("content-type", "", Some("binary/octet-stream")),
        ("cache-control", "public, max-age=14400", Some("public, max-age=14400")),
        ("content-disposition", "attachment; filename=\"x\"", Some("attachment; filename=\"x\"")),
        ("content-language", "nl, en", Some("nl, en")),
        ("expires", "Sun, 21 Oct 2035 07:28:00 GMT", Some("Sun, 21 Oct 2035 07:28:00 GMT")),
        ("content-encoding", "gzip", Some("gzip")),
        ("content-encoding", "deflate, gzip", Some("deflate, gzip")),
        ("content-encoding", "gzip, aws-chunked", Some("gzip")),
        ("content-encoding", "aws-chunked, gzip", Some("gzip")),
        ("content-encoding", "aws-chunked", None),
        ("content-encoding", "aws-chunked, aws-chunked", None),
        ("accept-ranges", "none", Some("bytes")),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/kept/{n}");
        let put = asker.ask(&format!("PUT {target}"), &[(name, sent)], b"x").await;
        assert_eq!(put.status, 200, "{name}: {sent}: {put:?}");
        for method in ["HEAD", "GET"] {
            let told = asker.ask(&format!("{method} {target}"), &[], b"").await;
            assert_eq!(told.header(name), kept, "{name}: {sent}");
            assert_eq!(told.header("content-length"), Some("1"));
            assert!(told.header("last-modified").is_some_and(|time| time.ends_with("GMT")));
        }
    }
}

#[tokio::test]
async fn words_of_the_customer_are_kept_until_the_object_is_replaced() {
    let asker = Asker::start(&["words"]).await;
    let utf8 = "H\u{e9}llo w\u{f6}rld";
    for (name, sent) in [
        ("x-amz-meta-meta1", "mymeta"),
        ("x-amz-meta-meta1", "another"),
        ("x-amz-meta-with-dash_and.dot", "a;b=c, d"),
        ("x-amz-meta-encoded", "=?UTF-8?B?SMOpbGxv?="),
    ] {
        asker.ask("PUT /words/key", &[(name, sent)], b"x").await;
        let told = asker.ask("HEAD /words/key", &[], b"").await;
        assert_eq!(told.header(name), Some(sent), "{told:?}");
    }
    // SDKs of Amazon's send other texts as they are, in UTF-8; they come back in the form that
    // fits in a header, which they read.
    let put = asker.account.s3.put_object().bucket("words").key("utf8").metadata("who", utf8);
    if put.send().await.is_ok() {
        let head = asker.account.s3.head_object().bucket("words").key("utf8").send().await;
        let head = head.unwrap();
        let told = head.metadata().unwrap()["who"].clone();
        assert!(told == utf8 || told.starts_with("=?UTF-8?"), "{told}");
    }
    asker.store("/words/key", b"y").await;
    let told = asker.ask("HEAD /words/key", &[], b"").await;
    assert!(!told.head.contains("x-amz-meta-"), "{told:?}");
}

#[tokio::test]
async fn metadata_has_a_bound() {
    let asker = Asker::start(&["bound"]).await;
    // Source: Amazon S3 User Guide, "Working with object metadata": 2 KB, names and values.
    for (length, status, code) in
        [(2048 - 4, 200, ""), (2048 - 3, 400, "MetadataTooLarge"), (9000, 400, "MetadataTooLarge")]
    {
        let value = "m".repeat(length);
        let put = asker.ask("PUT /bound/key", &[("x-amz-meta-name", &value)], b"x").await;
        assert_eq!(put.outcome(), (status, code.to_owned()), "{length}");
    }
    let long = "d".repeat(2049);
    asker
        .expect(&[
            ("PUT /bound/key", &[("content-disposition", &long)], "x", 400, "InvalidArgument"),
            ("PUT /bound/key", &[("x-amz-tagging", "a=b")], "x", 501, "NotImplemented"),
            ("PUT /bound/key", &[("x-amz-acl", "public-read")], "x", 501, "NotImplemented"),
            ("PUT /bound/key", &[("x-amz-acl", "private")], "x", 200, ""),
            ("PUT /bound/key", &[("x-amz-acl", "bucket-owner-full-control")], "x", 200, ""),
            ("PUT /bound/key", &[("x-amz-grant-read", "id=1")], "x", 501, "NotImplemented"),
            ("PUT /bound/key", &[("x-amz-storage-class", "STANDARD")], "x", 200, ""),
            (
                "PUT /bound/key",
                &[("x-amz-storage-class", "GLACIER")],
                "x",
                400,
                "InvalidStorageClass",
            ),
            (
                "PUT /bound/key",
                &[("x-amz-server-side-encryption", "AES256")],
                "x",
                501,
                "NotImplemented",
            ),
            (
                "PUT /bound/key",
                &[("x-amz-website-redirect-location", "/x")],
                "x",
                501,
                "NotImplemented",
            ),
            (
                "PUT /bound/key",
                &[("x-amz-object-lock-legal-hold", "ON")],
                "x",
                501,
                "NotImplemented",
            ),
        ])
        .await;
}
