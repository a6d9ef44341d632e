//! The task that carries events from a role's outbox to the bus.
//!
//! Invariants: events are published in the order of their positions; an event is deleted only
//! after it was acknowledged or never (dead ones stay for a person to look at); an unavailable
//! consumer holds the relay, it never costs an event.
//!
//! Of several replicas of a role one relays, the one that has the lease `relay` in the role's
//! database: two at once would send the same events twice, and in no order. It stops publishing
//! when its lease ends, whatever it is waiting for; what it has published by then it may delete,
//! and what its successor publishes again the inboxes drop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::{Lease, Standing};
use stowage_db::{Db, Error, args};
use stowage_trace::Trace;
use stowage_types::Clock;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Bus, Event, Outbox, PublishError, Published};

const PUBLISHED: &str = "stowage_bus_published_events";
const DEAD: &str = "stowage_bus_dead_events";
/// Name of the lease.
const LEASE: &str = "relay";

/// Bounds of a relay.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Most events read at once. Default 256.
    pub page_rows: i64,
    /// How often a refused event is tried before it is set aside. Default 5.
    pub refused_attempts_max: i64,
    /// Pause after the first failure; it doubles with each further one. Default 100 ms.
    pub back_off_min: Duration,
    /// Longest pause. Default 5 s.
    pub back_off_max: Duration,
    /// How often the outbox is looked at when nobody nudges. Default 1 s.
    pub fallback: Duration,
    /// Whether no other process can have the database open. Then there is no other relay and no
    /// lease, and a restart goes on at once. Default `None`: what the database says.
    pub is_exclusive: Option<bool>,
    /// How long a relay that vanished keeps its successor waiting. Default 10 s.
    pub lease: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            page_rows: 256,
            refused_attempts_max: 5,
            back_off_min: Duration::from_millis(100),
            back_off_max: Duration::from_secs(5),
            fallback: Duration::from_secs(1),
            is_exclusive: None,
            lease: Duration::from_secs(10),
        }
    }
}

/// The relay of `outbox`, whose table is in `db`, with default settings. It ends after `stop`.
#[must_use]
pub fn relay(db: Db, outbox: &Outbox, bus: Bus, stop: CancellationToken) -> BoxFuture<'static, ()> {
    relay_with(RelaySettings::default(), db, outbox, bus, stop)
}

/// [`relay`] with other bounds.
#[must_use]
pub fn relay_with(
    settings: RelaySettings,
    db: Db,
    outbox: &Outbox,
    bus: Bus,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    let relay = Relay {
        is_exclusive: settings.is_exclusive.unwrap_or_else(|| db.is_exclusive()),
        lease: Lease::new(LEASE, outbox.new_id(), settings.lease),
        clock: outbox.clock(),
        nudge: outbox.nudge(),
        pages: Pages { settings, db, bus, source: outbox.source(), warned: None },
    };
    Box::pin(relay.run(stop))
}

#[derive(sqlx::FromRow)]
struct Row {
    position: i64,
    id: Uuid,
    source: String,
    #[sqlx(rename = "type")]
    kind: String,
    subject: String,
    time: OffsetDateTime,
    data: Vec<u8>,
    attempts: i64,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl Row {
    fn split(self) -> (Place, Event) {
        let place = Place { position: self.position, attempts: self.attempts };
        let event = Event {
            id: self.id,
            source: self.source,
            kind: self.kind,
            subject: self.subject,
            time: self.time,
            data: self.data,
            trace: Trace { parent: self.traceparent, state: self.tracestate },
        };
        (place, event)
    }
}

/// How a page went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The outbox is empty.
    Drained,
    /// All of a full page went out; there may be more.
    More,
    /// An event could not be delivered; those behind it wait.
    Held,
    /// Another process relays.
    Standby,
}

/// What becomes of an event that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// It is tried again, and those behind it wait.
    Held,
    /// Whoever refused it keeps it: it counts as taken.
    Kept,
    /// It is set aside in the outbox.
    Dead,
}

struct Relay {
    pages: Pages,
    is_exclusive: bool,
    lease: Lease,
    clock: Arc<dyn Clock>,
    nudge: Arc<Notify>,
}

/// What publishes, page by page.
struct Pages {
    settings: RelaySettings,
    db: Db,
    bus: Bus,
    source: &'static str,
    /// Position of the event whose failure was logged, so that a long outage logs once.
    warned: Option<i64>,
}

/// Where an event is in the outbox.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: i64,
    attempts: i64,
}

impl Relay {
    async fn run(mut self, stop: CancellationToken) {
        // Dropping a delivery half-way is a crash in small: the event stays and is sent again.
        let _: Option<()> = stop.run_until_cancelled(self.relay()).await;
        if !self.is_exclusive
            && let Err(error) = self.lease.release(&self.pages.db).await
        {
            let source = self.pages.source;
            tracing::warn!(%error, event.source = source, "the lease runs out by itself");
        }
    }

    async fn relay(&mut self) {
        let mut pause = self.pages.settings.back_off_min;
        loop {
            match self.turn().await {
                Ok(Progress::More) => pause = self.pages.settings.back_off_min,
                Ok(Progress::Drained) => {
                    pause = self.pages.settings.back_off_min;
                    let nudged = self.nudge.notified();
                    // Running into the fallback is no failure: look again either way.
                    let _ = tokio::time::timeout(self.pages.settings.fallback, nudged).await;
                }
                Ok(Progress::Standby) => tokio::time::sleep(self.pages.settings.fallback).await,
                Ok(Progress::Held) => self.back_off(&mut pause).await,
                Err(error) => {
                    let source = self.pages.source;
                    tracing::warn!(%error, event.source = source, "outbox is unavailable");
                    self.back_off(&mut pause).await;
                }
            }
        }
    }

    async fn back_off(&self, pause: &mut Duration) {
        tokio::time::sleep(*pause).await;
        *pause = pause.saturating_mul(2).min(self.pages.settings.back_off_max);
    }

    /// One page, if it is this relay's turn. The lease is renewed beside it, however long it takes.
    async fn turn(&mut self) -> Result<Progress, Error> {
        if self.is_exclusive {
            return self.pages.page().await;
        }
        let db = self.pages.db.clone();
        if self.lease.keep(&db, self.clock.now()).await? == Standing::Other {
            return Ok(Progress::Standby);
        }
        tokio::select! {
            biased;
            () = self.lease.hold(&db, || self.clock.now()) => Ok(Progress::Standby),
            progress = self.pages.page() => progress,
        }
    }
}

impl Pages {
    /// Publishes one page and deletes what was acknowledged, in one transaction for all of it.
    async fn page(&mut self) -> Result<Progress, Error> {
        let rows: Vec<Row> = self
            .db
            .fetch_all(
                "SELECT position, id, source, type, subject, time, data, attempts, traceparent, \
                 tracestate FROM outbox WHERE dead = false ORDER BY position LIMIT $1",
                args![self.settings.page_rows],
            )
            .await?;
        let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= self.settings.page_rows;
        let (places, events): (Vec<Place>, Vec<Event>) = rows.into_iter().map(Row::split).unzip();
        let mut done = 0;
        let mut acknowledged = None;
        while done < events.len() {
            let Published { count, failure } = self.bus.publish_all(&events[done..]).await;
            if count > 0 {
                done += count;
                acknowledged = Some(places[done - 1].position);
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                metrics::counter!(PUBLISHED, "source" => self.source).increment(count);
            }
            let Some(error) = failure else { continue };
            match self.failed(places[done], &events[done], &error).await {
                Ok(Failed::Dead) => done += 1,
                Ok(Failed::Kept) => {
                    acknowledged = Some(places[done].position);
                    done += 1;
                }
                held => {
                    self.delete_until(acknowledged).await?;
                    return held.map(|_| Progress::Held);
                }
            }
        }
        self.delete_until(acknowledged).await?;
        Ok(if is_full { Progress::More } else { Progress::Drained })
    }

    /// Counts a refusal. An event that was refused often enough is passed over from then on.
    async fn failed(
        &mut self,
        place: Place,
        event: &Event,
        error: &PublishError,
    ) -> Result<Failed, Error> {
        let PublishError::Refused(refusals) = error else {
            self.warn_once(place.position, event, error);
            return Ok(Failed::Held);
        };
        let attempts = place.attempts + 1;
        let is_last = attempts >= self.settings.refused_attempts_max;
        if is_last {
            let count = u32::try_from(attempts).unwrap_or(u32::MAX);
            match self.bus.set_aside(event, (refusals, count)).await {
                Ok(true) => return Ok(Failed::Kept),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = &*error, event.id = %event.id, "it cannot be kept now");
                    return Ok(Failed::Held);
                }
            }
        }
        self.count_attempt(place.position, is_last).await?;
        if !is_last {
            self.warn_once(place.position, event, error);
            return Ok(Failed::Held);
        }
        metrics::counter!(DEAD, "source" => self.source).increment(1);
        tracing::error!(
            error = error as &dyn std::error::Error,
            event.id = %event.id,
            event.kind = event.kind,
            event.subject = event.subject,
            "event was refused {attempts} times and is set aside as dead",
        );
        Ok(Failed::Dead)
    }

    fn warn_once(&mut self, position: i64, event: &Event, error: &PublishError) {
        if self.warned.replace(position) != Some(position) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                event.id = %event.id,
                event.kind = event.kind,
                "event could not be delivered, will be tried again",
            );
        }
    }

    async fn count_attempt(&self, position: i64, is_dead: bool) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.execute(
            "UPDATE outbox SET attempts = attempts + 1, dead = $2 WHERE position = $1",
            args![position, is_dead],
        )
        .await?;
        tx.commit().await
    }

    /// Positions become visible in order and were published in order, so everything up to the
    /// last acknowledged one is acknowledged, but for the dead.
    async fn delete_until(&self, position: Option<i64>) -> Result<(), Error> {
        let Some(position) = position else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        tx.execute("DELETE FROM outbox WHERE position <= $1 AND dead = false", args![position])
            .await?;
        tx.commit().await
    }
}
