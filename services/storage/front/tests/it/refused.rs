//! What the front does not pass on.

use crate::kit::{Kit, status};

#[tokio::test]
async fn what_cannot_be_charged_or_passed_on_is_refused() {
    let kit = Kit::start().await;
    let account = kit.account().await;
    account.bucket("mine").await;
    let before = kit.sums().await;
    let key = &account.keys.access_key;
    let header = format!("authorization: AWS {key}:c2ln\r\n");
    let long = format!("x-amz-meta-long: {}\r\n", "x".repeat(70_000));
    for (line, fields, expected, code) in [
        (
            format!("GET /mine/k?X-Amz-Credential={key}/a HTTP/1.1"),
            header.as_str(),
            400,
            "InvalidArgument",
        ),
        (
            "POST /mine HTTP/1.1".to_owned(),
            "content-type: Multipart/Form-Data; boundary=b\r\ncontent-length: 0\r\n",
            501,
            "NotImplemented",
        ),
        ("PUT /mine/k HTTP/1.1".to_owned(), &long, 431, "RequestHeaderSectionTooLarge"),
        ("CONNECT h:1 HTTP/1.1".to_owned(), "", 405, "MethodNotAllowed"),
    ] {
        let head = format!("{line}\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
        let told = kit.raw(&head, b"").await;
        assert_eq!(status(&told), expected, "{line}: {told}");
        assert!(told.contains(&format!("<Code>{code}</Code>")), "{line}: {told}");
    }
    assert_eq!(kit.sums().await, before);
}
