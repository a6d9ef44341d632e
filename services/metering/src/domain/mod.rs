//! Rules, transactions, and what follows from facts.

mod alert;
mod check;
mod conflict;
mod dead_letter;
mod effect;
mod fact;
mod fresh;
mod history;
mod ingest;
mod limits;
mod meter;
mod metered;
mod percentile;
mod ranking;
mod rebuild;
mod retention;
mod step;
mod summary;
mod sweep;
mod usage;
mod watch;
mod window;

use std::sync::Arc;
use std::time::Duration;

use stowage_bus::{DeadLetters, Outbox};
use stowage_db::Db;
use stowage_types::{Clock, Random};
use tokio::sync::{Notify, Semaphore};

pub(crate) use alert::{Alert, Threshold, WantedAlerts};
pub(crate) use check::{Unchecked, Used};
pub(crate) use conflict::Conflict;
pub(crate) use fact::{Fact, Flow, Moved, Outcome, Refusal, Sample, What};
pub(crate) use fresh::Collected;
pub(crate) use history::{HistoryOf, UsageStep};
pub(crate) use ingest::{Batch, Item};
pub(crate) use limits::{Capped, LimitKind, Limits, LimitsUsed};
pub(crate) use meter::{Dimensions, Meter};
pub(crate) use metered::{MeteredHour, MeteredUsage};
pub(crate) use ranking::{RankBy, RankField, Ranked, Ranking};
pub(crate) use rebuild::{Difference, Place, Rebuild, Rebuilt};
pub(crate) use step::{Every, Period, Step};
pub(crate) use summary::{AccountWindow, Stretch, Summary};
pub(crate) use usage::{AccountFigures, BucketFigures};
pub(crate) use watch::Watch;
pub(crate) use window::Window;

use crate::{Config, events};

/// The whole account, where a bucket could be named.
pub(crate) const WHOLE_ACCOUNT: &str = "";

/// The role's rules over its database.
#[derive(Debug, Clone)]
pub(crate) struct Metering {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Longest wait for fresh figures.
    fresh_wait: Duration,
    /// How long facts are kept.
    facts_kept: time::Duration,
    /// One for each who may still watch.
    watches: Arc<Semaphore>,
    /// Shares of limits that alerts are raised at, in parts of a hundred, smallest first.
    alert_percents: Arc<[u32]>,
    /// Woken when limits have changed.
    unchecked: Arc<Notify>,
    pub(crate) outbox: Outbox,
    pub(crate) letters: DeadLetters,
}

impl Metering {
    pub(crate) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: &Config,
    ) -> Self {
        let letters = DeadLetters::new(db.clone(), Arc::clone(&clock), Arc::clone(&random));
        let outbox = Outbox::new(events::SOURCE, Arc::clone(&clock), random);
        let fresh_wait = Duration::from_millis(config.fresh_wait_ms_max);
        let facts_kept = time::Duration::days(config.fact_keep_days.into());
        let watches = Arc::new(Semaphore::new(config.watches_max));
        let alert_percents = config.alert_percents().into();
        let unchecked = Arc::new(Notify::new());
        Self {
            db,
            clock,
            fresh_wait,
            facts_kept,
            watches,
            alert_percents,
            unchecked,
            outbox,
            letters,
        }
    }
}
