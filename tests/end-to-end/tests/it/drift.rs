//! Facts are lost and doubled on purpose between engine and meter: the next comparison names the
//! accounts, and no others.
//!
//! What engines reported is written as storage writes it, totals, samples and events in one
//! transaction, for hours that have long ended. A fact is lost on its way, as by a bus that
//! swallows it, or told again by another source under another id.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use stowage_bus::Outbox;
use stowage_db::{Db, Tx, args};
use stowage_proto::accounts::drift_service_client::DriftServiceClient;
use stowage_proto::accounts::{AccountDrift, DriftMeasure, ListDriftRequest};
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::{Fact, FactKind, RecordFactsRequest};
use stowage_proto::storage::{StorageSample, Traffic, UsageCollected};
use stowage_testkit::{Account, Kit, Site, eventually, program};
use stowage_types::{Clock as _, SystemClock, SystemRandom, from_timestamp, timestamp};
use time::OffsetDateTime;

/// Nobody is named who is not among these, and there are enough who must not be.
const ACCOUNTS: usize = 16;
const EVENTS_PER_ACCOUNT: usize = 21;
const ROWS_PER_EVENT: usize = 3;
/// Facts of a row: bytes in and out, reads and writes.
const FACTS_PER_ROW: usize = 4;
const FACTS: usize = ACCOUNTS * EVENTS_PER_ACCOUNT * ROWS_PER_EVENT * FACTS_PER_ROW;
/// An account of which samples are sent too, and the event whose sample is lost: others follow it.
const SAMPLED: usize = 14;
const SAMPLE_LOST: usize = 7;
const BUCKETS: [&str; ROWS_PER_EVENT] = ["a", "b", "c"];
const WITHIN: Duration = Duration::from_secs(60);

const KINDS: [(FactKind, DriftMeasure); FACTS_PER_ROW] = [
    (FactKind::ReceivedBytes, DriftMeasure::ReceivedBytes),
    (FactKind::SentBytes, DriftMeasure::SentBytes),
    (FactKind::ReadRequests, DriftMeasure::ReadRequests),
    (FactKind::WriteRequests, DriftMeasure::WriteRequests),
];

/// One of all facts, by its number.
#[derive(Debug, Clone, Copy)]
struct Place {
    account: usize,
    event: usize,
    row: usize,
    kind: usize,
}

impl Place {
    fn of(number: usize) -> Self {
        let (rest, kind) = (number / FACTS_PER_ROW, number % FACTS_PER_ROW);
        let (rest, row) = (rest / ROWS_PER_EVENT, rest % ROWS_PER_EVENT);
        Self { account: rest / EVENTS_PER_ACCOUNT, event: rest % EVENTS_PER_ACCOUNT, row, kind }
    }

    fn value(self) -> i64 {
        let number = i64::try_from(self.event * 17 + self.row * 5 + self.account).expect("small");
        // Bytes by the gigabyte, some requests: neither size may hide what is missing.
        if self.kind < 2 { (number + 1) * 1_000_003 } else { number % 7 + 1 }
    }

    /// Several events fall into an hour, over a bit more than five days.
    fn hour(self, now: OffsetDateTime) -> OffsetDateTime {
        let hours = i64::try_from(self.event * 6 + self.row / 2).expect("small");
        hour_of(now) - time::Duration::hours(hours + 2)
    }
}

fn hour_of(time: OffsetDateTime) -> OffsetDateTime {
    let start = time.unix_timestamp() - time.unix_timestamp().rem_euclid(3600);
    OffsetDateTime::from_unix_timestamp(start).expect("a time is one")
}

/// One in a thousand facts, spread over them.
fn chosen(first: usize) -> Vec<usize> {
    let count = FACTS.div_ceil(1_000);
    (0..count).map(|n| (first + n * 1_009) % FACTS).collect()
}

fn traffic(place: Place, now: OffsetDateTime, value: impl Fn(usize) -> i64) -> Traffic {
    Traffic {
        bucket: BUCKETS[place.row].to_owned(),
        hour: Some(timestamp(place.hour(now))),
        received_bytes: value(0),
        sent_bytes: value(1),
        read_requests: value(2),
        write_requests: value(3),
        ..Default::default()
    }
}

/// Writes what engines reported, as storage does; what is `lost` is in the totals alone.
async fn report(storage: &Db, accounts: &[Account], now: OffsetDateTime, lost: &BTreeSet<usize>) {
    let clock = Arc::new(SystemClock);
    let outbox = Outbox::new("stowage/storage", clock, Arc::new(SystemRandom));
    for (account, of) in accounts.iter().enumerate() {
        for event in 0..EVENTS_PER_ACCOUNT {
            let mut tx = storage.begin().await.expect("the database takes transactions");
            let mut message = UsageCollected { s3uid: of.s3uid.clone(), ..Default::default() };
            for row in 0..ROWS_PER_EVENT {
                let place = |kind| Place { account, event, row, kind };
                let number = |kind| {
                    ((account * EVENTS_PER_ACCOUNT + event) * ROWS_PER_EVENT + row) * FACTS_PER_ROW
                        + kind
                };
                let reported = traffic(place(0), now, |kind| place(kind).value());
                add_totals(&mut tx, &of.s3uid, &reported).await;
                let arrives = |kind| match lost.contains(&number(kind)) {
                    true => 0,
                    false => place(kind).value(),
                };
                message.traffic.push(traffic(place(0), now, arrives));
            }
            if account == SAMPLED {
                let sample = sample(event, now);
                note_sample(&mut tx, &of.s3uid, &sample).await;
                message.samples.extend((event != SAMPLE_LOST).then_some(sample));
            }
            let subject = format!("accounts/{}", of.s3uid);
            let kind = stowage_storage::USAGE_COLLECTED;
            outbox.push(&mut tx, kind, &subject, &message).await.expect("an event is written");
            tx.commit().await.expect("it is durable");
        }
    }
}

/// What a bucket stored in the hour of an event; by the newest it is gone.
fn sample(event: usize, now: OffsetDateTime) -> StorageSample {
    let place = Place { account: SAMPLED, event, row: 0, kind: 0 };
    StorageSample {
        bucket: "sampled".to_owned(),
        stored_bytes: if event == 0 { 0 } else { place.value() },
        object_count: 1,
        sample_time: Some(timestamp(place.hour(now) + time::Duration::minutes(20))),
        deleted: event == 0,
    }
}

async fn note_sample(tx: &mut Tx, s3uid: &str, sample: &StorageSample) {
    const SQL: &str = "INSERT INTO sample_sent (s3uid, hour, bucket, time, stored_bytes, \
        is_deleted) VALUES ($1, $2, $3, $4, $5, $6)";
    let time = from_timestamp(&sample.sample_time.expect("it has one")).expect("it is one");
    let hour = hour_of(time);
    let args = args![s3uid, hour, &sample.bucket, time, sample.stored_bytes, sample.deleted];
    tx.execute(SQL, args).await.expect("a sample is noted");
}

async fn add_totals(tx: &mut Tx, s3uid: &str, row: &Traffic) {
    const SQL: &str = "INSERT INTO traffic_total (location, s3uid, bucket, hour, received_bytes, \
        sent_bytes, read_requests, write_requests) VALUES ('NL', $1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (location, s3uid, bucket, hour) DO UPDATE SET \
        received_bytes = traffic_total.received_bytes + $4, \
        sent_bytes = traffic_total.sent_bytes + $5, \
        read_requests = traffic_total.read_requests + $6, \
        write_requests = traffic_total.write_requests + $7";
    let hour = from_timestamp(&row.hour.expect("it has one")).expect("it is one");
    let moved = (row.received_bytes, row.sent_bytes, row.read_requests, row.write_requests);
    let args = args![s3uid, &row.bucket, hour, moved.0, moved.1, moved.2, moved.3];
    tx.execute(SQL, args).await.expect("totals are written");
}

/// Tells facts again, as another source that does not know of the first.
async fn double(site: &Site, accounts: &[Account], now: OffsetDateTime, doubled: &[usize]) {
    let fact = |number: &usize| {
        let place = Place::of(*number);
        Fact {
            id: format!("again-{number}"),
            s3uid: accounts[place.account].s3uid.clone(),
            bucket: BUCKETS[place.row].to_owned(),
            time: Some(timestamp(place.hour(now))),
            kind: KINDS[place.kind].0.into(),
            value: place.value(),
            object_count: 0,
        }
    };
    let facts = doubled.iter().map(fact).collect();
    let message = RecordFactsRequest { source: "log/again".into(), facts, ..Default::default() };
    let mut client = FactServiceClient::new(site.as_admin());
    let answer = client.record_facts(futures_util::stream::iter([message])).await;
    let stored = answer.expect("facts are taken").into_inner().stored_count;
    assert_eq!(usize::try_from(stored).ok(), Some(doubled.len()));
}

async fn look(site: &Site, drifting_only: bool) -> Vec<AccountDrift> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            ListDriftRequest { drifting_only, page_size: 7, page_token, ..Default::default() };
        let page = DriftServiceClient::new(site.as_admin()).list_drift(request).await;
        let page = page.expect("accounts are compared").into_inner();
        found.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// What drifts: account, measure and difference.
fn named(found: &[AccountDrift]) -> BTreeMap<(String, DriftMeasure), i64> {
    let rows = found.iter().flat_map(|account| {
        let s3uid = account.account.trim_start_matches("accounts/").to_owned();
        account.rows.iter().map(move |row| (s3uid.clone(), row))
    });
    rows.filter(|(_, row)| row.is_drifting)
        .map(|(s3uid, row)| {
            let apart = row.meter_difference.map_or(0, |difference| difference.value);
            ((s3uid, row.measure()), apart)
        })
        .collect()
}

async fn admin(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program()).arg("admin").args(arguments).env_clear();
    command.env("STOWAGE_ADDR", format!("http://{}", site.gateway));
    command.env("STOWAGE_TOKEN", &site.admin_token);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the command can be waited for").expect("the command starts")
}

async fn accounts(site: &Site) -> Vec<Account> {
    let customer = site.customer("measured@example.com", "EUR").await;
    let plan_id = site.plans().await.0;
    let mut accounts = Vec::new();
    for n in 0..ACCOUNTS {
        let account = site.order(&customer.token, plan_id, &format!("drift-{n:02}")).await;
        let body = vec![7_u8; 1_000 + n].into();
        let put = account.s3().put_object().bucket(&account.bucket).key("a").body(body);
        put.send().await.expect("an object is written");
        accounts.push(account);
    }
    accounts
}

/// What must be found: account, measure and difference.
fn expected(
    accounts: &[Account],
    now: OffsetDateTime,
    (lost, doubled): (&[usize], &[usize]),
) -> BTreeMap<(String, DriftMeasure), i64> {
    let mut expected: BTreeMap<(String, DriftMeasure), i64> = BTreeMap::new();
    let signed = lost.iter().map(|n| (n, -1)).chain(doubled.iter().map(|n| (n, 1)));
    for (number, sign) in signed {
        let place = Place::of(*number);
        let key = (accounts[place.account].s3uid.clone(), KINDS[place.kind].1);
        *expected.entry(key).or_default() += sign * place.value();
    }
    let sampled = &accounts[SAMPLED].s3uid;
    let bytes = sample(SAMPLE_LOST, now).stored_bytes;
    expected.insert((sampled.clone(), DriftMeasure::SampledBytes), -bytes);
    expected.insert((sampled.clone(), DriftMeasure::SampledBuckets), -1);
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_doubled_facts_name_their_accounts_and_no_others() {
    let kit = Kit::start_with(|config| {
        let drift = &mut config.accounts.own.drift;
        (drift.first, drift.every_max) = (Duration::from_secs(1), Duration::from_secs(1));
    })
    .await;
    let site = &kit.site;
    let accounts = accounts(site).await;
    let now = SystemClock.now();
    let storage = kit.open_beside("storage", &stowage_storage::MIGRATOR).await;
    let (lost, doubled) = (chosen(123), chosen(2_500));
    report(&storage, &accounts, now, &lost.iter().copied().collect()).await;
    storage.close().await;
    double(site, &accounts, now, &doubled).await;
    kit.settle().await;

    let expected = expected(&accounts, now, (&lost, &doubled));
    let uids: BTreeSet<&String> = expected.keys().map(|(s3uid, _)| s3uid).collect();
    assert!(uids.len() >= 6 && uids.len() < ACCOUNTS, "{}", uids.len());
    assert!((FACTS / 1_000..=FACTS / 1_000 + 1).contains(&lost.len()), "0.1 %");

    let found = look(site, true).await;
    assert_eq!(named(&found), expected);
    for account in &found {
        for row in account.rows.iter().filter(|row| row.is_drifting) {
            // It is told where to look, and how old the figures are.
            assert!(row.hour_count >= 1 && !row.hours.is_empty(), "{row:#?}");
            let as_of = |figure: Option<stowage_proto::accounts::DriftFigure>| {
                figure.and_then(|figure| figure.as_of_time)
            };
            assert!(as_of(row.engine).is_some() && as_of(row.meter).is_some(), "{row:#?}");
        }
    }
    let all = look(site, false).await;
    assert_eq!((all.len(), named(&all)), (ACCOUNTS, expected.clone()));

    // The timer has named them as well.
    let names = i64::try_from(uids.len()).expect("a few");
    eventually("the timer names them", WITHIN, async || {
        let told = "SELECT count(*) FROM drift WHERE figures <> '' AND told_time IS NOT NULL";
        let count = kit.beside("accounts").count(told).await.map_err(|error| error.to_string())?;
        if count == names { Ok(()) } else { Err(format!("{count} of {names}")) }
    })
    .await;

    let printed = admin(site, &["drift", "--output", "json"]).await;
    assert_eq!(printed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(error.contains(&format!("{} accounts drift", uids.len())), "{error}");
    let rows: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("it is JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(expected.len()), "{rows}");
    let quiet = accounts.iter().find(|account| !uids.contains(&account.s3uid));
    let quiet = quiet.expect("some agree").s3uid.as_str();
    let printed = admin(site, &["drift", quiet]).await;
    let table = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert_eq!(printed.status.code(), Some(0), "{table}");
    assert!(table.contains("stored_bytes") && table.contains("sent_bytes"), "{table}");
    let unknown = admin(site, &["drift", &"0".repeat(32)]).await;
    assert_eq!(unknown.status.code(), Some(1), "a name that is mistyped is told");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sample_of_what_is_stored_is_found_and_writing_customers_are_left_alone() {
    let kit = Kit::start().await;
    let site = &kit.site;
    let accounts = accounts(site).await;
    kit.settle().await;
    // What is on its way is none.
    eventually("all arrives", WITHIN, async || match named(&look(site, true).await) {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{some:?}")),
    })
    .await;
    let metering = kit.open_beside("metering", &stowage_metering::MIGRATOR).await;
    let mut tx = metering.begin().await.expect("the database takes transactions");
    for sql in [
        "UPDATE bucket SET stored_bytes = stored_bytes - 1 WHERE s3uid = $1",
        "UPDATE account SET stored_bytes = stored_bytes - 1 WHERE s3uid = $1",
    ] {
        tx.execute(sql, args![&accounts[3].s3uid]).await.expect("it is changed");
    }
    tx.commit().await.expect("it is durable");
    metering.close().await;

    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = accounts[..2].iter().cloned().map(|account| {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            for n in 0_usize.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let (body, key) = (vec![1_u8; 50_000].into(), format!("k{}", n % 40));
                let put = account.s3().put_object().bucket(&account.bucket).key(key).body(body);
                put.send().await.expect("an object is written");
                let delete = account.s3().delete_object().bucket(&account.bucket);
                let key = format!("k{}", (n + 20) % 40);
                delete.key(key).send().await.expect("an object is deleted");
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    let expected = BTreeMap::from([((accounts[3].s3uid.clone(), DriftMeasure::StoredBytes), -1)]);
    for _ in 0..3 {
        assert_eq!(named(&look(site, true).await), expected);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for task in writing {
        task.await.expect("the client does not panic");
    }
    kit.stop().await;
}
