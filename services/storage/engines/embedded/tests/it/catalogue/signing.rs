//! Who signed, when, and over what.

use bytes::Bytes;
use http::Request;
use stowage_engine_embedded::fuzzing::sign_request;
use stowage_types::{Clock as _, SystemClock};
use time::Duration;

use super::{Answer, Asker};

/// A request by the account, signed now, with something done to it on the way.
async fn changed(asker: &Asker, line: &str, change: impl Fn(&mut Request<Bytes>)) -> Answer {
    let (method, target) = line.split_once(' ').unwrap();
    let host = asker.kit.address.to_string();
    let request = Request::builder().method(method).uri(format!("http://{host}{target}"));
    let mut request = request.header("host", host).body(Bytes::from_static(b"bar")).unwrap();
    sign_request(&mut request, &asker.account.keys, "eu-test-1", SystemClock.now()).unwrap();
    change(&mut request);
    asker.send(&request).await
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature() {
    let asker = Asker::start(&["shut"]).await;
    asker.store("/shut/foo", b"bar").await;
    let id = asker.begin("/shut/up", &[]).await;
    for line in [
        "GET /",
        "PUT /another",
        "HEAD /shut",
        "GET /shut",
        "GET /shut?list-type=2",
        "GET /shut?uploads",
        "GET /shut?location",
        "GET /shut?acl",
        "DELETE /shut",
        "GET /shut/foo",
        "HEAD /shut/foo",
        "PUT /shut/foo",
        "DELETE /shut/foo",
        "GET /shut/absent",
        "GET /absent",
        "POST /shut?delete",
        "POST /shut/foo?uploads",
        &format!("PUT /shut/up?partNumber=1&uploadId={id}"),
        &format!("GET /shut/up?uploadId={id}"),
        &format!("DELETE /shut/up?uploadId={id}"),
    ] {
        let (method, target) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(target).header("host", "s3.test");
        let answer = asker.send(&request.body(Bytes::from_static(b"x")).unwrap()).await;
        let code = if method == "HEAD" { "" } else { "AccessDenied" };
        assert_eq!(answer.outcome(), (403, code.to_owned()), "{line}: {answer:?}");
    }
    assert_eq!(asker.ask("GET /shut/foo", &[], b"").await.text(), "bar");
    assert_eq!(asker.ask("GET /", &[], b"").await.elements("Name"), ["shut"]);
}

#[tokio::test]
async fn a_signature_that_is_not_right_is_refused() {
    let asker = Asker::start(&["right"]).await;
    let line = "PUT /right/foo";
    assert_eq!(changed(&asker, line, |_| {}).await.status, 200);
    let authorization = |request: &mut Request<Bytes>, edit: &dyn Fn(&str) -> String| {
        let value = request.headers()["authorization"].to_str().unwrap().to_owned();
        request.headers_mut().insert("authorization", edit(&value).parse().unwrap());
    };
    let key = asker.account.keys.access_key.clone();
    let flip = |value: &str| {
        let (start, last) = value.split_at(value.len() - 1);
        format!("{start}{}", if last == "0" { '1' } else { '0' })
    };
    for (what, edit, status, code) in [
        ("another digest", &flip as &dyn Fn(&str) -> String, 403, "SignatureDoesNotMatch"),
        ("an unknown key", &|v| v.replace(&key, "NOBODY"), 403, "InvalidAccessKeyId"),
        ("another region", &|v| v.replace("eu-test-1", "us-east-1"), 403, "SignatureDoesNotMatch"),
        ("another service", &|v| v.replace("/s3/", "/ec2/"), 501, "NotImplemented"),
        ("another day", &|v| v.replace("/20", "/19"), 403, "SignatureDoesNotMatch"),
        (
            "no headers",
            &|v| v.replace("SignedHeaders=", "SignedHeaders=x"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("nonsense", &|_| "AWS4-HMAC-SHA256 nonsense".to_owned(), 400, "InvalidRequest"),
        ("another scheme", &|_| "Basic dXNlcjpwYXNz".to_owned(), 400, "InvalidRequest"),
        ("version 2", &|_| format!("AWS {key}:c2ln"), 403, "SignatureDoesNotMatch"),
        ("nothing", &|_| String::new(), 400, "InvalidRequest"),
    ] {
        let answer = changed(&asker, line, |request| authorization(request, edit)).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{what}: {answer:?}");
    }
    assert_eq!(asker.ask("GET /right/foo", &[], b"").await.text(), "bar");
}

/// What is done to a request after it was signed.
type Edit = fn(&mut Request<Bytes>);

#[tokio::test]
async fn what_was_signed_is_what_must_come() {
    let asker = Asker::start(&["right"]).await;
    let line = "PUT /right/foo";
    assert_eq!(changed(&asker, line, |_| {}).await.status, 200);
    let edits: [(&str, Edit, u16, &str); 8] = [
        (
            "another path",
            |r| *r.uri_mut() = "/right/bar".parse().unwrap(),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another query",
            |r| *r.uri_mut() = "/right/foo?acl".parse().unwrap(),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another method",
            |r| *r.method_mut() = http::Method::DELETE,
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another body",
            |r| *r.body_mut() = Bytes::from_static(b"baz"),
            400,
            "XAmzContentSHA256Mismatch",
        ),
        (
            "a header more",
            |r| drop(r.headers_mut().insert("x-amz-acl", "private".parse().unwrap())),
            403,
            "AccessDenied",
        ),
        ("no date", |r| drop(r.headers_mut().remove("x-amz-date")), 400, "InvalidRequest"),
        (
            "no digest",
            |r| drop(r.headers_mut().remove("x-amz-content-sha256")),
            400,
            "InvalidRequest",
        ),
        (
            "another host",
            |r| drop(r.headers_mut().insert("host", "other".parse().unwrap())),
            403,
            "SignatureDoesNotMatch",
        ),
    ];
    for (what, edit, status, code) in edits {
        let answer = changed(&asker, line, edit).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{what}: {answer:?}");
    }
    assert_eq!(asker.ask("GET /right/foo", &[], b"").await.text(), "bar");
}

#[tokio::test]
async fn a_signature_is_good_for_a_quarter_of_an_hour() {
    let asker = Asker::start(&["time"]).await;
    for (offset, status, code) in [
        (Duration::minutes(-14), 200, ""),
        (Duration::minutes(14), 200, ""),
        (Duration::minutes(-16), 403, "RequestTimeTooSkewed"),
        (Duration::minutes(16), 403, "RequestTimeTooSkewed"),
        (Duration::days(-365), 403, "RequestTimeTooSkewed"),
        (Duration::days(365), 403, "RequestTimeTooSkewed"),
    ] {
        let put = asker.ask_at(SystemClock.now() + offset, "PUT /time/foo", &[], b"bar").await;
        assert_eq!(put.outcome(), (status, code.to_owned()), "{offset}");
    }
}
