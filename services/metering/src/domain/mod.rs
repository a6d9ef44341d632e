//! Rules, transactions, and what follows from facts.

mod dead_letter;
mod facts;
mod fresh;
mod ingest;
mod meter;
mod ranking;
mod step;
mod summary;
mod sweep;
mod usage;
mod window;

use std::sync::Arc;
use std::time::Duration;

use stowage_bus::DeadLetters;
use stowage_db::Db;
use stowage_types::Clock;

pub(crate) use facts::{Facts, Moved, Refusal, Sample, Traffic};
pub(crate) use fresh::Collected;
pub(crate) use meter::{Dimensions, Meter};
pub(crate) use ranking::{RankBy, RankField, Ranked, Ranking};
pub(crate) use step::{Period, Step};
pub(crate) use summary::{AccountWindow, Stretch, Summary};
pub(crate) use usage::{AccountFigures, BucketFigures, HistoryOf, UsageStep};
pub(crate) use window::Window;

/// The whole account, where a bucket could be named.
pub(crate) const WHOLE_ACCOUNT: &str = "";

/// The role's rules over its database.
#[derive(Debug, Clone)]
pub(crate) struct Metering {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Longest wait for fresh figures.
    fresh_wait: Duration,
    pub(crate) letters: DeadLetters,
}

impl Metering {
    pub(crate) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        fresh_wait: Duration,
        letters: DeadLetters,
    ) -> Self {
        Self { db, clock, fresh_wait, letters }
    }
}
