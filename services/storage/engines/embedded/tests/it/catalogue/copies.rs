//! Copies on the server.

use super::Asker;
use crate::kit::bytes;

const SOURCE: &str = "x-amz-copy-source";
const REPLACE: (&str, &str) = ("x-amz-metadata-directive", "REPLACE");

#[tokio::test]
async fn a_copy_has_the_content_of_its_source() {
    let asker = Asker::start(&["from", "into"]).await;
    for (n, size) in [0, 3, 20_000, 16 * 1024 * 1024].into_iter().enumerate() {
        let body = bytes(size, 1);
        let etag = asker.store("/from/foo", &body).await;
        for (target, source) in [("/from/bar", "from/foo"), ("/into/foo", "/from/foo")] {
            let copy = asker.ask(&format!("PUT {target}"), &[(SOURCE, source)], b"").await;
            assert_eq!(copy.status, 200, "{n}: {copy:?}");
            assert_eq!(copy.element("ETag"), Some(etag.clone()), "{n}");
            assert!(copy.element("LastModified").is_some(), "{n}");
            let got = asker.ask(&format!("GET {target}"), &[], b"").await;
            assert!(got.body == body && got.etag() == etag, "{n}: {target} differs");
        }
    }
}

#[tokio::test]
async fn sources_are_named_in_every_form() {
    let asker = Asker::start(&["named"]).await;
    for (target, source) in [
        ("/named/plain", "named/plain"),
        ("/named/plain", "/named/plain"),
        ("/named/plain", "named%2Fplain"),
        ("/named/plain", "named/plain?versionId=null"),
        ("/named/%20", "named/%20"),
        ("/named/_", "named/_"),
        ("/named/a+b%2Bc", "named/a%2Bb%2Bc"),
        ("/named/100%25", "named/100%25"),
        ("/named/%253F", "named/%253F"),
        ("/named/%3FversionId", "named/%3FversionId"),
        ("/named/%C3%BC%20%F0%9F%A6%80", "named/%C3%BC%20%F0%9F%A6%80"),
        ("/named/a/../b", "named/a/../b"),
        ("/named//lead", "named//lead"),
    ] {
        asker.store(target, source.as_bytes()).await;
        let copy = asker.ask("PUT /named/copy", &[(SOURCE, source)], b"").await;
        assert_eq!(copy.status, 200, "{source}: {copy:?}");
        assert_eq!(asker.ask("GET /named/copy", &[], b"").await.text(), source);
    }
}

#[tokio::test]
async fn metadata_is_copied_or_replaced() {
    let asker = Asker::start(&["meta"]).await;
    let words = [("content-type", "audio/ogg"), ("x-amz-meta-key1", "value1")];
    asker.ask("PUT /meta/foo", &words, b"foo").await;
    let told = async |key: &str| {
        let head = asker.ask(&format!("HEAD /meta/{key}"), &[], b"").await;
        let header = |name| head.header(name).unwrap_or_default().to_owned();
        [header("content-type"), header("x-amz-meta-key1"), header("x-amz-meta-key2")]
    };
    let source = (SOURCE, "meta/foo");
    for (headers, wanted) in [
        (&[source][..], ["audio/ogg", "value1", ""]),
        (
            &[source, ("x-amz-metadata-directive", "COPY"), ("x-amz-meta-key2", "2")],
            ["audio/ogg", "value1", ""],
        ),
        (&[source, ("x-amz-meta-key2", "2")], ["audio/ogg", "value1", ""]),
        (
            &[source, REPLACE, ("content-type", "audio/mpeg"), ("x-amz-meta-key2", "2")],
            ["audio/mpeg", "", "2"],
        ),
        (&[source, REPLACE], ["binary/octet-stream", "", ""]),
    ] {
        let copy = asker.ask("PUT /meta/bar", headers, b"").await;
        assert_eq!(copy.status, 200, "{headers:?}: {copy:?}");
        assert_eq!(told("bar").await, wanted, "{headers:?}");
    }
    // Onto itself with other metadata is how metadata is changed.
    let itself = [source, REPLACE, ("x-amz-meta-key2", "new")];
    assert_eq!(asker.ask("PUT /meta/foo", &itself, b"").await.status, 200);
    assert_eq!(told("foo").await, ["binary/octet-stream", "", "new"]);
    assert_eq!(asker.ask("GET /meta/foo", &[], b"").await.text(), "foo");
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused() {
    let asker = Asker::start(&["refused"]).await;
    asker.store("/refused/foo", b"foo").await;
    let other = asker.kit.account(2).await;
    other.bucket("foreign").await;
    other.put("foreign", "foo", "theirs").await.unwrap();
    let source = (SOURCE, "refused/foo");
    asker
        .expect(&[
            ("PUT /refused/foo", &[source], "", 400, "InvalidRequest"),
            ("PUT /refused/bar", &[(SOURCE, "foreign/foo")], "", 403, "AccessDenied"),
            ("PUT /foreign/bar", &[source], "", 403, "AccessDenied"),
            ("PUT /refused/bar", &[(SOURCE, "absent/foo")], "", 404, "NoSuchBucket"),
            ("PUT /absent/bar", &[source], "", 404, "NoSuchBucket"),
            ("PUT /refused/bar", &[(SOURCE, "refused/absent")], "", 404, "NoSuchKey"),
            ("PUT /refused/bar", &[(SOURCE, "refused/foo?versionId=1")], "", 404, "NoSuchVersion"),
            ("PUT /refused/bar", &[(SOURCE, "refused")], "", 400, "InvalidArgument"),
            ("PUT /refused/bar", &[(SOURCE, "X/foo")], "", 400, "InvalidArgument"),
            (
                "PUT /refused/bar",
                &[source, ("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "a=b")],
                "",
                501,
                "NotImplemented",
            ),
        ])
        .await;
    assert_eq!(other.get("foreign", "foo").await.unwrap(), b"theirs");
}

#[tokio::test]
async fn sources_have_conditions() {
    const PAST: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const FUTURE: &str = "Sat, 29 Oct 2050 19:43:31 GMT";
    let asker = Asker::start(&["conditions"]).await;
    let etag = asker.store("/conditions/foo", b"foo").await;
    for (condition, value, status) in [
        ("match", etag.as_str(), 200),
        ("match", "\"ABCORZ\"", 412),
        ("none-match", &etag, 412),
        ("none-match", "\"ABCORZ\"", 200),
        ("modified-since", PAST, 200),
        ("modified-since", FUTURE, 412),
        ("unmodified-since", PAST, 412),
        ("unmodified-since", FUTURE, 200),
    ] {
        let name = format!("x-amz-copy-source-if-{condition}");
        let headers = [(SOURCE, "conditions/foo"), (name.as_str(), value)];
        let copy = asker.ask("PUT /conditions/bar", &headers, b"").await;
        let code = if status == 412 { "PreconditionFailed" } else { "" };
        assert_eq!(copy.outcome(), (status, code.to_owned()), "{name}: {value}");
    }
}
