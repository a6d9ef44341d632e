//! The promises of this crate, on a real database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stowage_db::testing::Scratch;
use stowage_db::{Db, args, next_id};
use stowage_types::{Clock, FakeClock, SystemClock, SystemRandom};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    BoxError, Bus, Event, Handler, Outbox, Refused, RelaySettings, Subscription, backlog,
    first_time, inbox, relay_with,
};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./tests/migrations");
const KIND: &str = "stowage.test.happened.v1";

/// A payload, so that the tests need no contract.
#[derive(Clone, PartialEq, prost::Message)]
struct Happened {
    #[prost(int64, tag = "1")]
    number: i64,
}

/// A consumer with an effect in the same database, and faults on demand.
struct Consumer {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Calls still to be failed as "not now".
    failures_left: AtomicU32,
    /// Subject that is refused.
    refuses: &'static str,
    /// Subject whose handling panics.
    panics_at: &'static str,
    /// Subject after whose effect the handler never answers.
    hangs_after: &'static str,
    hung: Notify,
}

impl Consumer {
    fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            clock: Arc::new(SystemClock),
            failures_left: AtomicU32::new(0),
            refuses: "",
            panics_at: "",
            hangs_after: "",
            hung: Notify::new(),
        }
    }

    fn bus(self: &Arc<Self>) -> Bus {
        let bus = Bus::in_process();
        let handler = Arc::clone(self) as Arc<dyn Handler>;
        bus.subscribe(Subscription { consumer: "test", kinds: &[KIND], handler });
        bus
    }
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let fails = self
            .failures_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err("not now".into());
        }
        assert_ne!(event.subject, self.panics_at, "told to panic");
        if event.subject == self.refuses {
            return Err(Box::new(Refused { why: "told to refuse".to_owned() }));
        }
        let mut tx = self.db.begin().await?;
        if first_time(&mut tx, "test", event, &*self.clock).await? {
            let position = next_id(&mut tx, "effect").await?;
            tx.execute(
                "INSERT INTO effect (position, subject) VALUES ($1, $2)",
                args![position, event.subject.as_str()],
            )
            .await?;
        }
        tx.commit().await?;
        if event.subject == self.hangs_after {
            self.hung.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

async fn open(place: &Scratch) -> Db {
    place.open("bus", &MIGRATOR).await.unwrap()
}

fn outbox() -> Outbox {
    Outbox::new("stowage/test", Arc::new(SystemClock), Arc::new(SystemRandom))
}

async fn push(db: &Db, outbox: &Outbox, subject: &str) {
    let mut tx = db.begin().await.unwrap();
    outbox.push(&mut tx, KIND, subject, &Happened { number: 7 }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn push_all(db: &Db, outbox: &Outbox, count: usize) -> Vec<String> {
    let subjects: Vec<String> = (0..count).map(|n| format!("things/{n:04}")).collect();
    for subject in &subjects {
        push(db, outbox, subject).await;
    }
    subjects
}

async fn effects(db: &Db) -> Vec<String> {
    let rows: Vec<(String,)> =
        db.fetch_all("SELECT subject FROM effect ORDER BY position", args![]).await.unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

fn quick() -> RelaySettings {
    RelaySettings {
        page_rows: 7,
        back_off_min: Duration::from_millis(1),
        back_off_max: Duration::from_millis(4),
        ..RelaySettings::default()
    }
}

/// A relay that runs until it is dropped.
struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(db: &Db, outbox: &Outbox, bus: &Bus) -> Self {
        let stop = CancellationToken::new();
        let relay = relay_with(quick(), db.clone(), outbox, bus.clone(), stop.clone());
        Self { stop, task: tokio::spawn(relay) }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Runs the relay until nothing is pending.
async fn drain(db: &Db, outbox: &Outbox, bus: &Bus) {
    let running = Running::start(db, outbox, bus);
    tokio::time::timeout(Duration::from_secs(30), async {
        while backlog(db).await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the outbox drains");
    running.stop().await;
}

#[tokio::test]
async fn repeated_deliveries_take_effect_once() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let bus = Arc::new(Consumer::new(&db)).bus();
    let clock = SystemClock;
    let event = Event {
        id: stowage_types::new_id(&clock, &SystemRandom),
        source: "stowage/test".to_owned(),
        kind: KIND.to_owned(),
        subject: "things/1".to_owned(),
        time: clock.now(),
        data: Vec::new(),
        trace: Default::default(),
    };
    for _ in 0..3 {
        bus.publish(&event).await.unwrap();
    }
    assert_eq!(effects(&db).await, ["things/1"]);
}

#[tokio::test]
async fn events_keep_their_order_over_several_pages() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    let pushed = push_all(&db, &outbox, 30).await;
    drain(&db, &outbox, &Arc::new(Consumer::new(&db)).bus()).await;
    assert_eq!(effects(&db).await, pushed);
}

#[tokio::test]
async fn an_event_comes_whole() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    push(&db, &outbox, "things/1").await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let bus = Bus::in_process();
    let handler = Arc::new(Keeper(Arc::clone(&seen)));
    bus.subscribe(Subscription { consumer: "keeper", kinds: &[KIND], handler });
    drain(&db, &outbox, &bus).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].source.as_str(), seen[0].kind.as_str()), ("stowage/test", KIND));
    assert_eq!(seen[0].subject, "things/1");
    assert_eq!(seen[0].message::<Happened>().unwrap().number, 7);
}

/// Keeps what it gets.
struct Keeper(Arc<std::sync::Mutex<Vec<Event>>>);

#[async_trait]
impl Handler for Keeper {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[tokio::test]
async fn a_crash_between_publishing_and_deleting_changes_nothing() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    let pushed = push_all(&db, &outbox, 5).await;
    let consumer = Arc::new(Consumer { hangs_after: "things/0002", ..Consumer::new(&db) });
    let running = Running::start(&db, &outbox, &consumer.bus());
    consumer.hung.notified().await;
    running.stop().await;
    assert_eq!(effects(&db).await, pushed[..3], "three took effect");
    assert_eq!(backlog(&db).await.unwrap().pending, 5, "and none was deleted");
    drop(consumer);
    db.close().await;

    let db = open(&place).await;
    drain(&db, &outbox, &Arc::new(Consumer::new(&db)).bus()).await;
    assert_eq!(effects(&db).await, pushed);
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_while_a_consumer_is_away() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    let pushed = push_all(&db, &outbox, 10).await;
    let consumer = Arc::new(Consumer { failures_left: AtomicU32::new(25), ..Consumer::new(&db) });
    drain(&db, &outbox, &consumer.bus()).await;
    assert_eq!(effects(&db).await, pushed);
    assert_eq!(backlog(&db).await.unwrap().dead, 0);
}

#[tokio::test]
async fn a_refused_event_is_set_aside_and_the_rest_goes_on() {
    for broken in [true, false] {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let outbox = outbox();
        let mut pushed = push_all(&db, &outbox, 10).await;
        let mut consumer = Consumer::new(&db);
        if broken {
            consumer.panics_at = "things/0003";
        } else {
            consumer.refuses = "things/0003";
        }
        drain(&db, &outbox, &Arc::new(consumer).bus()).await;
        pushed.remove(3);
        assert_eq!(effects(&db).await, pushed);
        assert_eq!(backlog(&db).await.unwrap().dead, 1, "kept for a person to look at");
    }
}

#[tokio::test]
async fn what_was_not_committed_is_never_sent() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    let mut tx = db.begin().await.unwrap();
    outbox.push(&mut tx, KIND, "things/never", &Happened { number: 0 }).await.unwrap();
    drop(tx);
    push(&db, &outbox, "things/1").await;
    drain(&db, &outbox, &Arc::new(Consumer::new(&db)).bus()).await;
    assert_eq!(effects(&db).await, ["things/1"]);
}

#[tokio::test]
async fn events_pushed_at_once_while_the_relay_runs_all_arrive_once() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    let bus = Arc::new(Consumer::new(&db)).bus();
    let running = Running::start(&db, &outbox, &bus);
    let pushers: Vec<_> = (0..8)
        .map(|n| {
            let (db, outbox) = (db.clone(), outbox.clone());
            tokio::spawn(async move {
                for m in 0..10 {
                    push(&db, &outbox, &format!("things/{n}-{m}")).await;
                }
            })
        })
        .collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
    running.stop().await;
    drain(&db, &outbox, &bus).await;
    let mut effects = effects(&db).await;
    assert_eq!(effects.len(), 80);
    effects.sort();
    effects.dedup();
    assert_eq!(effects.len(), 80);
}

#[tokio::test]
async fn an_event_without_a_consumer_counts_as_delivered() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let outbox = outbox();
    push(&db, &outbox, "things/1").await;
    drain(&db, &outbox, &Bus::in_process()).await;
}

#[tokio::test]
async fn the_inbox_forgets_after_forty_days() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let clock = FakeClock::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
    let mut event = Event {
        id: stowage_types::new_id(&clock, &SystemRandom),
        source: "stowage/test".to_owned(),
        kind: KIND.to_owned(),
        subject: "things/1".to_owned(),
        time: clock.now(),
        data: Vec::new(),
        trace: Default::default(),
    };
    assert!(record(&db, &event, &clock).await);
    assert!(!record(&db, &event, &clock).await);
    clock.advance(Duration::from_secs(39 * 86_400));
    assert_eq!(inbox::forget_old(&db, &clock).await.unwrap(), 0);
    let old = event.id;
    event.id = stowage_types::new_id(&clock, &SystemRandom);
    assert!(record(&db, &event, &clock).await);
    clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(inbox::forget_old(&db, &clock).await.unwrap(), 1);
    assert!(!record(&db, &event, &clock).await, "the younger is remembered");
    event.id = old;
    assert!(record(&db, &event, &clock).await, "the older is forgotten");
}

async fn record(db: &Db, event: &Event, clock: &dyn Clock) -> bool {
    let mut tx = db.begin().await.unwrap();
    let first = first_time(&mut tx, "test", event, clock).await.unwrap();
    tx.commit().await.unwrap();
    first
}
