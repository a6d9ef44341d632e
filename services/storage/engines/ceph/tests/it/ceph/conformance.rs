//! The suite that every engine runs.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::conformance::{ObjectClient, conformance};
use stowage_engine::{Error, KeyPair};
use stowage_types::BucketName;

use super::kit::{client, engine, refusal, seed};

struct Sdk;

#[async_trait]
impl ObjectClient for Sdk {
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let put = client(keys).put_object().bucket(bucket.as_str()).key(key);
        put.body(ByteStream::from(body)).send().await.map(drop).map_err(refusal)
    }

    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error> {
        let get = client(keys).get_object().bucket(bucket.as_str()).key(key);
        let got = get.send().await.map_err(refusal)?;
        Ok(got.body.collect().await.map_err(Error::unavailable)?.to_vec())
    }
}

#[tokio::test]
async fn the_engine_conforms() {
    let engine = engine();
    for _ in 0..2 {
        let failures = conformance(&engine, &Sdk, &seed()).await;
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
