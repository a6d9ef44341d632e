//! Closes periods: what was used is taken from metering, frozen, rated and billed.
//!
//! A period is closed once, in one transaction: its figures, its charges, its bill, and the
//! subscription's next period. Before it nothing is stored, behind it nothing changes. Figures that
//! come in later make a correction, a line of the next bill or, behind the last one, a bill of its
//! own.
//!
//! Rejected: closing by the calendar's month (customers are billed from the day they bought), and
//! an order of metering to billing (whoever has the books decides when they are closed).

mod due;
mod facts;
mod frozen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::Turns;
use stowage_provider::OrderKey;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use facts::{Amendment, BillFacts};
pub(crate) use frozen::{ClosedPeriod, FrozenSegment, NextPeriod, PlanChange};

use super::bill::Tariffs;
use super::period::{nth, number_at};
use super::subscription::Subscription;
use super::{Billing, LEASE};
use crate::error::Error;
use crate::store;
pub(crate) use due::Closing;
use due::{Due, Prepared};

/// Subscriptions that are closed in one transaction.
const BATCH: i64 = 500;
/// From the end of a period until nothing comes in for it any more: metering takes facts for 35
/// days, and a day is for what waits in queues.
pub(crate) const LATE_FACTS: time::Duration = time::Duration::days(36);

/// Where a round through everything that is due has come to.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) close_time: OffsetDateTime,
    pub(crate) key: String,
}

impl Billing {
    /// Closes what has come due, every `interval`, in one replica at a time, named by `owner`,
    /// until `stop`.
    pub(crate) fn close_until(
        self: Arc<Self>,
        interval: Duration,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                loop {
                    if let Err(error) = self.close().await {
                        tracing::warn!(%error, "periods were not closed; they will be");
                    }
                    tokio::time::sleep(interval).await;
                }
            };
            let turns = Turns::new("closing", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// Closes everything that is due, and gives the bills to the provider.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.begin_periods().await?;
        let mut tariffs = Tariffs::default();
        // What a round before this one has left. A provider that is away gets its bills later; the
        // periods are closed all the same.
        let mut issued = self.issue_bills(&mut tariffs).await;
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut cursor = Cursor { close_time: start, key: String::new() };
        while let Some(next) = self.close_batch(&cursor, &mut tariffs).await? {
            cursor = next;
            if issued.is_ok() {
                issued = self.issue_bills(&mut tariffs).await;
            }
        }
        issued
    }

    /// Begins the period that a subscription is in which was active before periods were closed.
    /// Nothing is charged for those behind it: nobody had said that something would be.
    async fn begin_periods(&self) -> Result<(), Error> {
        loop {
            let provider = self.provider.name();
            let unbegun = store::closing::list_unbegun(&self.db, provider, BATCH).await?;
            if unbegun.is_empty() {
                return Ok(());
            }
            let keys: Vec<_> = unbegun.iter().map(|of| of.key.clone()).collect();
            let mut tx = self.db.begin().await?;
            let now = self.clock.now();
            let mut current = store::closing::lock(&mut tx, &keys).await?;
            // What has ended, or was undone, in this moment begins nothing.
            current.retain(|of| unbegun.contains(of));
            let begun: Vec<_> = current.iter().filter_map(|of| first_open(of, now)).collect();
            store::closing::set_open(&mut tx, &begun).await?;
            tx.commit().await?;
            if begun.len() < unbegun.len() {
                return Ok(());
            }
        }
    }

    /// Closes some of what is due behind the cursor. Answers where to go on; `None`: all is done.
    async fn close_batch(
        &self,
        after: &Cursor,
        tariffs: &mut Tariffs,
    ) -> Result<Option<Cursor>, Error> {
        let now = self.clock.now();
        let Some(until) = now.checked_sub(self.close_after) else { return Ok(None) };
        let provider = self.provider.name();
        let found = store::closing::list_due(&self.db, provider, (after, until, BATCH)).await?;
        let Some(last) = found.last() else { return Ok(None) };
        let close_time = last.close_time.unwrap_or(until);
        let cursor = Cursor { close_time, key: last.key.to_string() };
        let mut prepared = Vec::with_capacity(found.len());
        for due in self.gather(&self.db, found).await? {
            match due.prepare(now) {
                Ok(ready) => prepared.push((due, ready)),
                Err(error) => due.complain(&error),
            }
        }
        let closings = self.rate(prepared, now, tariffs).await?;
        self.store(closings, now).await?;
        Ok(Some(cursor))
    }

    /// Reads beside each subscription what else its closing depends on.
    async fn gather(
        &self,
        mut from: impl stowage_db::Query,
        found: Vec<Subscription>,
    ) -> Result<Vec<Due>, Error> {
        let keys: Vec<_> = found.iter().map(|found| found.key.clone()).collect();
        let mut changes = store::closing::list_changes(&mut from, &keys).await?;
        let mut unsealed = store::closing::list_unsealed(&mut from, &keys).await?;
        let mut frozen = store::closing::list_latest(&mut from, &keys).await?;
        let due = |found: Subscription| {
            // What its provider was told of meanwhile changes nothing that is charged.
            let subscription = Subscription { is_mirrored: true, is_plan_told: true, ..found };
            let key = subscription.key.as_str();
            let mut segments = frozen.remove(key).unwrap_or_default();
            let periods = unsealed.remove(key).unwrap_or_default();
            segments.retain(|of| periods.iter().any(|period| period.number == of.number));
            let changes = changes.remove(key).unwrap_or_default();
            Due { subscription, changes, unsealed: periods, segments }
        };
        Ok(found.into_iter().map(due).collect())
    }

    /// Asks metering for what was used, and computes what is charged.
    async fn rate(
        &self,
        prepared: Vec<(Due, Prepared)>,
        now: OffsetDateTime,
        tariffs: &mut Tariffs,
    ) -> Result<Vec<(Due, Closing)>, Error> {
        let windows = prepared.iter().flat_map(|(of, prepared)| prepared.windows(of));
        let mut used = self.usage.summarize(windows.collect()).await?.into_iter();
        let wanted = prepared.iter().flat_map(|(of, prepared)| prepared.tariffs(of));
        tariffs.load(&self.db, wanted.collect::<Vec<_>>()).await?;
        let renews = self.provider.renews();
        let mut closings = Vec::with_capacity(prepared.len());
        for (of, prepared) in prepared {
            let snapshots = used.by_ref().take(prepared.window_count(&of)).collect();
            match prepared.rate(&of, (snapshots, now), (tariffs, renews)) {
                Ok(closing) => closings.push((of, closing)),
                Err(error) => of.complain(&error),
            }
        }
        Ok(closings)
    }

    /// Stores closings whose subscriptions are still what they were computed from. The others have
    /// their turn later.
    async fn store(&self, closings: Vec<(Due, Closing)>, now: OffsetDateTime) -> Result<(), Error> {
        if closings.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        let keys: Vec<_> = closings.iter().map(|(due, _)| due.subscription.key.clone()).collect();
        let found = store::closing::lock(&mut tx, &keys).await?;
        let current = self.gather(&mut tx, found).await?;
        let by_key = |due: Due| (due.subscription.key.clone(), due);
        let current: BTreeMap<OrderKey, Due> = current.into_iter().map(by_key).collect();
        let mut fresh = Vec::with_capacity(closings.len());
        for (due, closing) in closings {
            let key = &due.subscription.key;
            if current.get(key) == Some(&due) {
                fresh.push(closing);
            } else {
                tracing::info!(order.key = %key, "a subscription was changed while it was closed");
            }
        }
        store::closing::insert(&mut tx, &fresh, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The period that a subscription is in, and when it ends.
fn first_open(
    subscription: &Subscription,
    now: OffsetDateTime,
) -> Option<(String, Option<i64>, Option<OffsetDateTime>)> {
    let (anchor, period) = (subscription.anchor_time?, subscription.period);
    let number = number_at(anchor, period, now)?;
    let span = nth(anchor, period, number)?;
    Some((subscription.key.to_string(), Some(number), Some(span.end)))
}
