//! Of several replicas of a role, one relays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stowage_db::testing::Scratch;
use stowage_db::{Db, args};
use stowage_types::{SystemClock, SystemRandom};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Notify;

use super::consumer::{Running, effects, eventually, open, outbox, push_all, quick, subscription};
use crate::{BoxError, Bus, Event, Handler, RelaySettings, backlog};

fn shared(lease: Duration) -> RelaySettings {
    RelaySettings {
        is_exclusive: Some(false),
        lease,
        fallback: Duration::from_millis(10),
        ..quick()
    }
}

/// A replica's own bus: says who published what.
struct Told {
    by: &'static str,
    log: Arc<Mutex<Vec<(&'static str, String)>>>,
    /// Events it takes before it stops answering.
    left: AtomicUsize,
    hangs: Notify,
    go_on: Notify,
    /// Calls that were given up.
    dropped: AtomicUsize,
}

/// Counts a call that does not come to its end.
struct Watch<'t>(&'t Told);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Told {
    fn bus(self: &Arc<Self>) -> Bus {
        let bus = Bus::in_process();
        bus.subscribe(subscription("test", Arc::clone(self) as Arc<dyn Handler>));
        bus
    }
}

#[async_trait]
impl Handler for Told {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let left = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err() {
            self.hangs.notify_one();
            let watch = Watch(self);
            self.go_on.notified().await;
            std::mem::forget(watch);
        }
        self.log.lock().unwrap().push((self.by, event.subject.clone()));
        Ok(())
    }
}

struct Replicas {
    log: Arc<Mutex<Vec<(&'static str, String)>>>,
    _place: Scratch,
    db: Db,
}

impl Replicas {
    async fn new() -> Self {
        let place = Scratch::new().await;
        let db = open(&place).await;
        Self { log: Arc::default(), _place: place, db }
    }

    fn replica(&self, by: &'static str, left: usize) -> Arc<Told> {
        let (log, left) = (Arc::clone(&self.log), AtomicUsize::new(left));
        let (hangs, go_on, dropped) = (Notify::new(), Notify::new(), AtomicUsize::new(0));
        Arc::new(Told { by, log, left, hangs, go_on, dropped })
    }

    /// When the lease runs out.
    async fn until(&self) -> OffsetDateTime {
        let row: (OffsetDateTime,) =
            self.db.fetch_one("SELECT until FROM lease", args![]).await.unwrap();
        row.0
    }

    /// Gives the lease to somebody who never lets go.
    async fn take_away(&self, sql: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        let owner = stowage_types::new_id(&SystemClock, &SystemRandom);
        tx.execute(sql, args![owner, datetime!(9999-01-01 00:00 UTC)]).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn told(&self, by: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|told| told.0 == by).map(|told| told.1.clone()).collect()
    }

    async fn drained(&self) {
        eventually("the outbox drains", async || backlog(&self.db).await.unwrap().pending == 0)
            .await;
    }
}

#[tokio::test]
async fn one_of_two_relays_and_the_other_takes_over_at_once_when_it_stops() {
    let all = Replicas::new().await;
    let (outbox, lease) = (outbox(), Duration::from_secs(3600));
    let (one, two) = (all.replica("one", 1000), all.replica("two", 1000));
    let first = Running::start_with(shared(lease), &all.db, &outbox, &one.bus());
    let pushed = push_all(&all.db, &outbox, 20).await;
    all.drained().await;
    let second = Running::start_with(shared(lease), &all.db, &outbox, &two.bus());
    let more = push_all(&all.db, &outbox, 20).await;
    all.drained().await;
    assert_eq!(all.told("one"), [pushed.clone(), more].concat());
    assert_eq!(all.told("two"), [""; 0]);
    first.stop().await;
    let last = push_all(&all.db, &outbox, 20).await;
    all.drained().await;
    assert_eq!(all.told("two"), last, "an hour before the lease would have run out");
    second.stop().await;
    assert_eq!(effects(&all.db).await, [""; 0]);
}

#[tokio::test]
async fn a_relay_that_vanished_is_succeeded_when_its_lease_has_run_out() {
    let all = Replicas::new().await;
    let (outbox, lease) = (outbox(), Duration::from_millis(400));
    let pushed = push_all(&all.db, &outbox, 30).await;
    let (one, two) = (all.replica("one", 3), all.replica("two", 1000));
    let first = Running::start_with(shared(lease), &all.db, &outbox, &one.bus());
    one.hangs.notified().await;
    first.task.abort();
    let second = Running::start_with(shared(lease), &all.db, &outbox, &two.bus());
    all.drained().await;
    assert_eq!(all.told("one"), pushed[..3]);
    assert_eq!(all.told("two"), pushed, "none of what the first one published was deleted");
    second.stop().await;
}

#[tokio::test]
async fn a_page_may_take_longer_than_the_lease() {
    let all = Replicas::new().await;
    let (outbox, lease) = (outbox(), Duration::from_secs(3));
    let pushed = push_all(&all.db, &outbox, 5).await;
    let (one, two) = (all.replica("one", 2), all.replica("two", 1000));
    let first = Running::start_with(shared(lease), &all.db, &outbox, &one.bus());
    one.hangs.notified().await;
    let second = Running::start_with(shared(lease), &all.db, &outbox, &two.bus());
    let taken = all.until().await;
    eventually("it is renewed", async || all.until().await > taken + lease).await;
    one.left.store(1000, Ordering::SeqCst);
    one.go_on.notify_one();
    all.drained().await;
    assert_eq!(all.told("one"), pushed);
    assert_eq!(all.told("two"), [""; 0]);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_relay_that_lost_its_lease_stops_in_the_middle_of_a_page() {
    let all = Replicas::new().await;
    let (outbox, lease) = (outbox(), Duration::from_millis(200));
    let pushed = push_all(&all.db, &outbox, 5).await;
    let one = all.replica("one", 2);
    let running = Running::start_with(shared(lease), &all.db, &outbox, &one.bus());
    one.hangs.notified().await;
    all.take_away("UPDATE lease SET owner = $1, until = $2").await;
    eventually("it lets go", async || one.dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(all.told("one"), pushed[..2]);
    assert_eq!(backlog(&all.db).await.unwrap().pending, 5, "nothing of it counts as published");
    running.stop().await;
}

#[tokio::test]
async fn whoever_has_the_database_to_himself_needs_no_lease() {
    let all = Replicas::new().await;
    let outbox = outbox();
    all.take_away("INSERT INTO lease (name, owner, until) VALUES ('relay', $1, $2)").await;
    let pushed = push_all(&all.db, &outbox, 3).await;
    let one = all.replica("one", 1000);
    let settings = RelaySettings { is_exclusive: Some(true), ..quick() };
    let running = Running::start_with(settings, &all.db, &outbox, &one.bus());
    all.drained().await;
    assert_eq!(all.told("one"), pushed);
    running.stop().await;
}
