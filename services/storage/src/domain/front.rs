//! Counts of metering fronts on their way to metering.
//!
//! Invariant: the number of a batch, the totals and the events are one transaction, so that a batch
//! whose commit was unclear is written again without counting twice. Every process has a front and
//! numbers of its own; their counts add.

use std::collections::BTreeMap;
use std::time::Duration;

use stowage_storage_front::{Batch, Counts, Moved};
use stowage_types::S3uid;

use super::usage::{Collected, Increment, KEPT_DAYS, Totals};
use super::{Storage, signed};
use crate::error::Error;
use crate::store;

/// How often counts are written: what a process that is killed loses at most.
const EVERY: Duration = Duration::from_secs(1);
/// Longest pause while the database is away.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Totals {
    fn moved(moved: Moved) -> Self {
        Self {
            received_bytes: signed(moved.received_bytes),
            sent_bytes: signed(moved.sent_bytes),
            read_requests: signed(moved.read_requests),
            write_requests: signed(moved.write_requests),
            // A refused request is nobody's: its key is not proven.
            refused_requests: 0,
        }
    }
}

impl Storage {
    /// Writes what a location's front has counted, for ever.
    pub(crate) async fn write_counts_on(&self, counts: &Counts) {
        let mut pause = EVERY;
        loop {
            counts.due(pause).await;
            counts.settle().await;
            match self.write_counts(counts).await {
                Ok(()) => pause = EVERY,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    let location = &**counts.location();
                    tracing::warn!(error, location, "counts are not written; they wait");
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn write_counts(&self, counts: &Counts) -> Result<(), Error> {
        while let Some(batch) = counts.next() {
            self.write_batch(counts.location(), &batch).await?;
            counts.written(&batch);
        }
        Ok(())
    }

    /// Stores and sends on one batch, in one transaction. One that is stored already is not again.
    async fn write_batch(&self, location: &str, batch: &Batch) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if !store::front::advance(&mut tx, location, batch, self.clock.now()).await? {
            return Ok(());
        }
        let mut accounts: BTreeMap<&S3uid, Collected> = BTreeMap::new();
        // In the order of the rows, which is one for all: writers lock them one after the other.
        for row in &batch.rows {
            let moved = Totals::moved(row.moved);
            store::front::add_totals(&mut tx, location, row, moved).await?;
            let increment = Increment { bucket: row.bucket.clone(), hour: row.hour, moved };
            accounts.entry(&row.uid).or_default().traffic.push(increment);
        }
        for (uid, collected) in accounts {
            self.push(&mut tx, uid, collected).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets the numbers of processes that ended long ago.
    pub(super) async fn forget_front_processes(&self) -> Result<(), Error> {
        let before = self.clock.now() - time::Duration::days(KEPT_DAYS);
        let mut tx = self.db.begin().await?;
        store::front::forget(&mut tx, before).await?;
        tx.commit().await?;
        Ok(())
    }
}
