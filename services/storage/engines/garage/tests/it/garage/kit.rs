//! An engine on the Garage of the test run, accounts, and clients for them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::SdkBody;
use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{AccountInfo, AccountSpec, Engine, KeyPair};
use stowage_engine_garage::{Garage, GarageOptions};
use stowage_engine_remote::testing::{self, Place};
pub(crate) use stowage_engine_remote::testing::{assert_is, bucket, refusal, seed, twice};
use stowage_engine_remote::{Connector, Net};
use stowage_types::{BucketName, S3uid, SystemClock, SystemRandom};

fn setting(name: &str) -> String {
    testing::setting(name, "a Garage: run `cargo xtask test --engine garage`")
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

/// S3 of that Garage.
pub(crate) fn s3() -> Place {
    Place { url: url(), region: "garage" }
}

pub(crate) fn client(keys: &KeyPair) -> Client {
    s3().client(keys)
}

pub(crate) async fn put(keys: &KeyPair, bucket: &BucketName, key: &str, body: Vec<u8>) {
    s3().put(keys, bucket, key, body).await.unwrap();
}

pub(crate) fn key_pair() -> KeyPair {
    testing::key_pair("GARAGE")
}

/// An account with one key and no limits, to be changed.
pub(crate) fn spec() -> AccountSpec {
    testing::spec("GARAGE")
}

/// An account that is there.
pub(crate) async fn account(engine: &Garage) -> AccountSpec {
    let spec = spec();
    engine.ensure_account(&spec).await.unwrap();
    spec
}

/// An account as Garage has it.
pub(crate) async fn info(engine: &Garage, uid: &S3uid) -> Option<AccountInfo> {
    testing::info(engine, uid).await
}

/// Does something at the Admin API that no account of ours needs; answers what it answers.
pub(crate) async fn operator(operation: &str, body: &serde_json::Value) -> serde_json::Value {
    let uri = format!("{}/v2/{operation}", admin_url());
    let token = setting("STOWAGE_TEST_GARAGE_ADMIN_TOKEN");
    let request = http::Request::builder().method("POST").uri(&uri);
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json");
    let request = request.body(SdkBody::from(body.to_string())).unwrap();
    let net = Net::new(Connector::new(None, ["", ""], Duration::from_secs(3)).unwrap());
    let (status, body) = net.ask(request, Duration::from_secs(20), 1 << 20).await.unwrap();
    assert!(status.is_success(), "{operation}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap_or_default()
}
