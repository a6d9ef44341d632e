//! Events that are refused for good, kept and handed over again, on either bus.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_types::{Clock, FakeClock, SystemRandom};
use time::OffsetDateTime;
use uuid::Uuid;

use super::consumer::{
    Consumer, arrive, drain, effects, eventually, open, outbox, push_all, subscription,
};
use super::suite::on_both;
use super::wire::{Arm, Wire};
use crate::{
    BoxError, DeadLetter, DeadLetters, Event, Handler, LetterFilter, LetterStatus, Refused,
    ReplayError, backlog,
};

on_both! {
    a_refused_event_is_kept_and_takes_effect_when_its_cause_is_gone,
    an_event_that_cannot_be_kept_is_held,
}

/// What a consumer says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Refuses,
    NotNow,
    Takes,
}

/// A consumer with a mood.
struct Moody {
    inner: Consumer,
    mood: Mutex<Mood>,
}

const POISON: &str = "things/0003";

#[async_trait]
impl Handler for Moody {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Refuses if event.subject == POISON => {
                Err(Box::new(Refused { why: "it is\0 poison".to_owned() }))
            }
            Mood::NotNow if event.subject == POISON => Err("not now".into()),
            _ => self.inner.handle(event).await,
        }
    }
}

fn moody(db: &Db) -> Arc<Moody> {
    Arc::new(Moody { inner: Consumer::new(db), mood: Mutex::new(Mood::Refuses) })
}

fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000)))
}

fn letters(db: &Db, clock: &Arc<FakeClock>) -> DeadLetters {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    DeadLetters::new(db.clone(), clock, Arc::new(SystemRandom))
}

async fn all(letters: &DeadLetters) -> Vec<DeadLetter> {
    letters.list(&LetterFilter { max: 10, ..LetterFilter::default() }).await.unwrap()
}

async fn set_taken(db: &Db, letters: &DeadLetters, id: Uuid) -> Result<DeadLetter, ReplayError> {
    let mut tx = db.begin().await.unwrap();
    let letter = letters.set_taken(&mut tx, id).await?;
    tx.commit().await.unwrap();
    Ok(letter)
}

async fn a_refused_event_is_kept_and_takes_effect_when_its_cause_is_gone(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire, clock) = (outbox(), Wire::new(arm), clock());
    let mut pushed = push_all(&db, &outbox, 6).await;
    let (letters, consumer) = (letters(&db, &clock), moody(&db));
    let running = wire.start([letters.kept(subscription("test", consumer.clone()))]).await;
    drain(&db, &outbox, &running.bus).await;
    pushed.remove(3);
    arrive(&db, &pushed).await;
    assert_eq!(backlog(&db).await.unwrap().dead, 0, "the outbox keeps nothing");
    if arm == Arm::Amqp {
        assert!(wire.get("dead").await.is_none(), "nor does the broker");
    }
    let found = all(&letters).await;
    let [letter] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(letter.event.subject, POISON);
    assert_eq!((letter.status, letter.attempts), (LetterStatus::Waiting, 5));
    assert_eq!((letter.consumer.as_str(), letter.reason.as_str()), ("test", "it is poison"));

    let id = letter.id;
    for (mood, attempts) in [(Mood::Refuses, 6), (Mood::NotNow, 7)] {
        *consumer.mood.lock().unwrap() = mood;
        let error = letters.replay(id).await.unwrap_err();
        match mood {
            Mood::Refuses => assert!(matches!(error, ReplayError::Refused { .. }), "{error:?}"),
            _ => assert!(matches!(error, ReplayError::NotNow { .. }), "{error:?}"),
        }
        let letter = letters.find(id).await.unwrap();
        assert_eq!((letter.status, letter.attempts), (LetterStatus::Waiting, attempts));
    }
    *consumer.mood.lock().unwrap() = Mood::Takes;
    // The second is as after a crash before the letter was marked.
    for _ in 0..2 {
        assert_eq!(letters.replay(id).await.unwrap().event.subject, POISON);
    }
    pushed.push(POISON.to_owned());
    assert_eq!(effects(&db).await, pushed, "once, and behind the others");
    assert_eq!(set_taken(&db, &letters, id).await.unwrap().status, LetterStatus::Taken);
    assert!(matches!(letters.replay(id).await, Err(ReplayError::Taken)));
    assert!(matches!(set_taken(&db, &letters, id).await, Err(ReplayError::Taken)));
    running.stop().await;
    wire.end().await;
}

/// Refuses everything, and cannot keep it at first.
#[derive(Default)]
struct Full {
    tries: AtomicU32,
}

#[async_trait]
impl Handler for Full {
    async fn handle(&self, _: &Event) -> Result<(), BoxError> {
        Err(Box::new(Refused { why: "never".to_owned() }))
    }

    async fn keep_dead(&self, _: &Event, _: (&BoxError, u32)) -> Result<Option<Uuid>, BoxError> {
        match self.tries.fetch_add(1, Ordering::SeqCst) {
            0..3 => Err("there is no room".into()),
            _ => Ok(Some(Uuid::nil())),
        }
    }
}

async fn an_event_that_cannot_be_kept_is_held(arm: Arm) {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (outbox, wire, full) = (outbox(), Wire::new(arm), Arc::new(Full::default()));
    push_all(&db, &outbox, 2).await;
    let running = wire.start([subscription("test", full.clone())]).await;
    drain(&db, &outbox, &running.bus).await;
    eventually("both are kept", async || full.tries.load(Ordering::SeqCst) == 5).await;
    assert_eq!(backlog(&db).await.unwrap().dead, 0);
    running.stop().await;
    wire.end().await;
}

#[tokio::test]
async fn letters_are_found_by_status_and_consumer_page_by_page_and_forgotten_once_taken() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let clock = clock();
    let letters = letters(&db, &clock);
    let one = letters.kept(subscription("one", moody(&db)));
    let two = letters.kept(subscription("two", moody(&db)));
    let refused: BoxError = "no".into();
    let mut ids = Vec::new();
    for number in 0..5 {
        clock.advance(Duration::from_secs(1));
        let event = super::consumer::event(&format!("things/{number}"), number);
        for subscription in [&one, &two] {
            let kept = subscription.handler.keep_dead(&event, (&refused, 5)).await.unwrap();
            ids.push(kept.unwrap());
            let again = subscription.handler.keep_dead(&event, (&refused, 5)).await.unwrap();
            assert_eq!(again, kept, "the same event is the same letter");
        }
    }
    ids.sort();
    ids.reverse();
    let listed = async |filter: LetterFilter| {
        let found = letters.list(&filter).await.unwrap();
        found.into_iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    let page = LetterFilter { max: 4, ..LetterFilter::default() };
    assert_eq!(listed(page.clone()).await, ids[..4]);
    assert_eq!(listed(LetterFilter { before: Some(ids[3]), ..page.clone() }).await, ids[4..8]);
    let of_two = LetterFilter { consumer: Some("two".to_owned()), max: 10, ..page.clone() };
    assert_eq!(letters.list(&of_two).await.unwrap().len(), 5);
    assert_eq!(letters.find(ids[0]).await.unwrap().attempts, 10);
    set_taken(&db, &letters, ids[1]).await.unwrap();
    let taken = LetterFilter { status: Some(LetterStatus::Taken), ..page.clone() };
    assert_eq!(listed(taken).await, [ids[1]]);
    clock.advance(Duration::from_secs(29 * 86_400));
    assert_eq!(letters.round().await.unwrap(), 0);
    clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(letters.round().await.unwrap(), 1, "those that wait are never forgotten");
    assert!(matches!(letters.find(ids[1]).await, Err(ReplayError::NotFound)));
    assert!(matches!(letters.replay(Uuid::nil()).await, Err(ReplayError::NotFound)));
    let elsewhere = DeadLetters::new(db.clone(), clock.clone(), Arc::new(SystemRandom));
    let unknown = elsewhere.replay(ids[0]).await;
    assert!(matches!(unknown, Err(ReplayError::UnknownConsumer(_))), "{unknown:?}");
}

#[test]
fn the_migration_of_the_tests_holds_the_table_as_it_is_documented() {
    let migration = include_str!("../../tests/migrations/0002_dead_letter.sql");
    assert_eq!(migration, crate::DEAD_LETTER_SCHEMA);
}
