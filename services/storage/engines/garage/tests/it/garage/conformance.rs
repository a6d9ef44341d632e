//! The suite that every engine runs.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::conformance::{ObjectClient, Troubled, conformance};
use stowage_engine::{Error, KeyPair};
use stowage_types::{BucketName, ExposeSecret as _, SecretString};

use super::kit::{client, engine, refusal, seed, send, url};

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

    async fn create_bucket(&self, keys: &KeyPair, bucket: &BucketName) -> Result<(), Error> {
        let create = client(keys).create_bucket().bucket(bucket.as_str());
        create.send().await.map(drop).map_err(refusal)
    }

    async fn begin_upload(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        part: Vec<u8>,
    ) -> Result<String, Error> {
        let s3 = client(keys);
        let begin = s3.create_multipart_upload().bucket(bucket.as_str()).key(key).send().await;
        let upload = begin.map_err(refusal)?.upload_id.expect("an upload has an id");
        let put = s3.upload_part().bucket(bucket.as_str()).key(key).upload_id(&upload);
        let put = put.part_number(1).body(ByteStream::from(part)).send().await;
        put.map(|_| upload).map_err(refusal)
    }

    async fn send(&self, url: &SecretString, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        send(url.expose_secret(), body).await
    }

    fn endpoint(&self) -> (String, String) {
        (url(), "garage".to_owned())
    }
}

#[tokio::test]
async fn the_engine_conforms() {
    let engine = engine();
    let failures = conformance(&engine, &Sdk, &seed()).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn the_engine_conforms_behind_a_network_that_fails_and_repeats() {
    let engine = Troubled::engine(Arc::new(engine()));
    let failures = conformance(&*engine, &Sdk, &seed()).await;
    assert!(failures.is_empty(), "{failures:#?}");
}
