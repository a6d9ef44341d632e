//! The suite that every engine runs.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use stowage_engine::conformance::{ObjectClient, Troubled, conformance};
use stowage_engine::{Error, KeyPair};
use stowage_types::{BucketName, ExposeSecret as _, SecretString};

use crate::kit::{Kit, client, refusal};

struct Sdk<'a>(&'a Kit);

fn engine_error((status, code): (u16, String)) -> Error {
    match (status, code.as_str()) {
        (_, "QuotaExceeded") => Error::QuotaExceeded,
        (403, _) => Error::Denied,
        (404, _) => Error::NotFound,
        _ => Error::Invalid { why: code },
    }
}

#[async_trait]
impl ObjectClient for Sdk<'_> {
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let put = client(self.0.address, keys).put_object().bucket(bucket.as_str()).key(key);
        let put = put.body(ByteStream::from(body)).send().await;
        put.map(drop).map_err(|error| engine_error(refusal(error)))
    }

    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error> {
        let get =
            client(self.0.address, keys).get_object().bucket(bucket.as_str()).key(key).send().await;
        let got = get.map_err(|error| engine_error(refusal(error)))?;
        Ok(got.body.collect().await.map_err(Error::unavailable)?.to_vec())
    }

    async fn create_bucket(&self, keys: &KeyPair, bucket: &BucketName) -> Result<(), Error> {
        let create = client(self.0.address, keys).create_bucket().bucket(bucket.as_str());
        create.send().await.map(drop).map_err(|error| engine_error(refusal(error)))
    }

    async fn begin_upload(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        part: Vec<u8>,
    ) -> Result<String, Error> {
        let s3 = client(self.0.address, keys);
        let begin = s3.create_multipart_upload().bucket(bucket.as_str()).key(key).send().await;
        let upload = begin.map_err(|error| engine_error(refusal(error)))?.upload_id;
        let upload = upload.expect("an upload has an id");
        let put = s3.upload_part().bucket(bucket.as_str()).key(key).upload_id(&upload);
        let put = put.part_number(1).body(ByteStream::from(part)).send().await;
        put.map(|_| upload).map_err(|error| engine_error(refusal(error)))
    }

    async fn send(&self, url: &SecretString, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let method = if body.is_some() { "PUT" } else { "GET" };
        let body = body.unwrap_or_default();
        let (status, body) = self.0.raw(method, url.expose_secret(), &[], &body).await;
        match status {
            200 => Ok(body.into_bytes()),
            status => Err(engine_error((status, String::new()))),
        }
    }

    fn endpoint(&self) -> (String, String) {
        (format!("http://{}", self.0.address), "eu-test-1".to_owned())
    }
}

#[tokio::test]
async fn the_embedded_engine_conforms() {
    let kit = Kit::start().await;
    let failures = conformance(&kit.engine, &Sdk(&kit), "e1").await;
    assert!(failures.is_empty(), "{failures:#?}");
    let again = conformance(&kit.engine, &Sdk(&kit), "e2").await;
    assert!(again.is_empty(), "{again:#?}");
}

#[tokio::test]
async fn the_embedded_engine_conforms_behind_a_network_that_fails_and_repeats() {
    let kit = Kit::start().await;
    let engine = Troubled::engine(Arc::new(kit.engine.clone()));
    let failures = conformance(&*engine, &Sdk(&kit), "e3").await;
    assert!(failures.is_empty(), "{failures:#?}");
}
