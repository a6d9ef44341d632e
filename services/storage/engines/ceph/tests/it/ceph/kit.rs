//! An engine on the RGW of the test run, accounts, and clients for them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::SdkBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{AccountInfo, AccountSpec, Engine, KeyPair};
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_remote::testing::{self, Place};
pub(crate) use stowage_engine_remote::testing::{assert_is, bucket, refusal, seed, twice};
use stowage_engine_remote::{Connector, Net};
use stowage_types::{BucketName, Clock as _, S3uid, SystemClock, SystemRandom};

fn setting(name: &str) -> String {
    testing::setting(name, "a Ceph RADOS Gateway: run `cargo xtask test --only ceph`")
}

/// Where RGW is.
pub(crate) fn url() -> String {
    setting("STOWAGE_TEST_CEPH_URL")
}

/// Options for the RGW of the run, with no pauses between passes.
pub(crate) fn options() -> CephOptions {
    let secret = setting("STOWAGE_TEST_CEPH_SECRET_KEY").into();
    let mut options = CephOptions::new(&url(), &setting("STOWAGE_TEST_CEPH_ACCESS_KEY"), secret);
    options.usage_every = Duration::ZERO;
    options.stored_every = Duration::ZERO;
    options
}

pub(crate) fn engine_with(options: CephOptions) -> Ceph {
    Ceph::new(options, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap()
}

pub(crate) fn engine() -> Ceph {
    engine_with(options())
}

/// S3 of that RGW.
pub(crate) fn s3() -> Place {
    Place { url: url(), region: "us-east-1" }
}

pub(crate) fn client(keys: &KeyPair) -> Client {
    s3().client(keys)
}

pub(crate) async fn put(keys: &KeyPair, bucket: &BucketName, key: &str, body: Vec<u8>) {
    s3().put(keys, bucket, key, body).await.unwrap();
}

pub(crate) fn key_pair() -> KeyPair {
    testing::key_pair("CEPH")
}

/// An account with one key and no limits, to be changed.
pub(crate) fn spec() -> AccountSpec {
    testing::spec("CEPH")
}

/// An account that is there.
pub(crate) async fn account(engine: &Ceph) -> AccountSpec {
    let spec = spec();
    engine.ensure_account(&spec).await.unwrap();
    spec
}

/// An account as RGW has it.
pub(crate) async fn info(engine: &Ceph, uid: &S3uid) -> Option<AccountInfo> {
    testing::info(engine, uid).await
}

/// Asks again until it is so, for half a minute at most.
pub(crate) async fn eventually<F: Future<Output = Result<(), String>>>(ask: impl Fn() -> F) {
    let mut why = String::new();
    for _ in 0..120 {
        match ask().await {
            Ok(()) => return,
            Err(error) => why = error,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("{why}");
}

/// Does something at the Admin Ops API that no account of ours needs.
pub(crate) async fn operator(method: &str, path: &str, query: &[(&str, &str)]) {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query: Vec<_> =
        query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let uri = format!("{}/admin/{path}?{}", url(), query.join("&"));
    let secret = setting("STOWAGE_TEST_CEPH_SECRET_KEY");
    let key = setting("STOWAGE_TEST_CEPH_ACCESS_KEY");
    let identity = Credentials::new(key, secret, None, None, "tests").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::from(SystemClock.now()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let body = SignableBody::Bytes(&[]);
    let signable = SignableRequest::new(method, &uri, std::iter::empty(), body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let request = http::Request::builder().method(method).uri(&uri);
    let mut request = request.body(SdkBody::empty()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let net = Net::new(Connector::new(None, ["", ""], Duration::from_secs(3)).unwrap());
    let (status, body) = net.ask(request, Duration::from_secs(20), 1 << 20).await.unwrap();
    assert_eq!(status, 200, "{method} {path}: {}", String::from_utf8_lossy(&body));
}
