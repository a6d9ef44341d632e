//! What holds on either bus, by the same tests.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use async_trait::async_trait;
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_trace::Trace;
use stowage_types::{Clock, FakeClock, SystemRandom};
use time::OffsetDateTime;

use super::consumer::{
    Consumer, Happened, KIND, Running, arrive, drain, effects, event, eventually, open, outbox,
    push, push_all, subscription,
};
use super::wire::{Arm, Wire};
use crate::{BoxError, Event, Handler, backlog, first_time, inbox};

/// Makes one test of each for either bus; what needs the broker is in a module named `amqp`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Arm::InProcess).await;
            })*
        }

        mod amqp {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Arm::Amqp).await;
            })*
        }
    };
}

pub(super) use on_both;

on_both! {
    repeated_deliveries_take_effect_once,
    events_keep_their_order_over_several_pages,
    an_event_comes_whole,
    a_crash_between_publishing_and_deleting_changes_nothing,
    nothing_is_lost_or_reordered_while_a_consumer_is_away,
    a_refused_event_is_set_aside_and_the_rest_goes_on,
    what_was_not_committed_is_never_sent,
    events_pushed_at_once_while_the_relay_runs_all_arrive_once,
    an_event_without_a_consumer_counts_as_delivered,
}

async fn repeated_deliveries_take_effect_once(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let wire = Wire::new(arm);
    let running = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
    let (first, last) = (event("things/1", 1), event("things/2", 1));
    for event in [&first, &first, &first, &last] {
        running.bus.publish(event).await.unwrap();
    }
    arrive(&db, &[first.subject, last.subject]).await;
    running.stop().await;
    wire.end().await;
}

async fn events_keep_their_order_over_several_pages(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let pushed = push_all(&db, &outbox, 30).await;
    let running = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
    drain(&db, &outbox, &running.bus).await;
    arrive(&db, &pushed).await;
    running.stop().await;
    wire.end().await;
}

async fn an_event_comes_whole(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let mut sent = event("things/1", 7);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    sent.trace = Trace { parent: Some(parent), state: Some("other=1".to_owned()) };
    // What a database keeps of a time, and no more.
    sent.time = sent.time.replace_microsecond(123_456).unwrap();
    push(&db, &outbox, "things/2", 8).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let handler = Arc::new(Keeper(Arc::clone(&seen)));
    let running = wire.start([subscription("test", handler)]).await;
    running.bus.publish(&sent).await.unwrap();
    drain(&db, &outbox, &running.bus).await;
    eventually("both come", async || seen.lock().unwrap().len() == 2).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0], sent);
    assert_eq!((seen[1].source.as_str(), seen[1].kind.as_str()), ("stowage/test", KIND));
    assert_eq!(seen[1].subject, "things/2");
    assert_eq!(seen[1].message::<Happened>().unwrap().number, 8);
    running.stop().await;
    wire.end().await;
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

async fn a_crash_between_publishing_and_deleting_changes_nothing(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let pushed = push_all(&db, &outbox, 5).await;
    let consumer = Arc::new(Consumer { hangs_after: "things/0002", ..Consumer::new(&db) });
    let bus = wire.start([consumer.subscription()]).await;
    let running = Running::start(&db, &outbox, &bus.bus);
    consumer.hung.notified().await;
    running.stop().await;
    bus.stop().await;
    assert_eq!(effects(&db).await, pushed[..3], "three took effect");
    if arm == Arm::InProcess {
        assert_eq!(backlog(&db).await.unwrap().pending, 5, "and none was deleted");
    }
    drop(consumer);
    db.close().await;

    let db = open(&place).await;
    let bus = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
    drain(&db, &outbox, &bus.bus).await;
    arrive(&db, &pushed).await;
    bus.stop().await;
    wire.end().await;
}

async fn nothing_is_lost_or_reordered_while_a_consumer_is_away(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let pushed = push_all(&db, &outbox, 10).await;
    let consumer = Arc::new(Consumer { failures_left: AtomicU32::new(25), ..Consumer::new(&db) });
    let running = wire.start([consumer.subscription()]).await;
    drain(&db, &outbox, &running.bus).await;
    arrive(&db, &pushed).await;
    assert_eq!(backlog(&db).await.unwrap().dead, 0);
    running.stop().await;
    wire.end().await;
}

async fn a_refused_event_is_set_aside_and_the_rest_goes_on(arm: Arm) {
    for broken in [true, false] {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, wire) = (outbox(), Wire::new(arm));
        let mut pushed = push_all(&db, &outbox, 10).await;
        let mut consumer = Consumer::new(&db);
        if broken {
            consumer.panics_at = "things/0003";
        } else {
            consumer.refuses = "things/0003";
        }
        let running = wire.start([Arc::new(consumer).subscription()]).await;
        drain(&db, &outbox, &running.bus).await;
        pushed.remove(3);
        arrive(&db, &pushed).await;
        let dead = match arm {
            Arm::InProcess => backlog(&db).await.unwrap().dead,
            Arm::Amqp => i64::from(wire.get("dead").await.is_some()),
        };
        assert_eq!(dead, 1, "kept for a person to look at");
        running.stop().await;
        wire.end().await;
    }
}

async fn what_was_not_committed_is_never_sent(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let mut tx = db.begin().await.unwrap();
    outbox.push(&mut tx, KIND, "things/never", &Happened { number: 0 }).await.unwrap();
    drop(tx);
    push(&db, &outbox, "things/1", 1).await;
    let running = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
    drain(&db, &outbox, &running.bus).await;
    arrive(&db, &["things/1".to_owned()]).await;
    running.stop().await;
    wire.end().await;
}

async fn events_pushed_at_once_while_the_relay_runs_all_arrive_once(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let bus = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
    let running = Running::start(&db, &outbox, &bus.bus);
    let pushers: Vec<_> = (0..8)
        .map(|n| {
            let (db, outbox) = (db.clone(), outbox.clone());
            tokio::spawn(async move {
                for m in 0..10 {
                    push(&db, &outbox, &format!("things/{n}-{m}"), 1).await;
                }
            })
        })
        .collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
    running.stop().await;
    drain(&db, &outbox, &bus.bus).await;
    eventually("all take effect", async || effects(&db).await.len() >= 80).await;
    let mut effects = effects(&db).await;
    assert_eq!(effects.len(), 80);
    effects.sort();
    effects.dedup();
    assert_eq!(effects.len(), 80);
    bus.stop().await;
    wire.end().await;
}

async fn an_event_without_a_consumer_counts_as_delivered(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire) = (outbox(), Wire::new(arm));
    let mut tx = db.begin().await.unwrap();
    let kind = "stowage.test.unheard.v1";
    outbox.push(&mut tx, kind, "things/1", &Happened { number: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    let running = wire.start([]).await;
    drain(&db, &outbox, &running.bus).await;
    running.stop().await;
    wire.end().await;
}

#[tokio::test]
async fn the_inbox_forgets_after_forty_days() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let clock = FakeClock::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
    let mut event = event("things/1", 1);
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
