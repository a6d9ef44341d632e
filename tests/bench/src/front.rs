//! What a metering front costs: objects of 64 MiB and small ones, through it and past it, in turn.
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
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::figure::{Figure, percentile};

/// Size of the big object, in bytes.
const BIG: usize = 64 << 20;
/// How often it goes each way.
const ROUNDS: usize = 12;
/// Small requests each way.
const SMALL: usize = 4000;
const REGION: &str = "us-east-1";

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
    /// Past the front, and through it.
    endpoints: [String; 2],
    _folder: TempDir,
}

async fn compare(stop: &CancellationToken) -> Outcome<Vec<Figure>> {
    let site = Site::start(stop).await?;
    let clients: [Http; 2] =
        [(); 2].map(|()| Client::builder(TokioExecutor::new()).build(HttpConnector::new()));
    let big = Bytes::from(vec![b'x'; BIG]);
    let (mut puts, mut gets) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
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
    let urls = [
        site.url(0, "small", PresignMethod::Get).await?,
        site.url(1, "small", PresignMethod::Get).await?,
    ];
    let mut small = [Vec::new(), Vec::new()];
    for round in 0..SMALL {
        for side in in_turn(round) {
            small[side].push(timed(&clients[side], &urls[side], None).await?);
        }
    }
    Ok(figures(puts, gets, small))
}

/// Both sides, each first as often as the other.
fn in_turn(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

type Times = [Vec<Duration>; 2];

fn figures(puts: Times, gets: Times, small: Times) -> Vec<Figure> {
    let ratio = |what: &str, mut times: Times| {
        let [straight, through] = times.each_mut().map(|times| percentile(times, 50).as_secs_f64());
        let rates = [through, straight].map(|time| (BIG >> 20) as f64 / time);
        let what = format!(
            "{what} of 64 MiB through the metering front ÷ past it ({:.0} MiB/s ÷ {:.0} MiB/s)",
            rates[0], rates[1]
        );
        Figure::at_least(what, straight / through, 0.9)
    };
    let mut all = vec![ratio("S3 put", puts), ratio("S3 get", gets)];
    let mut small = small;
    for (name, percent, target) in [("p50", 50, Some(1.0)), ("p99", 99, None)] {
        let [straight, through] =
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
        Ok(Self { engine, uid, bucket, endpoints: [straight, through], _folder: folder })
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

async fn settle(counts: Arc<Counts>) {
    loop {
        counts.due(Duration::from_secs(1)).await;
        counts.settle().await;
        while let Some(batch) = counts.next() {
            counts.written(&batch);
        }
    }
}
