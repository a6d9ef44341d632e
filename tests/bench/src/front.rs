//! What a metering front costs: objects of 64 MiB and small ones, through it and past it, in turn;
//! and through a relay that copies bytes and knows nothing of them, which is the least that
//! anything between costs where client, server and it share the processors.
//!
//! The engine behind it is the embedded one, in a folder of its own; both listen in this process,
//! with a client each on a connection that is kept. Small requests are reads, whose time is not the
//! disk's. Counts are settled meanwhile as the role does it, but for writing them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stowage_engine::{AccountSpec, Engine, KeyPair, Presign, PresignMethod};
use stowage_engine_embedded::{Embedded, EmbeddedConfig};
use stowage_keyring::Keyring;
use stowage_storage_front::{Counts, Front, FrontOptions};
use stowage_types::{BucketName, ExposeSecret as _, S3uid, SystemClock, SystemRandom};
use tempfile::TempDir;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::figure::{Figure, percentile};

/// Size of the big object, in bytes.
const BIG: usize = 64 << 20;
/// How often it goes each way.
const ROUNDS: usize = 12;
/// Small requests each way.
const SMALL: usize = 4000;
const REGION: &str = "us-east-1";
/// Past the front, through it, and through a bare relay.
const SIDES: usize = 3;
/// Bytes that the relay copies at once.
const RELAY_BYTES: usize = 256 << 10;

type Http = Client<HttpConnector, Full<Bytes>>;
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) async fn measure() -> Vec<Figure> {
    let stop = CancellationToken::new();
    let measured = compare(&stop).await;
    stop.cancel();
    measured.unwrap_or_else(|error| vec![Figure::missing("metering front", error.to_string())])
}

/// The engine, a front before it, and whose URLs are signed.
struct Site {
    engine: Arc<Embedded>,
    uid: S3uid,
    bucket: BucketName,
    endpoints: [String; SIDES],
    _folder: TempDir,
}

async fn compare(stop: &CancellationToken) -> Outcome<Vec<Figure>> {
    let site = Site::start(stop).await?;
    let clients: [Http; SIDES] =
        [(); SIDES].map(|()| Client::builder(TokioExecutor::new()).build(HttpConnector::new()));
    let big = Bytes::from(vec![b'x'; BIG]);
    let (mut puts, mut gets, mut small) = (Times::default(), Times::default(), Times::default());
    for round in 0..ROUNDS {
        for side in in_turn(round) {
            let url = site.url(side, "big", PresignMethod::Put).await?;
            puts[side].push(timed(&clients[side], &url, Some(big.clone())).await?);
            let url = site.url(side, "big", PresignMethod::Get).await?;
            gets[side].push(timed(&clients[side], &url, None).await?);
        }
    }
    let url = site.url(0, "small", PresignMethod::Put).await?;
    timed(&clients[0], &url, Some(Bytes::from_static(b"content"))).await?;
    let mut urls = Vec::new();
    for side in 0..SIDES {
        urls.push(site.url(side, "small", PresignMethod::Get).await?);
    }
    for round in 0..SMALL {
        for side in in_turn(round) {
            small[side].push(timed(&clients[side], &urls[side], None).await?);
        }
    }
    Ok(figures(puts, gets, small))
}

/// All sides, each first as often as the others.
fn in_turn(round: usize) -> [usize; SIDES] {
    std::array::from_fn(|at| (round + at) % SIDES)
}

type Times = [Vec<Duration>; SIDES];

fn figures(puts: Times, gets: Times, small: Times) -> Vec<Figure> {
    let mut all = rates("put", puts);
    all.extend(rates("get", gets));
    let mut small = small;
    for (name, percent, target) in [("p50", 50, Some(1.0)), ("p99", 99, None)] {
        let [straight, through, _] =
            small.each_mut().map(|times| percentile(times, percent).as_secs_f64() * 1000.0);
        let what = format!(
            "ms of a small get through the metering front over past it, {name} \
             ({through:.2} ms − {straight:.2} ms)"
        );
        let over = through - straight;
        all.push(match target {
            Some(target) => Figure::at_most(what, over, target),
            None => Figure::told(what, format!("{over:.2}")),
        });
    }
    all
}

fn rates(what: &str, mut times: Times) -> Vec<Figure> {
    let seconds = times.each_mut().map(|times| percentile(times, 50).as_secs_f64());
    let [straight, through, relayed] = seconds.map(|time| (BIG >> 20) as f64 / time);
    let told = |by: &str, than: &str, rate: f64, other: f64| {
        format!("S3 {what} of 64 MiB {by} ÷ {than} ({rate:.0} MiB/s ÷ {other:.0} MiB/s)")
    };
    let (front, relay) = ("through the metering front", "through a bare relay");
    vec![
        Figure::at_least(told(front, "past it", through, straight), through / straight, 0.9),
        Figure::ratio(told(relay, "past it", relayed, straight), relayed / straight),
        Figure::at_least(told(front, relay, through, relayed), through / relayed, 0.9),
    ]
}

/// Sends a request and reads its answer whole.
async fn timed(client: &Http, url: &str, body: Option<Bytes>) -> Outcome<Duration> {
    let method = if body.is_some() { "PUT" } else { "GET" };
    let request = http::Request::builder().method(method).uri(url);
    let request = request.body(Full::new(body.unwrap_or_default()))?;
    let begun = Instant::now();
    let answer = client.request(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    if !status.is_success() {
        return Err(format!("the answer is {status}").into());
    }
    Ok(begun.elapsed())
}

impl Site {
    async fn start(stop: &CancellationToken) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let keyring = Keyring::load_or_create(&folder.path().join("keyring"), &SystemRandom)?;
        let config = EmbeddedConfig::new(folder.path().join("s3"), REGION);
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let engine = Embedded::open(config, Arc::new(keyring), clock, random).await?;
        let (engine, uid) = (Arc::new(engine), S3uid::generate(&SystemRandom));
        let bucket = BucketName::new("bench-front")?;
        let keys = KeyPair {
            access_key: "BENCHFRONT0000000000".to_owned(),
            secret_key: "a-secret-of-forty-characters-for-a-bench".to_owned().into(),
        };
        engine.ensure_account(&AccountSpec::new(uid.clone(), vec![keys])).await?;
        engine.create_bucket(&uid, &bucket).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let straight = format!("http://{}", listener.local_addr()?);
        tokio::spawn(engine.serve(listener, None, stop.clone()));
        let owners: Arc<dyn Engine> = Arc::<Embedded>::clone(&engine);
        let counts = Arc::new(Counts::new("XX", owners, Arc::new(SystemClock), &SystemRandom));
        let front = Front::new(FrontOptions::new(&straight), Arc::clone(&counts))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let through = format!("http://{}", listener.local_addr()?);
        tokio::spawn(front.serve(listener, None, stop.clone()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(settle(counts)));
        let relayed = relay(&straight, stop).await?;
        let endpoints = [straight, through, relayed];
        Ok(Self { engine, uid, bucket, endpoints, _folder: folder })
    }

    async fn url(&self, side: usize, key: &str, method: PresignMethod) -> Outcome<String> {
        let what = Presign {
            method,
            endpoint: self.endpoints[side].clone(),
            region: REGION.to_owned(),
            key: key.to_owned(),
            valid_for: Duration::from_secs(3600),
        };
        let url = self.engine.presign(&self.uid, &self.bucket, &what).await?;
        Ok(url.expose_secret().to_owned())
    }
}

/// Copies what comes over its connections to the engine, and back; answers where it listens.
async fn relay(engine: &str, stop: &CancellationToken) -> Outcome<String> {
    let engine = engine.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let serve = async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut engine = TcpStream::connect(engine).await?;
                engine.set_nodelay(true)?;
                client.set_nodelay(true)?;
                let bytes = RELAY_BYTES;
                copy_bidirectional_with_sizes(&mut client, &mut engine, bytes, bytes).await
            });
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
    Ok(endpoint)
}

async fn settle(counts: Arc<Counts>) {
    loop {
        counts.due(Duration::from_secs(1)).await;
        counts.settle().await;
        while let Some(batch) = counts.next() {
            counts.written(&batch);
        }
    }
}
