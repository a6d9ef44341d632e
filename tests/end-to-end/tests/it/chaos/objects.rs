//! Loss of power, again and again, under the embedded S3 alone.
//!
//! Clients put, overwrite, copy, delete and upload in parts on the same keys, and keep a model of
//! what was acknowledged, refused, and cut off. After each start: what was acknowledged is there,
//! byte for byte; what was refused is not; what was cut off is one of the two. At intervals
//! everything is compared: the listing, the uploads, the counters that quotas are checked by, and
//! the files on the disk.

mod check;
mod model;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use stowage_proto::storage::SetBucketQuotaRequest;
use stowage_proto::storage::bucket_service_client::BucketServiceClient;
use stowage_testkit::{Account, Process};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::random::Random;
use super::{any_seed, number};
use model::{End, Model, bytes_of};
use worker::{SOURCES, Shared, Worker};

const BUCKET: &str = "chaos-objects";
/// Kills of a run that is told nothing else.
const KILLS: u64 = 20;
/// Clients, each with one request at a time.
const CLIENTS: u64 = 8;
/// Kills between two looks at everything.
const BETWEEN_AUDITS: u64 = 10;
/// Kills between two lines that say how far it is.
const TELL_EVERY: u64 = 100;
/// What the bucket may hold: so little that it is full now and then.
const QUOTA_BYTES: i64 = 8 * 1024 * 1024;
/// Longest time that clients have between two kills.
const LIFE_MAX: Duration = Duration::from_millis(800);

#[tokio::test(flavor = "multi_thread")]
async fn objects_survive_a_server_that_is_killed_again_and_again() {
    let kills = number("TEST_CHAOS_KILLS").unwrap_or(KILLS);
    let seed = number("TEST_CHAOS_SEED").unwrap_or_else(any_seed);
    println!("chaos of S3: {kills} kills, TEST_CHAOS_SEED={seed}");
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let mut process = Process::start_with(&[("STOWAGE_LOG_LEVEL", "warn")]).await;
    let account = prepare(&process).await;
    let s3 = client(&account);
    let shared = Arc::new(Mutex::new(Shared::default()));
    store_sources(&s3, &shared).await;
    for kill in 1..=kills {
        let mut clients = start_clients(&s3, &shared, &mut random);
        let longest_us = u64::try_from(LIFE_MAX.as_micros()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_micros(random.below(longest_us))).await;
        if let Some(status) = process.ended() {
            panic!("it ended by itself ({status}) before kill {kill}: {}", process.log());
        }
        process.kill();
        while let Some(done) = clients.join_next().await {
            done.expect("a client found nothing wrong");
        }
        kill_while_it_starts(&mut process, &mut random).await;
        process.restart().await;
        let mut model = take(&shared);
        check::settle(&s3, &mut model).await;
        if kill % BETWEEN_AUDITS == 0 || kill == kills {
            check::everything(&process, &account, &s3, &mut model).await;
        }
        lock(&shared).model = model;
        if kill % TELL_EVERY == 0 {
            println!("chaos of S3: {kill} kills after {:?}", begun.elapsed());
        }
    }
    let tally = std::mem::take(&mut lock(&shared).tally);
    println!("chaos of S3: {kills} kills survived, {tally:?} after {:?}", begun.elapsed());
    let is_busy = tally.acknowledged > 0 && tally.refused > 0 && tally.cut_off > 0;
    assert!(is_busy && tally.read > 0 && tally.completed > 0, "{tally:?}");
    assert!(process.stop("TERM").await.success(), "{}", process.log());
}

/// An account with a bucket that is soon full.
async fn prepare(process: &Process) -> Account {
    let site = &process.site;
    let customer = site.customer("chaos-objects@example.com", "EUR").await;
    let (plan_id, _) = site.plans().await;
    let account = site.order(&customer.token, plan_id, BUCKET).await;
    let name = format!("accounts/{}/buckets/{BUCKET}", account.s3uid);
    let quota_bytes = Some(QUOTA_BYTES);
    let request = SetBucketQuotaRequest { name, quota_bytes, ..Default::default() };
    let set = BucketServiceClient::new(site.as_admin()).set_bucket_quota(request).await;
    set.expect("the bucket gets a quota");
    account
}

/// One that asks once: what it does not know must stay unknown.
fn client(account: &Account) -> Client {
    let config = account.s3().config().to_builder();
    Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("no client has panicked")
}

/// The model, while no client needs it.
fn take(shared: &Mutex<Shared>) -> Model {
    std::mem::take(&mut lock(shared).model)
}

async fn store_sources(s3: &Client, shared: &Mutex<Shared>) {
    for (key, size) in SOURCES {
        let content = vec![lock(shared).model.piece(size)];
        let begun = lock(shared).model.begin(Some(&content));
        let put = s3.put_object().bucket(BUCKET).key(key);
        let put = put.body(ByteStream::from(bytes_of(&content))).send().await;
        put.expect("a source is stored");
        lock(shared).model.wrote(key, begun, End::Acknowledged, Some(content));
    }
    let mut model = take(shared);
    check::settle(s3, &mut model).await;
    lock(shared).model = model;
}

fn start_clients(s3: &Client, shared: &Arc<Mutex<Shared>>, random: &mut Random) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (s3, shared) = (s3.clone(), Arc::clone(shared));
        let mut worker = Worker { s3, shared, random: random.split() };
        clients.spawn(async move { while worker.step().await {} });
    }
    clients
}

/// Now and then it is killed before it answers, while it clears away what the last kill left.
async fn kill_while_it_starts(process: &mut Process, random: &mut Random) {
    if random.below(4) == 0 {
        process.launch();
        let longest_us = u64::try_from(process.ready_after.as_micros()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_micros(random.below(longest_us.max(1)))).await;
        process.kill();
    }
}
