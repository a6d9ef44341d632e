//! The task that carries events from a role's outbox to the bus.
//!
//! Invariants: events are published in the order of their positions; an event is deleted only
//! after it was acknowledged or never (dead ones stay for a person to look at); an unavailable
//! consumer holds the relay, it never costs an event.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::{Db, Error, args};
use stowage_trace::Trace;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Bus, Event, Outbox, PublishError, trace};

const PUBLISHED: &str = "stowage_bus_published_events";
const DEAD: &str = "stowage_bus_dead_events";

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
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            page_rows: 256,
            refused_attempts_max: 5,
            back_off_min: Duration::from_millis(100),
            back_off_max: Duration::from_secs(5),
            fallback: Duration::from_secs(1),
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
    let relay =
        Relay { settings, db, bus, nudge: outbox.nudge(), source: outbox.source(), warned: None };
    Box::pin(async move {
        // Dropping a delivery half-way is a crash in small: the event stays and is sent again.
        let _: Option<()> = stop.run_until_cancelled(relay.run()).await;
    })
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

/// How a page went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The outbox is empty.
    Drained,
    /// All of a full page went out; there may be more.
    More,
    /// An event could not be delivered; those behind it wait.
    Held,
}

enum Delivery {
    Published,
    Dead,
    Held,
}

struct Relay {
    settings: RelaySettings,
    db: Db,
    bus: Bus,
    nudge: Arc<Notify>,
    source: &'static str,
    /// Position of the event whose failure was logged, so that a long outage logs once.
    warned: Option<i64>,
}

impl Relay {
    async fn run(mut self) {
        let mut pause = self.settings.back_off_min;
        loop {
            match self.page().await {
                Ok(Progress::More) => pause = self.settings.back_off_min,
                Ok(Progress::Drained) => {
                    pause = self.settings.back_off_min;
                    let nudged = self.nudge.notified();
                    // Running into the fallback is no failure: look again either way.
                    let _ = tokio::time::timeout(self.settings.fallback, nudged).await;
                }
                Ok(Progress::Held) => self.back_off(&mut pause).await,
                Err(error) => {
                    tracing::warn!(%error, event.source = self.source, "outbox is unavailable");
                    self.back_off(&mut pause).await;
                }
            }
        }
    }

    async fn back_off(&self, pause: &mut Duration) {
        tokio::time::sleep(*pause).await;
        *pause = pause.saturating_mul(2).min(self.settings.back_off_max);
    }

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
        let mut acknowledged = None;
        let mut progress = if is_full { Progress::More } else { Progress::Drained };
        let mut failure = None;
        for row in rows {
            let position = row.position;
            match self.deliver(row).await {
                Ok(Delivery::Published) => acknowledged = Some(position),
                Ok(Delivery::Dead) => {}
                Ok(Delivery::Held) => progress = Progress::Held,
                Err(error) => failure = Some(error),
            }
            if progress == Progress::Held || failure.is_some() {
                break;
            }
        }
        if let Some(position) = acknowledged {
            self.delete_until(position).await?;
        }
        failure.map_or(Ok(progress), Err)
    }

    async fn deliver(&mut self, row: Row) -> Result<Delivery, Error> {
        let (position, attempts) = (row.position, row.attempts + 1);
        let mut event = Event {
            id: row.id,
            source: row.source,
            kind: row.kind,
            subject: row.subject,
            time: row.time,
            data: row.data,
            trace: Trace { parent: row.traceparent, state: row.tracestate },
        };
        let error = match self.send(&mut event).await {
            Ok(()) => {
                metrics::counter!(PUBLISHED, "source" => self.source).increment(1);
                return Ok(Delivery::Published);
            }
            Err(error) => error,
        };
        if matches!(error, PublishError::Unavailable { .. }) {
            self.warn_once(position, &event, &error);
            return Ok(Delivery::Held);
        }
        let is_dead = attempts >= self.settings.refused_attempts_max;
        self.count_attempt(position, is_dead).await?;
        if !is_dead {
            self.warn_once(position, &event, &error);
            return Ok(Delivery::Held);
        }
        metrics::counter!(DEAD, "source" => self.source).increment(1);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            event.id = %event.id,
            event.kind = event.kind,
            event.subject = event.subject,
            "event was refused {attempts} times and is set aside as dead",
        );
        Ok(Delivery::Dead)
    }

    /// Publishes an event, within a span that what handles it is part of.
    async fn send(&self, event: &mut Event) -> Result<(), PublishError> {
        let span = trace::sending(event);
        if stowage_trace::is_on() {
            event.trace = span.trace();
        }
        let sent = span.run(self.bus.publish(event)).await;
        if let Err(error) = &sent {
            span.fail(match error {
                PublishError::Unavailable { .. } => "UNAVAILABLE",
                PublishError::Refused { .. } => "REFUSED",
            });
        }
        sent
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
    async fn delete_until(&self, position: i64) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.execute("DELETE FROM outbox WHERE position <= $1 AND dead = false", args![position])
            .await?;
        tx.commit().await
    }
}
