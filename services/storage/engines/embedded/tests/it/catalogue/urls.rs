//! Signed URLs: what whoever has one may do with it, and for how long.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use ring::hmac;
use stowage_engine::{Presign, PresignMethod};
use stowage_types::{BucketName, Clock as _, ExposeSecret as _, SystemClock};

use super::{Answer, Asker, Headers};

impl Asker {
    /// Follows a URL, as somebody who knows nothing of S3.
    async fn follow(&self, method: &str, url: &str, headers: Headers<'_>, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("host", self.kit.address.to_string());
        self.send(&request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()).await
    }

    /// A URL that was signed some seconds ago, for some seconds.
    fn url(&self, method: PresignMethod, key: &str, ago: i64, valid_for: u64) -> String {
        let what = Presign {
            method,
            endpoint: format!("http://{}", self.kit.address),
            region: "eu-test-1".to_owned(),
            key: key.to_owned(),
            valid_for: Duration::from_secs(valid_for),
        };
        let now = SystemClock.now() - time::Duration::seconds(ago);
        let bucket = BucketName::new("signed").unwrap();
        what.url(&self.account.keys, &bucket, now).unwrap().expose_secret().to_owned()
    }

    /// A URL by version 2 of the signature, as s3cmd makes them.
    fn url_2(&self, method: &str, target: &str, expires: i64) -> String {
        let keys = &self.account.keys;
        let text = format!("{method}\n\n\n{expires}\n{target}");
        let secret = keys.secret_key.expose_secret().as_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        let sum = BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        let sum: String = form_urlencoded::byte_serialize(sum.as_bytes()).collect();
        let (host, access) = (self.kit.address, &keys.access_key);
        format!("http://{host}{target}?AWSAccessKeyId={access}&Expires={expires}&Signature={sum}")
    }
}

#[tokio::test]
async fn a_url_is_good_for_what_it_was_made_for() {
    let asker = Asker::start(&["signed"]).await;
    asker.store("/signed/foo", b"bar").await;
    let get = asker.url(PresignMethod::Get, "foo", 0, 60);
    let put = asker.url(PresignMethod::Put, "new ü", 0, 60);
    let absent = asker.url(PresignMethod::Get, "absent", 0, 60);
    let mismatch = "SignatureDoesNotMatch";
    for (method, url, headers, status, code) in [
        ("GET", get.clone(), &[][..], 200, ""),
        ("GET", get.clone(), &[("range", "bytes=0-0")], 206, ""),
        ("GET", get.clone(), &[("if-none-match", "*")], 304, ""),
        ("HEAD", get.clone(), &[], 403, ""),
        ("PUT", get.clone(), &[], 403, mismatch),
        ("DELETE", get.clone(), &[], 403, mismatch),
        ("GET", get.replace("/foo?", "/other?"), &[], 403, mismatch),
        ("GET", get.replace("Expires=60", "Expires=61"), &[], 403, mismatch),
        ("GET", format!("{get}&partNumber=1"), &[], 403, mismatch),
        ("GET", format!("{get}&response-content-type=a"), &[], 403, mismatch),
        ("GET", get.replace("X-Amz-Expires=60&", ""), &[], 400, "InvalidRequest"),
        ("GET", get.clone(), &[("x-amz-checksum-mode", "ENABLED")], 403, "AccessDenied"),
        ("GET", get.clone(), &[("authorization", "AWS4-HMAC-SHA256 x")], 403, "AccessDenied"),
        ("GET", absent, &[], 404, "NoSuchKey"),
        ("PUT", put.clone(), &[], 200, ""),
        ("PUT", put.clone(), &[("content-type", "text/plain")], 200, ""),
        ("PUT", put.clone(), &[("x-amz-copy-source", "signed/foo")], 403, "AccessDenied"),
        ("PUT", put.clone(), &[("x-amz-meta-a", "b")], 403, "AccessDenied"),
        ("GET", put, &[], 403, mismatch),
    ] {
        let answer = asker.follow(method, &url, headers, "").await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{method} {url} {headers:?}");
    }
    assert_eq!(asker.follow("GET", &get, &[], "").await.text(), "bar");
}

#[tokio::test]
async fn a_url_is_good_as_long_as_it_says() {
    let asker = Asker::start(&["signed"]).await;
    asker.store("/signed/foo", b"bar").await;
    let expired = "AccessDenied";
    for (ago, valid_for, status, code) in [
        (0, 60, 200, ""),
        (50, 60, 200, ""),
        (61, 60, 403, expired),
        (3600, 60, 403, expired),
        (0, 604_800, 200, ""),
        (604_000, 604_800, 200, ""),
        (604_801, 604_800, 403, expired),
        (-800, 60, 200, ""),
        (-1000, 60, 403, "RequestTimeTooSkewed"),
    ] {
        for (method, put) in [("GET", PresignMethod::Get), ("PUT", PresignMethod::Put)] {
            let url = asker.url(put, "foo", ago, valid_for);
            let answer = asker.follow(method, &url, &[], "bar").await;
            let row = format!("{method}, {ago} s ago for {valid_for} s");
            assert_eq!(answer.outcome(), (status, code.to_owned()), "{row}: {answer:?}");
        }
    }
    // Ceph's catalogue expects 403 for a time that is none, Amazon's S3 says 400.
    for seconds in ["0", "604801", "-7", "4294967296", "soon", ""] {
        let url = asker.url(PresignMethod::Get, "foo", 0, 60);
        let url = url.replace("X-Amz-Expires=60", &format!("X-Amz-Expires={seconds}"));
        let answer = asker.follow("GET", &url, &[], "").await;
        assert!([400, 403].contains(&answer.status), "{seconds}: {answer:?}");
    }
}

#[tokio::test]
async fn answers_may_be_given_other_headers() {
    let asker = Asker::start(&["signed"]).await;
    asker.store("/signed/foo", b"bar").await;
    let query = "response-cache-control=no-cache&response-content-disposition=bla\
                 &response-content-encoding=aaa&response-content-language=esperanto\
                 &response-content-type=foo%2Fbar\
                 &response-expires=Thu%2C%2001%20Dec%201994%2016%3A00%3A00%20GMT";
    let got = asker.ask(&format!("GET /signed/foo?{query}"), &[], b"").await;
    assert_eq!(got.status, 200, "{got:?}");
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("content-disposition", "bla"),
        ("content-encoding", "aaa"),
        ("content-language", "esperanto"),
        ("content-type", "foo/bar"),
        ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
    ] {
        assert_eq!(got.header(name), Some(value), "{got:?}");
    }
}

#[tokio::test]
async fn urls_of_version_2_read_or_write_an_object_and_do_nothing_else() {
    let asker = Asker::start(&["signed"]).await;
    asker.store("/signed/a%20b+%25", b"bar").await;
    let now = SystemClock.now().unix_timestamp();
    let target = "/signed/a%20b+%25";
    let good = asker.url_2("GET", target, now + 60);
    let put = asker.url_2("PUT", target, now + 60);
    for (method, url, headers, status, code) in [
        ("GET", good.clone(), &[][..], 200, ""),
        ("GET", good.clone(), &[("range", "bytes=0-0")], 206, ""),
        ("HEAD", asker.url_2("HEAD", target, now + 60), &[], 200, ""),
        ("GET", asker.url_2("GET", target, now - 1), &[], 403, "AccessDenied"),
        ("GET", good.replace("/a%20b", "/a%20c"), &[], 403, "SignatureDoesNotMatch"),
        ("GET", good.replace("Expires=", "Expires=9"), &[], 403, "SignatureDoesNotMatch"),
        ("PUT", good.clone(), &[], 403, "SignatureDoesNotMatch"),
        ("PUT", put.clone(), &[("content-type", "a/b")], 403, "SignatureDoesNotMatch"),
        ("PUT", put.clone(), &[("x-amz-copy-source", "signed/foo")], 403, "SignatureDoesNotMatch"),
        ("PUT", put.replace("%25?", "%26?"), &[], 403, "SignatureDoesNotMatch"),
        ("PUT", format!("{put}&tagging"), &[], 403, "SignatureDoesNotMatch"),
        ("PUT", put, &[], 200, ""),
        ("DELETE", asker.url_2("DELETE", target, now + 60), &[], 403, "AccessDenied"),
        ("GET", asker.url_2("GET", "/signed", now + 60), &[], 403, "AccessDenied"),
        ("GET", asker.url_2("GET", "/", now + 60), &[], 403, "AccessDenied"),
        ("GET", format!("{good}&x-id=GetObject"), &[], 403, "AccessDenied"),
        ("GET", good.clone(), &[("authorization", "AWS x:y")], 403, "AccessDenied"),
    ] {
        let answer = asker.follow(method, &url, headers, "new").await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{method} {url}: {answer:?}");
    }
    assert_eq!(asker.ask(&format!("GET {target}"), &[], b"").await.text(), "new");
}
