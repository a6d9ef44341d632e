//! What is forgotten, and when: samples that no late one needs any more, facts, and conflicts.

use std::time::Duration;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::fact::LATE_MAX;
use super::{Metering, Step, alert};
use crate::error::Error;
use crate::store;
use crate::store::fact::span_of;

/// Samples are kept for longer than they are taken late, since a late one has its whole day made
/// anew.
pub(super) const SAMPLES_KEPT: time::Duration = time::Duration::days(LATE_MAX.whole_days() + 2);
/// Rows forgotten per transaction, so that the writer is never held for long.
const FORGET_ROWS: i64 = 1000;
/// Time between two rounds of forgetting.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Spans for which there are partitions ahead of their time.
const SPANS_AHEAD: i64 = 2;

impl Metering {
    /// The task that forgets what nobody needs any more.
    pub(crate) fn forget_on(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let metering = self.clone();
        Box::pin(async move {
            let rounds = async {
                loop {
                    if let Err(error) = metering.forget_old().await {
                        tracing::warn!(?error, "old facts were not forgotten, next round will");
                    }
                    tokio::time::sleep(FORGET_EVERY).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(rounds).await;
        })
    }

    async fn forget_old(&self) -> Result<(), Error> {
        self.make_partitions().await?;
        self.forget_old_samples().await?;
        self.forget_old_facts().await?;
        self.forget_old_alerts().await?;
        Ok(())
    }

    /// Forgets alerts, in small transactions; returns how many.
    pub(crate) async fn forget_old_alerts(&self) -> Result<u64, Error> {
        let before = self.clock.now() - alert::KEPT;
        let mut forgotten = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let rows = store::alert::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            forgotten += rows;
            if rows < FORGET_ROWS.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }

    /// Prepares the tables of facts and of what they add to, and notes from when on all facts are
    /// kept. Before the first fact.
    pub(crate) async fn begin_facts(&self) -> Result<(), Error> {
        self.make_partitions().await?;
        store::sqlite::ensure(&self.db).await?;
        // Without it facts are taken all the same, if more slowly.
        if let Err(error) = store::room::ensure(&self.db).await {
            tracing::warn!(?error, "pages of tables get no room for rows that change");
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        // The first day no fact of which may have come before: facts run ahead a little.
        let start = match store::fact::has_past(&mut tx).await? {
            true => Step::Day.end_of(now + super::fact::AHEAD_MAX),
            false => OffsetDateTime::UNIX_EPOCH,
        };
        store::fact::start(&mut tx, start).await?;
        Ok(tx.commit().await?)
    }

    async fn make_partitions(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let spans = span_of(now - LATE_MAX)..=span_of(now) + SPANS_AHEAD;
        Ok(store::partition::ensure(&self.db, spans).await?)
    }

    /// The first moment whose facts are all kept still.
    pub(super) fn kept_since(&self) -> OffsetDateTime {
        self.clock.now() - self.facts_kept
    }

    /// Forgets samples, in small transactions; returns how many.
    pub(crate) async fn forget_old_samples(&self) -> Result<u64, Error> {
        let before = self.clock.now() - SAMPLES_KEPT;
        let mut forgotten = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let rows = store::sample::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            forgotten += rows;
            if rows < FORGET_ROWS.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }

    /// Forgets facts, conflicts of their time, and sources that are silent for as long; returns how
    /// many facts went row by row.
    pub(crate) async fn forget_old_facts(&self) -> Result<u64, Error> {
        let before = self.kept_since();
        let span = span_of(before);
        store::partition::drop_before(&self.db, span).await?;
        let mut forgotten = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let facts = store::fact::forget(&mut tx, span, FORGET_ROWS).await?;
            let conflicts = store::conflict::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            forgotten += facts;
            if facts.max(conflicts) < FORGET_ROWS.unsigned_abs() {
                break;
            }
        }
        let mut tx = self.db.begin().await?;
        store::fact::forget_sources(&mut tx, before).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
