//! A consumer whose effect can be counted, its outbox, and its relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stowage_db::testing::Scratch;
use stowage_db::{Db, args, next_id};
use stowage_types::{Clock, SystemClock, SystemRandom};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    Audience, BoxError, Bus, Event, Handler, Outbox, Refused, RelaySettings, Subscription, backlog,
    first_time, relay_with,
};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./tests/migrations");
pub(super) const KIND: &str = "stowage.test.happened.v1";
/// How long what happens by itself may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A payload, so that the tests need no contract.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Happened {
    #[prost(int64, tag = "1")]
    pub(super) number: i64,
}

/// A consumer with an effect in the same database, and faults on demand.
pub(super) struct Consumer {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    /// Calls still to be failed as "not now".
    pub(super) failures_left: AtomicU32,
    /// Every so many calls one fails as "not now"; 0: none.
    pub(super) fails_every: u32,
    pub(super) calls: AtomicU32,
    /// Subject that is refused.
    pub(super) refuses: &'static str,
    /// Subject whose handling panics.
    pub(super) panics_at: &'static str,
    /// Subject after whose effect the handler never answers.
    pub(super) hangs_after: &'static str,
    pub(super) hung: Notify,
}

impl Consumer {
    pub(super) fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            clock: Arc::new(SystemClock),
            failures_left: AtomicU32::new(0),
            fails_every: 0,
            calls: AtomicU32::new(0),
            refuses: "",
            panics_at: "",
            hangs_after: "",
            hung: Notify::new(),
        }
    }

    pub(super) fn subscription(self: &Arc<Self>) -> Subscription {
        subscription("test", Arc::clone(self) as Arc<dyn Handler>)
    }

    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let left = |left: u32| left.checked_sub(1);
        self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
            || (self.fails_every > 0 && call.is_multiple_of(self.fails_every))
    }
}

/// A subscription to the one kind of event.
pub(super) fn subscription(consumer: &'static str, handler: Arc<dyn Handler>) -> Subscription {
    Subscription { consumer, kinds: &[KIND], audience: Audience::OneReplica, handler }
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        if self.fails() {
            return Err("not now".into());
        }
        assert_ne!(event.subject, self.panics_at, "told to panic");
        if event.subject == self.refuses {
            return Err(Box::new(Refused { why: "told to refuse".to_owned() }));
        }
        let mut tx = self.db.begin().await?;
        if first_time(&mut tx, "test", event, &*self.clock).await? {
            let position = next_id(&mut tx, "effect").await?;
            let number = event.message::<Happened>()?.number;
            tx.execute(
                "INSERT INTO effect (position, subject, number) VALUES ($1, $2, $3)",
                args![position, event.subject.as_str(), number],
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

pub(super) async fn open(place: &Scratch) -> Db {
    place.open("bus", &MIGRATOR).await.unwrap()
}

pub(super) fn outbox() -> Outbox {
    Outbox::new("stowage/test", Arc::new(SystemClock), Arc::new(SystemRandom))
}

/// An event as an outbox makes it.
pub(super) fn event(subject: &str, number: i64) -> Event {
    Event {
        id: stowage_types::new_id(&SystemClock, &SystemRandom),
        source: "stowage/test".to_owned(),
        kind: KIND.to_owned(),
        subject: subject.to_owned(),
        time: SystemClock.now(),
        data: prost::Message::encode_to_vec(&Happened { number }),
    }
}

pub(super) async fn push(db: &Db, outbox: &Outbox, subject: &str, number: i64) {
    let mut tx = db.begin().await.unwrap();
    outbox.push(&mut tx, KIND, subject, &Happened { number }).await.unwrap();
    tx.commit().await.unwrap();
}

/// Pushes events of as many subjects; returns these.
pub(super) async fn push_all(db: &Db, outbox: &Outbox, count: usize) -> Vec<String> {
    let subjects: Vec<String> = (0..count).map(|n| format!("things/{n:04}")).collect();
    for subject in &subjects {
        push(db, outbox, subject, 7).await;
    }
    subjects
}

/// Subjects of the effects, in their order.
pub(super) async fn effects(db: &Db) -> Vec<String> {
    numbered(db).await.into_iter().map(|(subject, _)| subject).collect()
}

/// The effects, in their order.
pub(super) async fn numbered(db: &Db) -> Vec<(String, i64)> {
    let sql = "SELECT subject, number FROM effect ORDER BY position";
    db.fetch_all(sql, args![]).await.unwrap()
}

/// Waits until all have taken effect, and that they did so once and in this order.
pub(super) async fn arrive(db: &Db, expected: &[String]) {
    eventually("all take effect", async || effects(db).await.len() >= expected.len()).await;
    assert_eq!(effects(db).await, expected);
}

/// Looks until it is so.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, looking).await.is_ok(), "not in time: {what}");
}

pub(super) fn quick() -> RelaySettings {
    RelaySettings {
        page_rows: 7,
        back_off_min: Duration::from_millis(1),
        back_off_max: Duration::from_millis(4),
        ..RelaySettings::default()
    }
}

/// A relay that runs until it is stopped.
pub(super) struct Running {
    stop: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) fn start(db: &Db, outbox: &Outbox, bus: &Bus) -> Self {
        Self::start_with(quick(), db, outbox, bus)
    }

    pub(super) fn start_with(settings: RelaySettings, db: &Db, outbox: &Outbox, bus: &Bus) -> Self {
        let stop = CancellationToken::new();
        let relay = relay_with(settings, db.clone(), outbox, bus.clone(), stop.clone());
        Self { stop, task: tokio::spawn(relay) }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Runs the relay until nothing is pending.
pub(super) async fn drain(db: &Db, outbox: &Outbox, bus: &Bus) {
    let running = Running::start(db, outbox, bus);
    eventually("the outbox drains", async || backlog(db).await.unwrap().pending == 0).await;
    running.stop().await;
}
