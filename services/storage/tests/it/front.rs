//! What a front counts reaches metering: nothing twice, nothing lost.
//!
//! Behind the front is the embedded engine, and the location's engine as the role sees it is one
//! that counts no traffic: else the same would be counted by both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use futures_util::future::join_all;
use stowage_bus::{Bus, backlog};
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_engine::{AccountSpec, Engine, KeyPair};
use stowage_engine_embedded::Embedded;
use stowage_storage::{Config, build};
use stowage_storage_front::{Counts, Front, FrontOptions};
use stowage_types::{BucketName, S3uid, SystemClock, SystemRandom};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::embedded::{client, open_engine};
use crate::engine::Memory;
use crate::kit::{deps_of, killed_after, location, metered_bus, open, until, wanted};

/// The engine, with a front of each process before it.
struct Behind {
    engine: Arc<Embedded>,
    upstream: String,
    stop: CancellationToken,
    serving: Vec<JoinHandle<()>>,
}

/// A front of one process.
struct Before {
    counts: Arc<Counts>,
    endpoint: String,
}

impl Behind {
    async fn start(place: &Scratch) -> Self {
        let engine = open_engine(place.folder()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = vec![tokio::spawn(engine.serve(listener, None, stop.clone()))];
        Self { engine, upstream, stop, serving }
    }

    async fn front(&mut self) -> Before {
        let engine: Arc<dyn Engine> = Arc::<Embedded>::clone(&self.engine);
        let counts = Arc::new(Counts::new("NL", engine, Arc::new(SystemClock), &SystemRandom));
        let options = FrontOptions::new(&self.upstream);
        let front = Front::new(options, Arc::clone(&counts)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        self.serving.push(tokio::spawn(front.serve(listener, None, self.stop.clone())));
        Before { counts, endpoint }
    }

    /// An account with the key that `wanted` gives it, and a bucket.
    async fn account(&self) -> S3uid {
        let uid = S3uid::generate(&SystemRandom);
        let key = &wanted(&uid).keys[0];
        let (access_key, secret_key) = (key.access_key.clone(), key.secret_key.clone().into());
        let keys = vec![KeyPair { access_key, secret_key }];
        self.engine.ensure_account(&AccountSpec::new(uid.clone(), keys)).await.unwrap();
        let bucket = BucketName::new(&format!("b-{uid}")).unwrap();
        self.engine.create_bucket(&uid, &bucket).await.unwrap();
        uid
    }

    async fn close(self) {
        self.stop.cancel();
        for serving in self.serving {
            serving.await.unwrap();
        }
    }
}

/// Runs the role's tasks over a front until `stop`, or for some polls.
async fn run(db: &Db, bus: &Bus, front: &Before, polls: Option<u32>, stop: CancellationToken) {
    let engine: Arc<dyn Engine> = Arc::new(Memory::default());
    let mut deps = deps_of(db, bus, vec![(location("NL"), engine)], (&stop, Arc::new(SystemClock)));
    deps.fronts = vec![Arc::clone(&front.counts)];
    let role = build(Config::default(), deps).await.unwrap();
    let tasks = join_all(role.tasks.into_iter().map(|task| task.future));
    match polls {
        Some(polls) => {
            killed_after(polls, tasks).await;
        }
        None => {
            tasks.await;
        }
    }
}

/// Puts an object of `size` bytes and reads it again.
async fn put_and_get(s3: &Client, uid: &S3uid, size: usize) {
    let bucket = format!("b-{uid}");
    let put = s3.put_object().bucket(&bucket).key("k").body(vec![b'x'; size].into());
    put.send().await.unwrap();
    let got = s3.get_object().bucket(&bucket).key("k").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), size);
}

/// Sums of all hours by account and bucket.
fn by_bucket(
    traffic: BTreeMap<crate::kit::Place, [i64; 4]>,
) -> BTreeMap<(String, String), [i64; 4]> {
    let mut sums = BTreeMap::<_, [i64; 4]>::new();
    for ((uid, bucket, _), moved) in traffic {
        let sum = sums.entry((uid, bucket)).or_default();
        for (sum, moved) in sum.iter_mut().zip(moved) {
            *sum += moved;
        }
    }
    sums
}

/// What the engine itself has counted.
async fn counted(engine: &Embedded) -> BTreeMap<(String, String), [i64; 4]> {
    let batch = engine.collect_usage(&Default::default(), 1000).await.unwrap();
    let traffic = batch.traffic.into_iter().map(|row| {
        let figures = [row.received_bytes, row.sent_bytes, row.read_requests, row.write_requests];
        let place = (row.uid.to_string(), row.bucket, row.hour.unix_timestamp());
        (place, figures.map(|figure| i64::try_from(figure).unwrap()))
    });
    by_bucket(traffic.collect())
}

#[tokio::test]
async fn what_passes_the_fronts_of_several_processes_arrives_at_metering() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (bus, meter) = metered_bus();
    let mut behind = Behind::start(&place).await;
    let (one, two) = (behind.front().await, behind.front().await);
    let stop = CancellationToken::new();
    let work = async {
        let uid = behind.account().await;
        for round in 0..5 {
            put_and_get(&client(&one.endpoint, &uid), &uid, 1000 + round).await;
            put_and_get(&client(&two.endpoint, &uid), &uid, 50_000).await;
        }
        let expected = counted(&behind.engine).await;
        until(async || by_bucket(meter.traffic()) == expected).await;
        assert!(expected.values().any(|sum| sum[1] >= 5 * 51_000), "{expected:?}");
        // They are totals too, so that the hour can be looked up.
        let sum = "SELECT CAST(sum(sent_bytes) AS bigint) FROM traffic_total";
        let (total,): (i64,) = db.fetch_one(sum, stowage_db::args![]).await.unwrap();
        assert_eq!(total, expected.values().map(|sum| sum[1]).sum::<i64>());
        stop.cancel();
    };
    tokio::join!(
        run(&db, &bus, &one, None, stop.clone()),
        run(&db, &bus, &two, None, stop.clone()),
        work
    );
    behind.close().await;
}

/// How often it is cut off, each time after one poll more.
const ROUNDS: u32 = 30;

#[tokio::test]
async fn a_write_that_is_cut_off_anywhere_counts_once() {
    let place = Scratch::new().await;
    let (bus, meter) = metered_bus();
    let mut behind = Behind::start(&place).await;
    let front = behind.front().await;
    let uids = [behind.account().await, behind.account().await];
    let clients = uids.each_ref().map(|uid| client(&front.endpoint, uid));
    for polls in 1..=ROUNDS {
        for (s3, uid) in clients.iter().zip(&uids) {
            put_and_get(s3, uid, 100).await;
        }
        // Somebody waits, so the first poll begins to write.
        front.counts.drain(Duration::ZERO).await;
        let db = open(&place).await;
        run(&db, &bus, &front, Some(polls), CancellationToken::new()).await;
        db.close().await;
    }
    let (db, stop) = (open(&place).await, CancellationToken::new());
    let work = async {
        until(async || front.counts.is_written() && backlog(&db).await.unwrap().pending == 0).await;
        stop.cancel();
    };
    tokio::join!(run(&db, &bus, &front, None, stop.clone()), work);
    let (rounds, bytes) = (i64::from(ROUNDS), 100 * i64::from(ROUNDS));
    let of = |uid: &S3uid| ((uid.to_string(), format!("b-{uid}")), [bytes, bytes, rounds, rounds]);
    assert_eq!(by_bucket(meter.traffic()), uids.iter().map(of).collect());
    behind.close().await;
}
