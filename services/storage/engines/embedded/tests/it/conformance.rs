//! The suite that every engine runs.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::conformance::{ObjectClient, conformance};
use stowage_engine::{Error, KeyPair};
use stowage_types::BucketName;

use crate::kit::{Kit, client, refusal};

struct Sdk(std::net::SocketAddr);

fn engine_error((status, code): (u16, String)) -> Error {
    match (status, code.as_str()) {
        (_, "QuotaExceeded") => Error::QuotaExceeded,
        (403, _) => Error::Denied,
        (404, _) => Error::NotFound,
        _ => Error::Invalid { why: code },
    }
}

#[async_trait]
impl ObjectClient for Sdk {
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let put = client(self.0, keys).put_object().bucket(bucket.as_str()).key(key);
        let put = put.body(ByteStream::from(body)).send().await;
        put.map(drop).map_err(|error| engine_error(refusal(error)))
    }

    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error> {
        let get = client(self.0, keys).get_object().bucket(bucket.as_str()).key(key).send().await;
        let got = get.map_err(|error| engine_error(refusal(error)))?;
        Ok(got.body.collect().await.map_err(Error::unavailable)?.to_vec())
    }
}

#[tokio::test]
async fn the_embedded_engine_conforms() {
    let kit = Kit::start().await;
    let failures = conformance(&kit.engine, &Sdk(kit.address), "e1").await;
    assert!(failures.is_empty(), "{failures:#?}");
    let again = conformance(&kit.engine, &Sdk(kit.address), "e2").await;
    assert!(again.is_empty(), "{again:#?}");
}
