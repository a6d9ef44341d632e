//! An engine with a front before it, accounts, and clients for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use stowage_engine::{AccountSpec, Engine, KeyPair, UsageCursor};
use stowage_engine_embedded::{Embedded, EmbeddedConfig};
use stowage_engine_remote::testing::{Place, key_pair};
use stowage_keyring::Keyring;
use stowage_runtime::ServerTls;
use stowage_storage_front::{Counts, Front, FrontOptions, Moved};
use stowage_types::{S3uid, SystemClock, SystemRandom};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const REGION: &str = "eu-test-1";

/// Figures by account and bucket, over all hours.
pub(crate) type Sums = BTreeMap<(S3uid, String), [u64; 4]>;

pub(crate) struct Kit {
    pub(crate) engine: Arc<Embedded>,
    /// Of the front.
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    sums: Arc<Mutex<Sums>>,
    stop: CancellationToken,
    served: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

type Wrap = fn(Arc<dyn Engine>) -> Arc<dyn Engine>;

/// What a test may want to be otherwise.
pub(crate) struct Settings {
    pub(crate) options: FrontOptions,
    /// Says whose keys are; `None`: the engine itself.
    pub(crate) owners: Option<Wrap>,
    /// Of both ports.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { options: FrontOptions::new(""), owners: None, tls: None }
    }
}

/// An account and how to speak as it.
pub(crate) struct Account {
    pub(crate) uid: S3uid,
    pub(crate) keys: KeyPair,
    pub(crate) s3: Client,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// With a server of the test's own behind the front. The engine says whose keys are.
    pub(crate) async fn before(upstream: SocketAddr) -> Self {
        let options = FrontOptions::new(format!("http://{upstream}"));
        Self::with(Settings { options, ..Settings::default() }).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        let engine = open(&folder).await;
        let (stop, mut served) = (CancellationToken::new(), Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        served.push(tokio::spawn(engine.serve(listener, settings.tls.clone(), stop.clone())));
        let mut options = settings.options;
        if options.s3_endpoint.is_empty() {
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            options.s3_endpoint = format!("{scheme}://{upstream}");
        }
        let owners = settings.owners.unwrap_or(|engine| engine)(Arc::<Embedded>::clone(&engine));
        let clock = Arc::new(SystemClock);
        let counts = Arc::new(Counts::new("FR", owners, clock, &SystemRandom));
        let front = Front::new(options, Arc::clone(&counts)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        served.push(tokio::spawn(front.serve(listener, settings.tls, stop.clone())));
        let sums = Arc::<Mutex<Sums>>::default();
        // Who writes is the role; here its place is taken by a sum.
        tokio::spawn(write(Arc::clone(&counts), Arc::clone(&sums)));
        Self { engine, address, counts, sums, stop, served, _folder: folder }
    }

    /// Stops the front in order; answers what was counted.
    pub(crate) async fn stop(self) -> Sums {
        self.stop.cancel();
        for served in self.served {
            served.await.unwrap();
        }
        self.sums.lock().unwrap().clone()
    }

    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// All that was counted so far.
    pub(crate) async fn sums(&self) -> Sums {
        assert!(self.counts.drain(Duration::from_secs(20)).await, "counts are left");
        self.sums.lock().unwrap().clone()
    }

    /// Received and sent bytes, reads and writes of an account's bucket.
    pub(crate) async fn sum(&self, uid: &S3uid, bucket: &str) -> [u64; 4] {
        let sums = self.sums().await;
        sums.get(&(uid.clone(), bucket.to_owned())).copied().unwrap_or_default()
    }

    /// Waits until that is what was counted.
    pub(crate) async fn until(&self, uid: &S3uid, bucket: &str, expected: [u64; 4]) {
        let mut seen = [0; 4];
        for _ in 0..1000 {
            seen = self.sum(uid, bucket).await;
            if seen == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{expected:?} was expected, {seen:?} was counted");
    }

    /// What the engine has counted itself.
    pub(crate) async fn of_engine(&self) -> Sums {
        let mut sums = Sums::new();
        let batch = self.engine.collect_usage(&UsageCursor::default(), 10_000).await.unwrap();
        for row in batch.traffic {
            let sum = sums.entry((row.uid, row.bucket)).or_default();
            add(sum, [row.received_bytes, row.sent_bytes, row.read_requests, row.write_requests]);
        }
        sums
    }

    pub(crate) async fn account(&self) -> Account {
        let (uid, keys) = (S3uid::generate(&SystemRandom), key_pair("FRONT"));
        let spec = AccountSpec::new(uid.clone(), vec![keys.clone()]);
        self.engine.ensure_account(&spec).await.unwrap();
        let s3 = self.place().client(&keys);
        Account { uid, keys, s3 }
    }

    /// The front, as clients reach it.
    pub(crate) fn place(&self) -> Place {
        Place { url: format!("http://{}", self.address), region: REGION }
    }

    /// Sends a request as it stands, and reads all that comes.
    pub(crate) async fn raw(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.send(head, body).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request as it stands.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }

    /// The head of a request for a signed URL of ours, with a body of a length, and further lines.
    pub(crate) fn head(&self, method: &str, url: &str, length: usize, lines: &str) -> String {
        let host = self.address.to_string();
        let (_, path) = url.split_once(&host).unwrap();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-length: {length}\r\n{lines}\r\n"
        )
    }
}

async fn open(folder: &TempDir) -> Arc<Embedded> {
    let config = EmbeddedConfig::new(folder.path().join("s3"), REGION);
    let keyring = Keyring::load_or_create(&folder.path().join("keyring"), &SystemRandom).unwrap();
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Arc::new(Embedded::open(config, Arc::new(keyring), clock, random).await.unwrap())
}

async fn write(counts: Arc<Counts>, sums: Arc<Mutex<Sums>>) {
    loop {
        counts.due(Duration::from_millis(20)).await;
        counts.settle().await;
        while let Some(batch) = counts.next() {
            for row in &batch.rows {
                let mut sums = sums.lock().unwrap();
                let sum = sums.entry((row.uid.clone(), row.bucket.clone())).or_default();
                add(sum, figures(row.moved));
            }
            counts.written(&batch);
        }
    }
}

fn figures(moved: Moved) -> [u64; 4] {
    [moved.received_bytes, moved.sent_bytes, moved.read_requests, moved.write_requests]
}

fn add(sum: &mut [u64; 4], more: [u64; 4]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

impl Account {
    pub(crate) async fn bucket(&self, name: &str) {
        self.s3.create_bucket().bucket(name).send().await.unwrap();
    }

    pub(crate) async fn put(&self, bucket: &str, key: &str, body: Vec<u8>) {
        let put = self.s3.put_object().bucket(bucket).key(key).body(body.into());
        put.send().await.unwrap();
    }

    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let got = self.s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    pub(crate) async fn presigned_put(&self, bucket: &str, key: &str) -> String {
        let put = self.s3.put_object().bucket(bucket).key(key).presigned(hour()).await;
        put.unwrap().uri().to_owned()
    }

    pub(crate) async fn presigned_get(&self, bucket: &str, key: &str) -> String {
        let get = self.s3.get_object().bucket(bucket).key(key).presigned(hour()).await;
        get.unwrap().uri().to_owned()
    }
}

fn hour() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap()
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// Bytes that differ from place to place.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 % 253 + at % 251) as u8).collect()
}

/// A signed URL with another signature of the same form.
pub(crate) fn forged(url: &str) -> String {
    let (before, signature) = url.split_once("X-Amz-Signature=").unwrap();
    let other = if signature.starts_with('0') { '1' } else { '0' };
    format!("{before}X-Amz-Signature={other}{}", &signature[1..])
}
