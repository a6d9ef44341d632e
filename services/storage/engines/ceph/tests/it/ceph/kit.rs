//! An engine on the RGW of the test run, accounts, and clients for them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{AccountInfo, AccountSpec, Engine, KeyPair};
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_remote::testing::{self, Place};
pub(crate) use stowage_engine_remote::testing::{assert_is, bucket, refusal, seed, twice};
use stowage_types::{BucketName, S3uid, SystemClock, SystemRandom};

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
