//! Requests with headers that are missing, empty, or nonsense.

use super::Asker;

#[tokio::test]
async fn a_digest_of_md5_is_compared() {
    let asker = Asker::start(&["md5"]).await;
    // That of `bar`, of nothing, and what is none.
    let good = "N7UdGUp1E+RbVvZSTy1R8g==";
    for (sent, status, code) in [
        (good, 200, ""),
        ("1B2M2Y8AsgTpgAmY7PhCfg==", 400, "BadDigest"),
        ("YWJyYWNhZGFicmE=", 400, "InvalidDigest"),
        ("AWS HAHAHA", 400, "InvalidDigest"),
        ("", 400, "InvalidDigest"),
        ("37b51d194a7513e45b56f6524f2d51f2", 400, "InvalidDigest"),
    ] {
        let put = asker.ask("PUT /md5/foo", &[("content-md5", sent)], b"bar").await;
        assert_eq!(put.outcome(), (status, code.to_owned()), "{sent:?}: {put:?}");
    }
}

#[tokio::test]
async fn headers_that_say_nothing_do_no_harm() {
    let asker = Asker::start(&["harmless"]).await;
    for (name, value) in [
        ("expect", ""),
        ("content-type", ""),
        ("user-agent", ""),
        ("date", "Bad Date"),
        ("date", ""),
        ("date", "Tue, 07 Jul 2110 21:53:04 GMT"),
        ("cache-control", ""),
        ("x-amz-meta-empty", ""),
        ("x-amz-checksum-mode", ""),
        ("x-unknown", "value"),
        ("if-match", ""),
        ("accept-encoding", "gzip"),
        ("origin", "http://example.com"),
        ("x-amz-expected-bucket-owner", asker.account.uid.as_str()),
        ("x-amz-request-payer", "requester"),
    ] {
        let put = asker.ask("PUT /harmless/foo", &[(name, value)], b"bar").await;
        assert_eq!(put.status, 200, "{name}: {value:?}: {put:?}");
        let got = asker.ask("GET /harmless/foo", &[(name, value)], b"").await;
        assert_eq!((got.status, got.text().as_str()), (200, "bar"), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_refused() {
    let asker = Asker::start(&["refused"]).await;
    asker.store("/refused/foo", b"bar").await;
    asker
        .expect(&[
            (
                "PUT /refused/foo",
                &[("x-amz-expected-bucket-owner", "another")],
                "x",
                403,
                "AccessDenied",
            ),
            (
                "GET /refused/foo",
                &[("x-amz-expected-bucket-owner", "another")],
                "",
                403,
                "AccessDenied",
            ),
            ("GET /refused/foo", &[("if-modified-since", "yesterday")], "", 400, "InvalidArgument"),
            ("PUT /refused/foo", &[("expires", "soon")], "x", 400, "InvalidArgument"),
            (
                "PUT /refused/foo",
                &[("x-amz-decoded-content-length", "many")],
                "x",
                400,
                "InvalidRequest",
            ),
            ("PUT /refused/foo", &[("x-amz-write-offset-bytes", "3")], "x", 501, "NotImplemented"),
            (
                "PUT /refused/foo",
                &[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")],
                "x",
                400,
                "InvalidRequest",
            ),
        ])
        .await;
    assert_eq!(asker.ask("GET /refused/foo", &[], b"").await.text(), "bar");
}
