//! An engine on a free port, accounts, and clients for them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::{Client, Config};
use stowage_engine::{AccountSpec, Engine, KeyPair, Quota};
use stowage_engine_embedded::{Embedded, EmbeddedConfig};
use stowage_keyring::Keyring;
use stowage_types::{S3uid, SystemClock, SystemRandom};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Kit {
    pub(crate) engine: Embedded,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Arc<TempDir>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// An account and how to speak as it.
pub(crate) struct Account {
    pub(crate) uid: S3uid,
    pub(crate) keys: KeyPair,
    pub(crate) s3: Client,
}

pub(crate) async fn open(root: &Path) -> Embedded {
    let config = EmbeddedConfig::new(root, "eu-test-1");
    Embedded::open(config, keyring(root), Arc::new(SystemClock), Arc::new(SystemRandom))
        .await
        .unwrap()
}

/// The master keys lie beside the data, so that a copied folder opens too.
fn keyring(root: &Path) -> Arc<Keyring> {
    std::fs::create_dir_all(root).unwrap();
    Arc::new(Keyring::load_or_create(&root.join("keyring"), &SystemRandom).unwrap())
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap())).await
    }

    pub(crate) async fn start_in(folder: Arc<TempDir>) -> Self {
        let engine = open(folder.path()).await;
        Self::serve(engine, folder).await
    }

    /// With another time for running requests at shutdown.
    pub(crate) async fn start_draining(drain_timeout: Duration) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let mut config = EmbeddedConfig::new(folder.path(), "eu-test-1");
        config.drain_timeout = drain_timeout;
        let keyring = keyring(folder.path());
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let engine = Embedded::open(config, keyring, clock, random).await;
        Self::serve(engine.unwrap(), folder).await
    }

    pub(crate) async fn serve(engine: Embedded, folder: Arc<TempDir>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(engine.serve(listener, None, stop.clone()));
        Self { engine, address, folder, stop, served }
    }

    /// Asks it to stop.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Stops in order and returns the folder.
    pub(crate) async fn stop(self) -> Arc<TempDir> {
        self.stop.cancel();
        self.served.await.unwrap();
        self.folder
    }

    /// An account with one key. `number` names it.
    pub(crate) async fn account(&self, number: u32) -> Account {
        self.account_with(number, None, None).await
    }

    pub(crate) async fn account_with(
        &self,
        number: u32,
        quota_bytes: Option<u64>,
        bucket_max: Option<u32>,
    ) -> Account {
        let uid = S3uid::parse(&format!("{number:032x}")).unwrap();
        let keys = key_pair(number);
        let quota = Quota { bytes: quota_bytes, objects: None };
        let spec = AccountSpec::new(uid.clone(), vec![keys.clone()]);
        let spec = AccountSpec { quota, bucket_max, ..spec };
        self.engine.ensure_account(&spec).await.unwrap();
        let s3 = client(self.address, &keys);
        Account { uid, keys, s3 }
    }

    /// Blob files, finished or not.
    pub(crate) fn files(&self) -> Vec<String> {
        blob_files(self.folder.path())
    }

    /// Waits until there are so many blob files.
    pub(crate) async fn wait_for_files(&self, count: usize) {
        let mut files = self.files();
        for _ in 0..200 {
            if files.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            files = self.files();
        }
        panic!("{count} files were expected, there are {files:?}");
    }

    /// Waits until there are so many blob files, or for the time given.
    pub(crate) async fn wait_for_files_or(&self, count: usize, most: Duration) {
        let _ = tokio::time::timeout(most, self.wait_for_files(count)).await;
    }

    /// Sends raw HTTP/1.1 and returns status and body.
    pub(crate) async fn raw(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        let mut stream = self.raw_head(method, uri, headers, body.len()).await;
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// Sends the head of a request only.
    pub(crate) async fn raw_head(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> TcpStream {
        let host = self.address.to_string();
        let path = uri.split_once(&host).map_or(uri, |(_, path)| path);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

pub(crate) fn key_pair(number: u32) -> KeyPair {
    KeyPair {
        access_key: format!("STOWAGETEST{number:09}"),
        secret_key: format!("a-secret-of-forty-characters-no-{number:08}").into(),
    }
}

pub(crate) fn client(address: SocketAddr, keys: &KeyPair) -> Client {
    client_with(address, keys, false)
}

/// `sums`: whether the SDK adds checksums as trailers, as it does by default.
pub(crate) fn client_with(address: SocketAddr, keys: &KeyPair, sums: bool) -> Client {
    use secrecy::ExposeSecret;
    let (ask, check) = if sums {
        (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
    } else {
        (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
    };
    let secret = keys.secret_key.expose_secret();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-test-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(Credentials::new(&keys.access_key, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(ask)
        .response_checksum_validation(check)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

impl Account {
    pub(crate) async fn bucket(&self, name: &str) {
        self.s3.create_bucket().bucket(name).send().await.unwrap();
    }

    pub(crate) async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<String, (u16, String)> {
        let body = ByteStream::from(body.into());
        let put = self.s3.put_object().bucket(bucket).key(key).body(body).send().await;
        put.map(|put| put.e_tag.unwrap_or_default()).map_err(refusal)
    }

    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>, (u16, String)> {
        let got = self.s3.get_object().bucket(bucket).key(key).send().await.map_err(refusal)?;
        Ok(got.body.collect().await.unwrap().to_vec())
    }

    pub(crate) async fn presigned_put(&self, bucket: &str, key: &str) -> String {
        let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
        let put = self.s3.put_object().bucket(bucket).key(key).presigned(hour).await;
        put.unwrap().uri().to_owned()
    }

    pub(crate) async fn presigned_get(&self, bucket: &str, key: &str) -> String {
        let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
        let get = self.s3.get_object().bucket(bucket).key(key).presigned(hour).await;
        get.unwrap().uri().to_owned()
    }
}

/// Status and code of what the server refused.
pub(crate) fn refusal<E, R>(error: SdkError<E, R>) -> (u16, String)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
    R: std::fmt::Debug + Status,
{
    let status = error.raw_response().map_or(0, Status::status);
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    (status, code.map_or_else(|| format!("{error:?}"), str::to_owned))
}

pub(crate) trait Status {
    fn status(&self) -> u16;
}

impl Status for aws_sdk_s3::config::http::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// All files under `blobs`.
pub(crate) fn blob_files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    files
}

/// Bytes that differ from place to place.
pub(crate) fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
    }
    bytes.truncate(length);
    bytes
}
