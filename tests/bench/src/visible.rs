//! How soon a fact shows in figures, over RabbitMQ: storage's events go in at a pace, and some of
//! their accounts are looked at until they show.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use sqlx::AssertSqlSafe;
use stowage_bus::{AmqpOptions, Bus, Event};
use stowage_proto::metering::GetAccountUsageRequest;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_proto::storage::{StorageSample, Traffic, UsageCollected};
use stowage_testkit::{Caller, Parts, try_eventually};
use stowage_types::{Clock as _, SecretString, SystemClock, SystemRandom, new_id, timestamp};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::RATES_OUT_OF_REACH;
use crate::closing::pool;
use crate::figure::{Figure, in_ms, percentile};
use crate::parts::SERVER;
use crate::ranked::s3uid_of;

/// Where the test run's broker is.
const BROKER: &str = "STOWAGE_TEST_AMQP_URL";
/// Facts that come in a second.
const FACTS: u32 = 2_000;
/// Buckets of an account: an event tells of all.
const BUCKETS: u32 = 4;
/// Facts of each: what is stored, received and sent bytes, reading and writing calls.
const FACTS_OF_BUCKET: u32 = 5;
const EVENTS: u32 = FACTS / BUCKETS / FACTS_OF_BUCKET;
const SECONDS: u32 = 30;
/// Accounts that they are of.
const ACCOUNTS: u32 = 2_000;
/// One event in so many is looked for.
const LOOKED_AT: u32 = 8;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
const TARGET: Duration = Duration::from_secs(5);
/// How long one is looked for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The meters of the accounts.
const METERS: &str = "INSERT INTO meter (s3uid, account_id, customer_id, email, email_lower, \
    plan_id, location, storage_type, billing, gb_bytes) \
    SELECT lpad(to_hex((n * 2654435761) % 4294967296), 8, '0') || lpad(to_hex(n), 24, '0'), \
    n, 1, '', '', 1, 'NL', 'standard', 'ledger', 1000000000 FROM generate_series(1::bigint, ";

pub(crate) async fn measure(program: PathBuf) -> Vec<Figure> {
    match try_measure(program).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing("from a fact to its figure", why)],
    }
}

async fn try_measure(program: PathBuf) -> Result<Vec<Figure>, String> {
    let url = std::env::var_os(BROKER).and_then(|url| url.into_string().ok());
    let url = url.filter(|_| std::env::var_os(SERVER).is_some());
    let url = url.ok_or("there is no broker: run this by `cargo xtask bench`")?;
    let parts = Parts::start_program(program, RATES_OUT_OF_REACH).await;
    let database = pool(&parts, "metering").await.map_err(text)?;
    let meters = format!("{METERS}{ACCOUNTS}) n");
    sqlx::raw_sql(AssertSqlSafe(meters)).execute(&database).await.map_err(text)?;
    let namespace = parts.namespace().to_owned();
    let options = AmqpOptions { namespace, ..AmqpOptions::new(Arc::new(SystemRandom)) };
    let bus = Bus::amqp(&SecretString::from(url), options).map_err(text)?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(bus.run(stop.clone()));
    let connected = async || bus.check().map_err(text);
    try_eventually(PATIENCE, connected).await?;
    let outcome = send(&bus, &UsageServiceClient::new(parts.site(0).as_admin())).await;
    stop.cancel();
    running.await.map_err(text)?;
    let mut times = outcome?;
    let count = times.len();
    let what = format!("from a fact to its figure over RabbitMQ, {FACTS} facts/s, {count} looks");
    Ok(vec![
        Figure::told(format!("{what}, p50"), in_ms(percentile(&mut times, 50))),
        Figure::time(format!("{what}, p99"), percentile(&mut times, 99), TARGET),
    ])
}

/// Publishes at the pace, and looks for some: how long each took to show.
async fn send(bus: &Bus, usage: &UsageServiceClient<Caller>) -> Result<Vec<Duration>, String> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / EVENTS);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sent, mut looks) = (JoinSet::new(), JoinSet::new());
    for n in 0..EVENTS * SECONDS {
        pace.tick().await;
        let (round, account) = (n / ACCOUNTS, n % ACCOUNTS);
        let s3uid = s3uid_of(i64::from(account) + 1);
        let event = event(&s3uid);
        let begun = Instant::now();
        let bus = bus.clone();
        sent.spawn(async move { bus.publish(&event).await.map_err(text) });
        if n % LOOKED_AT == 0 {
            let expected = i64::from((round + 1) * BUCKETS);
            looks.spawn(look(usage.clone(), s3uid, expected, begun));
        }
    }
    for outcome in sent.join_all().await {
        outcome?;
    }
    looks.join_all().await.into_iter().collect()
}

fn event(s3uid: &str) -> Event {
    let now = SystemClock.now();
    let names = (0..BUCKETS).map(|n| format!("bucket-{n}"));
    let sample = |bucket| StorageSample {
        bucket,
        stored_bytes: 1_000,
        object_count: 1,
        sample_time: Some(timestamp(now)),
        deleted: false,
    };
    let moved = |bucket| Traffic {
        bucket,
        hour: Some(timestamp(now)),
        received_bytes: 1,
        sent_bytes: 1,
        read_requests: 1,
        write_requests: 1,
        ..Traffic::default()
    };
    let message = UsageCollected {
        s3uid: s3uid.to_owned(),
        samples: names.clone().map(sample).collect(),
        traffic: names.map(moved).collect(),
    };
    Event {
        id: new_id(&SystemClock, &SystemRandom),
        source: "stowage/storage".to_owned(),
        kind: "stowage.storage.usage.collected.v1".to_owned(),
        subject: format!("accounts/{s3uid}"),
        time: now,
        data: message.encode_to_vec(),
        trace: Default::default(),
    }
}

/// Asks for an account until it has received so many bytes.
async fn look(
    mut usage: UsageServiceClient<Caller>,
    s3uid: String,
    expected: i64,
    begun: Instant,
) -> Result<Duration, String> {
    loop {
        let request = GetAccountUsageRequest { s3uid: s3uid.clone(), ..Default::default() };
        let answer = usage.get_account_usage(request).await;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        if answer.received_bytes >= expected {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} of {expected} bytes show", answer.received_bytes));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
