//! S3 of a server under test, by the customer's side.

use async_trait::async_trait;
use aws_sdk_s3::config::http::HttpResponse;
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
use secrecy::{ExposeSecret as _, SecretString};
use stowage_engine::conformance::ObjectClient;
use stowage_engine::{Error, KeyPair};
use stowage_types::BucketName;

/// Where it is, and what is signed for.
#[derive(Debug, Clone)]
pub struct Place {
    /// `http://host:port`.
    pub url: String,
    /// Its region.
    pub region: &'static str,
}

impl Place {
    /// A client that acts by these keys.
    #[must_use]
    pub fn client(&self, keys: &KeyPair) -> Client {
        let secret = keys.secret_key.expose_secret();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region))
            .endpoint_url(&self.url)
            .credentials_provider(Credentials::new(&keys.access_key, secret, None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }
}

/// What a server refused, in the engine's words.
pub fn refusal<E: ProvideErrorMetadata>(error: SdkError<E, HttpResponse>) -> Error {
    let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    refused(status, code.unwrap_or_default())
}

fn refused(status: u16, code: &str) -> Error {
    match (status, code) {
        (_, "QuotaExceeded") => Error::QuotaExceeded,
        (403, _) => Error::Denied,
        (404, _) => Error::NotFound,
        _ => Error::Invalid { why: format!("{status} {code}") },
    }
}

#[async_trait]
impl ObjectClient for Place {
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let put = self.client(keys).put_object().bucket(bucket.as_str()).key(key);
        put.body(ByteStream::from(body)).send().await.map(drop).map_err(refusal)
    }

    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error> {
        let get = self.client(keys).get_object().bucket(bucket.as_str()).key(key);
        let got = get.send().await.map_err(refusal)?;
        Ok(got.body.collect().await.map_err(Error::unavailable)?.to_vec())
    }

    async fn create_bucket(&self, keys: &KeyPair, bucket: &BucketName) -> Result<(), Error> {
        let create = self.client(keys).create_bucket().bucket(bucket.as_str());
        create.send().await.map(drop).map_err(refusal)
    }

    async fn begin_upload(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        part: Vec<u8>,
    ) -> Result<String, Error> {
        let s3 = self.client(keys);
        let begin = s3.create_multipart_upload().bucket(bucket.as_str()).key(key).send().await;
        let upload = begin.map_err(refusal)?.upload_id.unwrap_or_default();
        let put = s3.upload_part().bucket(bucket.as_str()).key(key).upload_id(&upload);
        let put = put.part_number(1).body(ByteStream::from(part)).send().await;
        put.map(|_| upload).map_err(refusal)
    }

    async fn send(&self, url: &SecretString, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let method = if body.is_some() { "PUT" } else { "GET" };
        let request = http::Request::builder().method(method).uri(url.expose_secret());
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let answer = client.request(request.map_err(Error::unavailable)?).await;
        let answer = answer.map_err(Error::unavailable)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(Error::unavailable)?.to_bytes();
        if status == 200 { Ok(body.to_vec()) } else { Err(refused(status, "")) }
    }

    fn endpoint(&self) -> (String, String) {
        (self.url.clone(), self.region.to_owned())
    }
}
