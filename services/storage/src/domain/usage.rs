//! Collection of usage from engines.
//!
//! Invariant: the totals sent on, the cursor and the events are one transaction. A crash leaves
//! all of them or none, so nothing is counted twice and nothing is lost. Engines report absolute
//! totals, of which only what exceeds the stored ones is sent: reading an engine again from its
//! beginning sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_engine::{StorageFigures, TrafficTotals, UsageBatch, UsageCursor};
use stowage_types::{S3uid, name};
use time::OffsetDateTime;

use super::{Site, Storage, signed};
use crate::error::Error;
use crate::{events, store};

/// Metering takes facts for 35 days; what an engine reports of hours before this is dropped, so
/// that the totals of older hours need not be kept to tell what is new.
const TAKEN_DAYS: i64 = 45;
/// Totals are kept longer than hours are taken, so that no hour is taken whose total is gone.
pub(super) const KEPT_DAYS: i64 = 60;
/// Totals forgotten in one transaction.
const FORGET_ROWS: i64 = 1000;
/// Batches one call may take; a caller who finds more gets the rest with the timer.
pub(super) const BATCHES_MAX: usize = 1000;
/// Buckets sampled per event.
pub(super) const SAMPLE_PAGE: u32 = 500;

const COLLECTED: &str = "stowage_storage_collected_rows";

/// Absolute totals, or increments of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) read_requests: i64,
    pub(crate) write_requests: i64,
    pub(crate) refused_requests: i64,
}

/// What moved in an hour of one bucket since it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Increment {
    /// Empty for calls that name no bucket.
    pub(crate) bucket: String,
    pub(crate) hour: OffsetDateTime,
    pub(crate) moved: Totals,
}

/// What is told about one account at once.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) samples: Vec<StorageFigures>,
    pub(crate) traffic: Vec<Increment>,
}

/// What all buckets of an account store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) stored_bytes: u64,
    pub(crate) object_count: u64,
    /// When the engine was asked.
    pub(crate) collect_time: OffsetDateTime,
}

impl Totals {
    fn of(row: &TrafficTotals) -> Self {
        Self {
            received_bytes: signed(row.received_bytes),
            sent_bytes: signed(row.sent_bytes),
            read_requests: signed(row.read_requests),
            write_requests: signed(row.write_requests),
            refused_requests: signed(row.refused_requests),
        }
    }

    fn zip(self, other: Self, f: fn(i64, i64) -> i64) -> Self {
        Self {
            received_bytes: f(self.received_bytes, other.received_bytes),
            sent_bytes: f(self.sent_bytes, other.sent_bytes),
            read_requests: f(self.read_requests, other.read_requests),
            write_requests: f(self.write_requests, other.write_requests),
            refused_requests: f(self.refused_requests, other.refused_requests),
        }
    }

    /// The higher of each. An engine that lost unsaved counts in a crash reports less than
    /// before; what was sent stays sent.
    fn highest(self, other: Self) -> Self {
        self.zip(other, i64::max)
    }

    /// The sum of each.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    fn minus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }
}

impl Storage {
    /// Takes one batch of what changed at a location; `true` when more is waiting.
    pub(crate) async fn collect(&self, site: &Site) -> Result<bool, Error> {
        let _collecting = site.collecting.lock().await;
        let cursor = store::usage::cursor(&self.db, &site.code).await?;
        let batch = match site.engine.collect_usage(&cursor, self.config.collect_rows_max).await {
            Err(stowage_engine::Error::Invalid { why }) if cursor != UsageCursor::default() => {
                tracing::warn!(location = site.code, why, "engine refuses its usage cursor");
                self.restart(site, &cursor).await?;
                return Ok(true);
            }
            batch => batch?,
        };
        if batch.next == cursor && batch.storage.is_empty() && batch.traffic.is_empty() {
            return Ok(false);
        }
        let more = batch.more;
        self.take(site, &cursor, batch).await?;
        Ok(more)
    }

    /// Stores and sends on one batch, in one transaction.
    async fn take(
        &self,
        site: &Site,
        cursor: &UsageCursor,
        batch: UsageBatch,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        // The cursor first: on a database with many writers its row lock orders the replicas.
        if !store::usage::move_cursor(&mut tx, &site.code, cursor, &batch.next, now).await? {
            return Ok(());
        }
        let rows = batch.storage.len() + batch.traffic.len();
        let mut accounts: BTreeMap<S3uid, Collected> = BTreeMap::new();
        let moved = batch.traffic.iter().map(|row| &row.uid).collect::<BTreeSet<_>>();
        let count_from = store::account::count_from(&mut tx, moved.into_iter()).await?;
        for row in &batch.traffic {
            if row.hour < now - time::Duration::days(TAKEN_DAYS) {
                tracing::warn!(account = %row.uid, hour = %row.hour, "traffic too old is dropped");
            } else if count_from.get(row.uid.as_str()).is_some_and(|from| row.hour < *from) {
                // It moved before the account was ours, or in the hour in which it became ours.
            } else if let Some(increment) = advance(&mut tx, &site.code, row).await? {
                accounts.entry(row.uid.clone()).or_default().traffic.push(increment);
            }
        }
        let owners = batch.storage.iter().map(|figures| &figures.uid).collect::<BTreeSet<_>>();
        let elsewhere = store::account::elsewhere(&mut tx, &site.code, owners.into_iter()).await?;
        for figures in batch.storage {
            // What is stored twice while an account moves is counted where the account is; what
            // has moved is counted wherever it did.
            if elsewhere.iter().any(|uid| *uid == figures.uid.as_str()) {
                continue;
            }
            accounts.entry(figures.uid.clone()).or_default().samples.push(figures);
        }
        let mut sent = Vec::new();
        for (uid, collected) in accounts {
            sent.extend_from_slice(&collected.samples);
            self.push_event(&mut tx, &uid, collected).await?;
        }
        // Behind the events: whoever notes samples holds the outbox then, so that no two wait for
        // each other.
        store::sample_sent::put(&mut tx, &sent).await?;
        tx.commit().await?;
        metrics::counter!(COLLECTED, "location" => site.code.clone()).increment(rows as u64);
        Ok(())
    }

    /// Sends what was collected of one account.
    pub(super) async fn push(
        &self,
        tx: &mut Tx,
        uid: &S3uid,
        collected: Collected,
    ) -> Result<(), Error> {
        let samples = collected.samples.clone();
        self.push_event(tx, uid, collected).await?;
        store::sample_sent::put(tx, &samples).await?;
        Ok(())
    }

    async fn push_event(
        &self,
        tx: &mut Tx,
        uid: &S3uid,
        collected: Collected,
    ) -> Result<(), Error> {
        let message = events::usage_collected(uid, collected);
        let subject = name::account(uid);
        self.outbox.push(tx, events::USAGE_COLLECTED, &subject, &message).await?;
        Ok(())
    }

    /// Sends figures of buckets as they were seen at a time.
    pub(super) async fn push_samples(
        &self,
        tx: &mut Tx,
        uid: &S3uid,
        (page, sample_time): (Vec<stowage_engine::BucketInfo>, OffsetDateTime),
    ) -> Result<(), Error> {
        let sample = |info: stowage_engine::BucketInfo| StorageFigures {
            uid: uid.clone(),
            bucket: info.bucket.into(),
            stored_bytes: info.stored_bytes,
            object_count: info.object_count,
            sample_time,
            deleted: false,
        };
        let samples = page.into_iter().map(sample).collect();
        self.push(tx, uid, Collected { samples, traffic: Vec::new() }).await
    }

    /// Reads a location from the beginning: its engine does not know the cursor, since it was
    /// replaced or restored.
    async fn restart(&self, site: &Site, cursor: &UsageCursor) -> Result<(), Error> {
        let (start, now) = (UsageCursor::default(), self.clock.now());
        let mut tx = self.db.begin().await?;
        store::usage::move_cursor(&mut tx, &site.code, cursor, &start, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Asks for fresh figures of one account: all that waits at its location, and a sample of
    /// each of its buckets whether it changed or not.
    pub(crate) async fn collect_account(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
    ) -> Result<Stored, Error> {
        let used = self.visible_account(cx, uid).await?;
        let collect_time = self.clock.now();
        for _ in 0..BATCHES_MAX {
            if !self.collect(&used.site).await? {
                break;
            }
        }
        let mut after = None;
        loop {
            // The time is taken before the figures: a change in between is told again with a
            // later time, never with an earlier one.
            let sample_time = self.clock.now();
            let page = used.engine().list_buckets(uid, after.as_ref(), SAMPLE_PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.bucket.clone());
            let mut tx = self.db.begin().await?;
            self.push_samples(&mut tx, uid, (page, sample_time)).await?;
            tx.commit().await?;
        }
        let usage = used.engine().account_usage(uid).await?;
        let stowage_engine::AccountUsage { stored_bytes, object_count, .. } = usage;
        Ok(Stored { stored_bytes, object_count, collect_time })
    }

    /// Collects a location's usage for ever. A failing engine is asked less and less often.
    pub(crate) async fn collect_on(&self, site: &Site) {
        let every = self.config.collect_every();
        let mut pause = every;
        let mut is_failing = false;
        loop {
            match self.collect(site).await {
                Ok(true) => continue,
                Ok(false) => {
                    if is_failing {
                        tracing::info!(location = site.code, "usage is collected again");
                    }
                    (pause, is_failing) = (every, false);
                }
                Err(error) => {
                    if !is_failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, location = site.code, "usage is not collected");
                    }
                    is_failing = true;
                    pause = pause.saturating_mul(2).min(self.config.collect_back_off_max());
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Forgets totals and samples of hours that are taken no more.
    pub(super) async fn forget_totals(&self) -> Result<(), Error> {
        let before = self.clock.now() - time::Duration::days(KEPT_DAYS);
        loop {
            let mut tx = self.db.begin().await?;
            let rows = store::usage::forget_totals(&mut tx, before, FORGET_ROWS).await?;
            let samples = store::sample_sent::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            if rows.max(samples) < FORGET_ROWS.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

/// Raises the stored totals to the reported ones; answers by how much, if at all.
async fn advance(
    tx: &mut Tx,
    location: &str,
    row: &TrafficTotals,
) -> Result<Option<Increment>, Error> {
    let sent = store::usage::totals(tx, location, row).await?;
    let highest = sent.highest(Totals::of(row));
    if highest == sent {
        return Ok(None);
    }
    store::usage::set_totals(tx, location, row, highest).await?;
    let moved = highest.minus(sent);
    Ok(Some(Increment { bucket: row.bucket.clone(), hour: row.hour, moved }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(received_bytes: i64, sent_bytes: i64) -> Totals {
        let (read_requests, write_requests) = (1, 1);
        Totals { received_bytes, sent_bytes, read_requests, write_requests, refused_requests: 0 }
    }

    #[test]
    fn totals_never_fall() {
        let sent = totals(10, 20);
        let highest = sent.highest(totals(15, 5));
        assert_eq!(highest, totals(15, 20));
        let moved = highest.minus(sent);
        assert_eq!((moved.received_bytes, moved.sent_bytes, moved.read_requests), (5, 0, 0));
    }
}
