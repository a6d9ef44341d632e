//! What passes, and how.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bare::{Bare, answer, read_until};
use crate::kit::{Kit, bytes, forged, status};

const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 \
    Credential=SOMEBODY/20261128/r/s3/aws4_request, \
                      SignedHeaders=host;x-odd;te, Signature=00";

#[tokio::test]
async fn requests_and_answers_pass_byte_for_byte() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    for target in [
        "/photos/a%20b%2Fc%2fd?list-type=2&prefix=%C3%BC&x-id=%zz",
        "//photos//./../k//?",
        "/photos/ü~*'()!$&+,;=:@\"{}|",
        "/?",
        "/photos?acl&versionId=null",
    ] {
        let fields = format!(
            "host: photos.S3.Example.com:8080\r\n{SIGNED}\r\nx-odd:  a  b\t\r\nx-odd: ü\r\n\
             x-amz-date: d\r\nuser-agent: me\r\naccept-encoding: identity\r\nte: gzip\r\n"
        );
        let own = "connection: close, x-mine\r\nx-mine: 1\r\nkeep-alive: 1\r\n";
        let mut stream =
            kit.send(&format!("GET {target} HTTP/1.1\r\n{own}{fields}\r\n"), b"").await;
        let (mut engine, head) = bare.accept().await;
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next().unwrap(), format!("GET {target} HTTP/1.1"));
        let mut got: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        got.sort_unstable();
        let trimmed = fields.replace("x-odd:  a  b\t", "x-odd: a  b");
        let mut sent: Vec<_> = trimmed.split("\r\n").filter(|line| !line.is_empty()).collect();
        sent.sort_unstable();
        assert_eq!(got, sent);
        let told = "HTTP/1.1 200 OK\r\netag: \"ü\"\r\nx-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\n\
                    date: then\r\nkeep-alive: 5\r\nconnection: x-own\r\nx-own: 1\r\n\
                    content-length: 2\r\n\r\nhi";
        engine.write_all(told.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        for line in ["etag: \"ü\"", "x-amz-meta-a: 1", "x-amz-meta-a: 2", "date: then"] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
        }
        assert!(!answer.contains("x-own") && !answer.contains("keep-alive"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_in_chunks_pass_with_their_trailers() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let head = format!(
        "PUT /b/k HTTP/1.1\r\nhost: h\r\n{SIGNED}\r\ntransfer-encoding: chunked\r\n\
         trailer: x-sum\r\nte: trailers\r\n\r\n"
    );
    let mut stream = kit.send(&head, b"5\r\n12345\r\n0\r\nx-sum: abc\r\n\r\n").await;
    let (mut engine, head) = bare.accept().await;
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
    let body = read_until(&mut engine, "x-sum: abc\r\n\r\n").await;
    assert_eq!(body, "5\r\n12345\r\n0\r\nx-sum: abc\r\n\r\n");
    let told = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n\
                3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n";
    engine.write_all(told.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "x-end: 1\r\n\r\n").await;
    assert!(answer.contains("3\r\nabc\r\n0\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    for (method, told) in
        [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("DELETE", "204 No Content")]
    {
        let head =
            format!("{method} /b/k HTTP/1.1\r\nhost: h\r\n{SIGNED}\r\nconnection: close\r\n\r\n");
        let mut stream = kit.send(&head, b"").await;
        let (mut engine, _) = bare.accept().await;
        let length = if method != "HEAD" { "" } else { "content-length: 77\r\n" };
        engine.write_all(format!("HTTP/1.1 {told}\r\n{length}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(length) && answer.ends_with("\r\n\r\n"), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_by_the_engine() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("asked").await;
    let url = account.presigned_put("asked", "k").await;
    let expects = "expect: 100-continue\r\n";
    let mut stream = kit.send(&kit.head("PUT", &url, 5, expects), b"").await;
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"12345").await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(status(&told), 200, "{told}");
    assert_eq!(account.get("asked", "k").await, b"12345");
    // What is refused is not sent first.
    let forged = forged(&url);
    let told = kit.raw(&kit.head("PUT", &forged, 1 << 30, expects), b"").await;
    assert_eq!(status(&told), 403, "{told}");
    assert_eq!(kit.sum(&account.uid, "asked").await, [5, 5, 1, 1]);
}

#[tokio::test]
async fn an_engine_that_does_not_say_that_it_wants_a_body_gets_it_after_a_while() {
    let bare = Bare::start().await;
    let kit = Kit::before(bare.address).await;
    let head = format!(
        "PUT /b/k HTTP/1.1\r\nhost: h\r\n{SIGNED}\r\nexpect: 100-continue\r\n\
         content-length: 5\r\nconnection: close\r\n\r\n"
    );
    let mut stream = kit.send(&head, b"").await;
    let (mut engine, head) = bare.accept().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    let early = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
    assert!(early.is_err(), "it was told to send before anybody wanted it");
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"12345").await.unwrap();
    assert_eq!(read_until(&mut engine, "5").await, "12345");
    answer(&mut engine, "200 OK", 0, 0).await;
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn big_bodies_arrive_whole_both_ways() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("big").await;
    let body = bytes(20 << 20);
    account.put("big", "k", body.clone()).await;
    assert!(account.get("big", "k").await == body);
    let length = body.len() as u64;
    assert_eq!(kit.sum(&account.uid, "big").await, [length, length, 1, 1]);
}
