//! An engine on the double of the test run, accounts, and clients for them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{AccountInfo, AccountSpec, Engine, Error, KeyPair};
use stowage_engine_aws::{Aws, AwsOptions};
use stowage_engine_remote::testing::{self, Place};
pub(crate) use stowage_engine_remote::testing::{assert_is, bucket, refusal, seed, twice};
use stowage_types::{BucketName, Random as _, S3uid, SystemClock, SystemRandom};

const REGION: &str = "eu-central-1";

fn setting(name: &str) -> String {
    testing::setting(name, "a double of AWS: run `cargo xtask test --only aws`")
}

/// Where S3 and IAM are.
pub(crate) fn url() -> String {
    setting("STOWAGE_TEST_AWS_URL")
}

/// Options for the double of the run, with no pauses between sweeps.
pub(crate) fn options() -> AwsOptions {
    let secret = setting("STOWAGE_TEST_AWS_SECRET_KEY").into();
    let key = setting("STOWAGE_TEST_AWS_ACCESS_KEY");
    let mut options = AwsOptions::new(&url(), REGION, &key, secret);
    options.iam_endpoint = url();
    options.stored_every = Duration::ZERO;
    options
}

pub(crate) fn engine_with(options: AwsOptions) -> Aws {
    Aws::new(options, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap()
}

pub(crate) fn engine() -> Aws {
    engine_with(options())
}

/// S3 of that double.
pub(crate) fn s3() -> Place {
    Place { url: url(), region: REGION }
}

pub(crate) fn client(keys: &KeyPair) -> Client {
    s3().client(keys)
}

/// A client by our own hand.
pub(crate) fn administrator() -> Client {
    let AwsOptions { access_key, secret_key, .. } = options();
    client(&KeyPair { access_key, secret_key })
}

pub(crate) async fn put(keys: &KeyPair, bucket: &BucketName, key: &str, body: Vec<u8>) {
    s3().put(keys, bucket, key, body).await.unwrap();
}

/// Whether a key is let in where it is to be, within so long as changes take to be seen.
pub(crate) async fn get(keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error> {
    s3().get(keys, bucket, key).await
}

pub(crate) fn uid() -> S3uid {
    S3uid::generate(&SystemRandom)
}

/// The uid before one, so that one is the first in a page.
pub(crate) fn before(uid: &S3uid) -> S3uid {
    let number = u128::from_str_radix(uid.as_str(), 16).unwrap();
    S3uid::parse(&format!("{:032x}", number - 1)).unwrap()
}

/// A number that no other test has.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// An account that is there, with a key.
pub(crate) async fn account(engine: &dyn Engine) -> AccountSpec {
    let mut spec = AccountSpec::new(uid(), Vec::new());
    engine.ensure_account(&spec).await.unwrap();
    spec.keys.push(engine.issue_key(&spec.uid).await.unwrap());
    spec
}

/// An account as IAM has it.
pub(crate) async fn info(engine: &dyn Engine, uid: &S3uid) -> Option<AccountInfo> {
    testing::info(engine, uid).await
}
