//! Who gets in, and who does not.

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::Engine;
use stowage_types::BucketName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Kit, refusal};

/// Adds a header after the request was signed.
#[derive(Debug)]
struct Unsigned(&'static str, &'static str);

impl Intercept for Unsigned {
    fn name(&self) -> &'static str {
        "unsigned header"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert(self.0, self.1);
        Ok(())
    }
}

#[tokio::test]
async fn unsigned_amz_headers_are_refused() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    account.bucket("guarded").await;
    account.put("guarded", "secret", "treasure").await.unwrap();
    let url = account.presigned_put("guarded", "mine").await;
    let source = [("x-amz-copy-source", "/guarded/secret")];
    let escaped = url.replace("X-Amz-Signature", "X%2DAmz%2DSignature");
    for url in [&url, &escaped] {
        let (status, body) = kit.raw("PUT", url, &source, b"").await;
        assert!(status == 403 && body.contains("AccessDenied"), "{status} {body}");
    }
    assert_eq!(account.get("guarded", "mine").await.unwrap_err().0, 404);
    let (status, _) = kit.raw("PUT", &url, &[], b"fine").await;
    assert_eq!(status, 200);
    let put = account.s3.put_object().bucket("guarded").key("mine");
    let put = put.body(ByteStream::from_static(b"x")).customize();
    let put = put.interceptor(Unsigned("x-amz-copy-source", "/guarded/secret"));
    assert_eq!(refusal(put.send().await.unwrap_err()), (403, "AccessDenied".into()));
    assert_eq!(account.get("guarded", "mine").await.unwrap(), b"fine");
}

#[tokio::test]
async fn strangers_and_other_accounts_are_refused() {
    let kit = Kit::start().await;
    let (owner, other) = (kit.account(1).await, kit.account(2).await);
    owner.bucket("private").await;
    other.bucket("others").await;
    owner.put("private", "k", "mine").await.unwrap();
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(other.get("private", "k").await.unwrap_err(), denied);
    assert_eq!(other.put("private", "k", "theirs").await.unwrap_err(), denied);
    let list = other.s3.list_objects_v2().bucket("private").send().await;
    assert_eq!(refusal(list.unwrap_err()), denied);
    let delete = other.s3.delete_object().bucket("private").key("k").send().await;
    assert_eq!(refusal(delete.unwrap_err()), denied);
    let delete = other.s3.delete_bucket().bucket("private").send().await;
    assert_eq!(refusal(delete.unwrap_err()), denied);
    let copy = other.s3.copy_object().bucket("others").key("k").copy_source("private/k");
    assert_eq!(refusal(copy.send().await.unwrap_err()), denied);
    let head = other.s3.head_bucket().bucket("private").send().await;
    assert_eq!(refusal(head.unwrap_err()).0, 403);
    let taken = other.s3.create_bucket().bucket("private").send().await;
    assert_eq!(refusal(taken.unwrap_err()), (409, "BucketAlreadyExists".into()));
    for (method, path) in [("GET", "/private/k"), ("PUT", "/private/k"), ("GET", "/")] {
        let (status, _) = kit.raw(method, path, &[], b"").await;
        assert_eq!(status, 403, "{method} {path}");
    }
    let form = [("content-type", "multipart/form-data; boundary=x")];
    assert_eq!(kit.raw("POST", "/private", &form, b"--x--").await.0, 501);
    assert_eq!(owner.get("private", "k").await.unwrap(), b"mine");
    let missing = owner.s3.head_bucket().bucket("nowhere").send().await;
    assert_eq!(refusal(missing.unwrap_err()).0, 404);
}

#[tokio::test]
async fn buckets_have_their_rules() {
    let kit = Kit::start().await;
    let account = kit.account_with(1, None, Some(2)).await;
    account.bucket("one").await;
    account.bucket("one").await;
    account.bucket("two").await;
    let third = account.s3.create_bucket().bucket("three").send().await;
    assert_eq!(refusal(third.unwrap_err()), (400, "TooManyBuckets".into()));
    account.put("one", "k", "x").await.unwrap();
    let full = account.s3.delete_bucket().bucket("one").send().await;
    assert_eq!(refusal(full.unwrap_err()), (409, "BucketNotEmpty".into()));
    assert_eq!(account.get("one", "k").await.unwrap(), b"x");
    let location = account.s3.get_bucket_location().bucket("one").send().await.unwrap();
    assert_eq!(location.location_constraint().map(|l| l.as_str()), Some("eu-test-1"));
    let listed = account.s3.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["one", "two"]);
    account.s3.delete_bucket().bucket("two").send().await.unwrap();
    let gone = account.s3.delete_bucket().bucket("two").send().await;
    assert_eq!(refusal(gone.unwrap_err()), (404, "NoSuchBucket".into()));
    let missing = account.put("two", "k", "x").await.unwrap_err();
    assert_eq!(missing, (404, "NoSuchBucket".into()));
    let owner = kit.engine.bucket_owner(&BucketName::new("one").unwrap()).await.unwrap();
    assert_eq!(owner, Some(account.uid));
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let kit = Kit::start().await;
    let account = kit.account(1).await;
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"PUT /b/k HTTP/1.1\r\n", b""] {
        let mut stream = TcpStream::connect(kit.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    for path in ["/%ff%fe", "//", "/b/%00", "/?x-id=ListBuckets&X-Amz-Signature=%", "*"] {
        let (status, _) = kit.raw("GET", path, &[], b"").await;
        assert!((400..600).contains(&status), "{path}: {status}");
    }
    account.bucket("alive").await;
    kit.stop().await;
}
