//! An engine on the Garage of the test run, accounts, and clients for them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::{Client, Config};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use stowage_engine::{AccountInfo, AccountSpec, Engine, Error, KeyPair};
use stowage_engine_garage::{Garage, GarageOptions};
use stowage_types::{BucketName, Random, S3uid, SystemClock, SystemRandom};

/// What the environment of the test run says.
fn setting(name: &str) -> String {
    let value = std::env::var_os(name).unwrap_or_else(|| {
        panic!(
            "this test needs a Garage: run `cargo xtask test --engine garage`, which starts one, \
             or set {name}"
        )
    });
    value.into_string().expect("it is plain text")
}

/// Where S3 is.
pub(crate) fn url() -> String {
    setting("STOWAGE_TEST_GARAGE_URL")
}

/// Where its administration is.
pub(crate) fn admin_url() -> String {
    setting("STOWAGE_TEST_GARAGE_ADMIN_URL")
}

/// Options for the Garage of the run, with no pauses between sweeps.
pub(crate) fn options() -> GarageOptions {
    let token = setting("STOWAGE_TEST_GARAGE_ADMIN_TOKEN").into();
    let mut options = GarageOptions::new(&admin_url(), &url(), token);
    options.stored_every = Duration::ZERO;
    options
}

pub(crate) fn engine_with(options: GarageOptions) -> Garage {
    Garage::new(options, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap()
}

pub(crate) fn engine() -> Garage {
    engine_with(options())
}

/// Hexadecimal digits that no other test has.
pub(crate) fn seed() -> String {
    let mut bytes = [0; 6];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name that no other test has.
pub(crate) fn bucket() -> BucketName {
    BucketName::new(&format!("t-{}", seed())).unwrap()
}

pub(crate) fn key_pair() -> KeyPair {
    KeyPair {
        access_key: format!("GARAGE{}", seed().to_uppercase()),
        secret_key: format!("{}{}{}", seed(), seed(), seed()).into(),
    }
}

/// An account with one key and no limits, to be changed.
pub(crate) fn spec() -> AccountSpec {
    AccountSpec::new(S3uid::generate(&SystemRandom), vec![key_pair()])
}

/// An account that is there.
pub(crate) async fn account(engine: &Garage) -> AccountSpec {
    let spec = spec();
    engine.ensure_account(&spec).await.unwrap();
    spec
}

/// An account as Garage has it.
pub(crate) async fn info(engine: &Garage, uid: &S3uid) -> Option<AccountInfo> {
    // The uid before it, so that it is the first in the page.
    let number = u128::from_str_radix(uid.as_str(), 16).unwrap();
    let before = S3uid::parse(&format!("{:032x}", number - 1)).unwrap();
    let page = engine.list_accounts(Some(&before), 1).await.unwrap();
    page.into_iter().next().filter(|info| info.uid == *uid)
}

pub(crate) fn client(keys: &KeyPair) -> Client {
    let secret = keys.secret_key.expose_secret();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("garage"))
        .endpoint_url(url())
        .credentials_provider(Credentials::new(&keys.access_key, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

pub(crate) async fn put(keys: &KeyPair, bucket: &BucketName, key: &str, body: Vec<u8>) {
    let put = client(keys).put_object().bucket(bucket.as_str()).key(key);
    put.body(ByteStream::from(body)).send().await.unwrap();
}

/// Sends a body to a signed URL, or asks it for what it opens.
pub(crate) async fn send(url: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let method = if body.is_some() { "PUT" } else { "GET" };
    let request = http::Request::builder().method(method).uri(url);
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap();
    let answer = client.request(request).await.map_err(Error::unavailable)?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(Error::unavailable)?.to_bytes();
    match status {
        200 => Ok(body.to_vec()),
        403 => Err(Error::Denied),
        404 => Err(Error::NotFound),
        other => Err(Error::Invalid { why: format!("{other}") }),
    }
}

/// What Garage refused, in the engine's words.
pub(crate) fn refusal<E: ProvideErrorMetadata>(
    error: SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> Error {
    let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match (status, code) {
        (_, "QuotaExceeded") => Error::QuotaExceeded,
        (403, _) => Error::Denied,
        (404, _) => Error::NotFound,
        _ => Error::Invalid { why: format!("{status} {code}") },
    }
}
