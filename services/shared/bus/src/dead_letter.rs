//! Events that a consumer has refused for good, kept in the database of its role.
//!
//! A letter is written before the event counts as taken, on either bus, so a refused event is
//! always in one place: in its queue or outbox, or here. An operator mends the cause and hands the
//! event over again; it goes through the handler that refused it, with the inbox in the
//! transaction of its effect, so that a second time changes nothing.
//!
//! What is lost is the order: events behind a refused one were taken before it.
//!
//! Rejected: reading letters out of a queue of the broker. It shows them by taking them away, knows
//! no page and no single one, and a bus within one process has no queues.

mod message;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use stowage_db::{Db, Error, Tx};
use stowage_types::{Clock, Random, new_id};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::deliver::{deliver, is_refusal};
use crate::trace::By;
use crate::{BoxError, Event, Handler, Subscription};

/// The table, as it is to be in a migration of each role that consumes.
pub const DEAD_LETTER_SCHEMA: &str = include_str!("dead_letter.sql");

const WAITING: &str = "stowage_bus_dead_letters_waiting";
/// Most letters that wait in one role. When there are as many, refused events are held and not
/// lost: something is wrong with all of them.
const WAITING_MAX: i64 = 100_000;
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 1000;
/// How long a letter that was taken can be looked at.
const KEPT: time::Duration = time::Duration::days(30);
/// Rows forgotten in one round.
const BATCH_ROWS: i64 = 1000;
/// Time between two counts.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// Whether a letter still waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterStatus {
    /// Its event has had no effect.
    Waiting,
    /// A later attempt took it.
    Taken,
}

/// An event that its consumer refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own id, not that of the event: two consumers may refuse one event.
    pub id: Uuid,
    /// Who refused it.
    pub consumer: String,
    /// What it refused.
    pub event: Event,
    /// Whether it waits.
    pub status: LetterStatus,
    /// Why the last attempt failed.
    pub reason: String,
    /// How often it was refused or could not be taken, from the first attempt.
    pub attempts: i64,
    /// When it was set aside.
    pub create_time: OffsetDateTime,
    /// When it was changed last.
    pub update_time: OffsetDateTime,
}

/// Which letters to list.
#[derive(Debug, Clone, Default)]
pub struct LetterFilter {
    /// Of this consumer.
    pub consumer: Option<String>,
    /// In this status.
    pub status: Option<LetterStatus>,
    /// Older than this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub max: usize,
}

/// Why an event was not handed over again, or not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such letter.
    #[error("dead letter not found")]
    NotFound,
    /// There is nothing to do.
    #[error("the event of the dead letter was taken already")]
    Taken,
    /// This program does not have its consumer.
    #[error("this version of the program has no consumer {0:?}")]
    UnknownConsumer(String),
    /// It was refused again; the letter says so.
    #[error("the event was refused again: {why}")]
    Refused {
        /// What the consumer said.
        why: String,
    },
    /// It could not be taken now; the letter says so.
    #[error("the event cannot be taken now: {why}")]
    NotNow {
        /// What the consumer said.
        why: String,
    },
    /// The database of the letters failed.
    #[error(transparent)]
    Db(#[from] Error),
}

/// The dead letters of one role. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Not held: a handler may well hold what holds this. The bus has them.
    handlers: RwLock<BTreeMap<&'static str, Weak<dyn Handler>>>,
}

impl DeadLetters {
    /// Letters in `db`, which has the table of [`DEAD_LETTER_SCHEMA`].
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self(Arc::new(Inner { db, clock, random, handlers: RwLock::default() }))
    }

    /// The same subscription, whose refused events are kept here and can be handed over again.
    #[must_use]
    pub fn kept(&self, subscription: Subscription) -> Subscription {
        let Subscription { consumer, kinds, audience, handler } = subscription;
        let mut handlers = self.0.handlers.write().unwrap_or_else(PoisonError::into_inner);
        handlers.insert(consumer, Arc::downgrade(&handler));
        let keeper = Keeper { letters: self.clone(), consumer, handler };
        Subscription { consumer, kinds, audience, handler: Arc::new(keeper) }
    }

    /// Letters, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, Error> {
        store::list(&self.0.db, filter).await
    }

    /// One letter.
    ///
    /// # Errors
    /// [`ReplayError::NotFound`], [`ReplayError::Db`]
    pub async fn find(&self, id: Uuid) -> Result<DeadLetter, ReplayError> {
        store::find(&self.0.db, id).await?.ok_or(ReplayError::NotFound)
    }

    /// Hands the event to its consumer once more. When this returns it has taken effect; the letter
    /// is marked by [`Self::set_taken`]. In between a second attempt does no harm.
    ///
    /// # Errors
    /// See [`ReplayError`]. A failed attempt is written into the letter.
    pub async fn replay(&self, id: Uuid) -> Result<DeadLetter, ReplayError> {
        let letter = self.find(id).await?;
        if letter.status == LetterStatus::Taken {
            return Err(ReplayError::Taken);
        }
        let handler = {
            let handlers = self.0.handlers.read().unwrap_or_else(PoisonError::into_inner);
            handlers.get(letter.consumer.as_str()).and_then(Weak::upgrade)
        };
        let handler =
            handler.ok_or_else(|| ReplayError::UnknownConsumer(letter.consumer.clone()))?;
        let to = (letter.consumer.as_str(), &*handler);
        let Err(error) = deliver(to, &letter.event, By::Process).await else { return Ok(letter) };
        let why = reason_of(&error);
        let mut tx = self.0.db.begin().await?;
        store::set_failed(&mut tx, id, (&why, self.0.clock.now())).await?;
        tx.commit().await?;
        Err(match is_refusal(&error) {
            true => ReplayError::Refused { why },
            false => ReplayError::NotNow { why },
        })
    }

    /// Marks a letter as taken in the caller's transaction.
    ///
    /// # Errors
    /// [`ReplayError::Taken`]: another has marked it; [`ReplayError::Db`]
    pub async fn set_taken(&self, tx: &mut Tx, id: Uuid) -> Result<DeadLetter, ReplayError> {
        store::set_taken(tx, id, self.0.clock.now()).await?.ok_or(ReplayError::Taken)
    }

    /// The task that counts the letters that wait and forgets old ones that were taken, until
    /// `stop`.
    #[must_use]
    pub fn watch(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let letters = self.clone();
        Box::pin(async move {
            let rounds = async {
                loop {
                    if let Err(error) = letters.round().await {
                        tracing::warn!(%error, "dead letters were not counted; they will be");
                    }
                    tokio::time::sleep(COUNT_EVERY).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(rounds).await;
        })
    }

    /// One round of [`Self::watch`]; answers how many letters were forgotten.
    pub(crate) async fn round(&self) -> Result<u64, Error> {
        let counts = store::count_waiting(&self.0.db).await?;
        let consumers: Vec<&'static str> = {
            let handlers = self.0.handlers.read().unwrap_or_else(PoisonError::into_inner);
            handlers.keys().copied().collect()
        };
        for consumer in consumers {
            let count = counts.iter().find(|(of, _)| of == consumer).map_or(0, |(_, n)| *n);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!(WAITING, "consumer" => consumer).set(f64::from(count));
        }
        let mut tx = self.0.db.begin().await?;
        let forgotten = store::forget(&mut tx, self.0.clock.now() - KEPT, BATCH_ROWS).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    /// Writes a letter; its id. An event that was set aside before keeps its letter.
    async fn keep(
        &self,
        consumer: &str,
        event: &Event,
        (error, attempts): (&BoxError, u32),
    ) -> Result<Uuid, BoxError> {
        let counts = store::count_waiting(&self.0.db).await?;
        if counts.iter().map(|(_, count)| count).sum::<i64>() >= WAITING_MAX {
            return Err(format!("{WAITING_MAX} dead letters wait already").into());
        }
        let now = self.0.clock.now();
        let letter = DeadLetter {
            id: new_id(&*self.0.clock, &*self.0.random),
            consumer: consumer.to_owned(),
            event: event.clone(),
            status: LetterStatus::Waiting,
            reason: reason_of(error),
            attempts: attempts.into(),
            create_time: now,
            update_time: now,
        };
        let mut tx = self.0.db.begin().await?;
        let id = store::insert(&mut tx, &letter).await?;
        tx.commit().await?;
        Ok(id)
    }
}

/// What a consumer said, as a database keeps it.
fn reason_of(error: &BoxError) -> String {
    let text = error.to_string();
    text.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect()
}

/// A handler whose refused events are kept.
struct Keeper {
    letters: DeadLetters,
    consumer: &'static str,
    handler: Arc<dyn Handler>,
}

#[async_trait]
impl Handler for Keeper {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        self.handler.handle(event).await
    }

    async fn missed(&self) {
        self.handler.missed().await;
    }

    async fn keep_dead(
        &self,
        event: &Event,
        refused: (&BoxError, u32),
    ) -> Result<Option<Uuid>, BoxError> {
        self.letters.keep(self.consumer, event, refused).await.map(Some)
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadLetters")
    }
}
