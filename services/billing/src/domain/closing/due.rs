//! One subscription that is due: which windows it needs the usage of, and what follows from it.

use stowage_provider::OrderKey;
use stowage_types::{Currency, PlanId, S3uid, hour_of};
use time::OffsetDateTime;

use super::{
    Amendment, BillFacts, ClosedPeriod, FrozenSegment, LATE_FACTS, NextPeriod, PlanChange,
};
use crate::domain::bill::{Bill, Tariffs, sum_of};
use crate::domain::period::{Span, nth};
use crate::domain::subscription::Subscription;
use crate::error::Error;
use crate::rating::{Segment, Snapshot, hour_after};

/// A subscription, and what else its closing depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) subscription: Subscription,
    /// In the order of their times.
    pub(crate) changes: Vec<PlanChange>,
    /// Closed periods for which something may still come in, by number.
    pub(crate) unsealed: Vec<ClosedPeriod>,
    /// Their segments in their latest revisions.
    pub(crate) segments: Vec<FrozenSegment>,
}

/// What is to be closed, before metering was asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The open period with its segments; absent behind the last one.
    open: Option<(i64, Span, Vec<Segment>)>,
    /// Whether another period follows.
    next: Option<NextPeriod>,
}

/// What is stored.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) key: OrderKey,
    pub(crate) closed: Option<ClosedPeriod>,
    pub(crate) frozen: Vec<FrozenSegment>,
    /// Numbers of periods that nothing comes in for any more.
    pub(crate) sealed: Vec<i64>,
    /// Absent if nothing is charged.
    pub(crate) bill: Option<Bill>,
    /// The period that is open now, and when something is due again.
    pub(crate) period_number: Option<i64>,
    pub(crate) close_time: Option<OffsetDateTime>,
}

impl Due {
    /// Says that it cannot be closed, and that a person must look.
    pub(crate) fn complain(&self, error: &Error) {
        let key = &self.subscription.key;
        tracing::error!(order.key = %key, %error, "a subscription cannot be closed");
    }

    fn currency(&self) -> Currency {
        self.subscription.period_price.currency()
    }

    /// The version of a plan that held at a moment.
    fn plan_at(&self, time: OffsetDateTime) -> (PlanId, i32) {
        let before = self.changes.iter().rfind(|change| change.time <= time);
        let first = self.changes.first();
        match (before, first) {
            (Some(change), _) => change.to,
            (None, Some(change)) => change.from,
            (None, None) => (self.subscription.plan, self.subscription.plan_version),
        }
    }

    /// Says what is to be closed at `now`.
    ///
    /// # Errors
    /// `Internal` past the calendar's end, and for a subscription that was never active.
    pub(crate) fn prepare(&self, now: OffsetDateTime) -> Result<Prepared, Error> {
        let of = &self.subscription;
        let Some(number) = of.period_number else {
            return Ok(Prepared { open: None, next: None });
        };
        let past = || Error::internal("a period past the calendar");
        let anchor = of.anchor_time.ok_or_else(past)?;
        let span = nth(anchor, of.period, number).ok_or_else(past)?;
        let following = nth(anchor, of.period, number + 1).ok_or_else(past)?;
        let goes_on = of.end_time.is_none_or(|end| end > span.end);
        let (plan, version) = self.plan_at(span.end);
        let next = goes_on.then_some(NextPeriod { plan, version, end: following.end });
        debug_assert!(span.end <= now || !goes_on, "only what has ended is closed");
        Ok(Prepared { open: Some((number, span, self.segments_of(span))), next })
    }

    /// Cuts a period where the plan was changed. The first segment is of the version that the
    /// period was charged with, however short; of others that begin in one hour the last counts.
    fn segments_of(&self, span: Span) -> Vec<Segment> {
        let (start, end) = (hour_of(span.start), hour_of(span.end));
        let ended = self.subscription.end_time.map_or(end, |time| hour_after(time).min(end));
        let mut cuts = vec![(start, self.plan_at(span.start))];
        let within = |change: &&PlanChange| change.time > span.start && change.time < span.end;
        for change in self.changes.iter().filter(within) {
            let hour = hour_of(change.time).max(start);
            if cuts.len() > 1 && cuts.last().is_some_and(|(from, _)| *from == hour) {
                cuts.pop();
            }
            let is_same = cuts.last().is_some_and(|(_, plan)| *plan == change.to);
            if !is_same && hour < ended {
                cuts.push((hour, change.to));
            }
        }
        let ends = cuts.iter().skip(1).map(|(from, _)| *from).chain([end]);
        let segment = |(&(from, (plan, version)), paid_to): (&_, OffsetDateTime)| {
            let to = paid_to.min(ended).max(from);
            Segment { plan, version, from, to, paid_to }
        };
        cuts.iter().zip(ends).map(segment).collect()
    }
}

impl Prepared {
    /// The windows whose usage is needed: the open period's, and then those that may have changed.
    pub(crate) fn windows<'a>(
        &'a self,
        of: &'a Due,
    ) -> impl Iterator<Item = (S3uid, OffsetDateTime, OffsetDateTime)> + 'a {
        let open = self.open.iter().flat_map(|(_, _, segments)| segments);
        let closed = of.segments.iter().map(|frozen| &frozen.segment);
        let s3uid = &of.subscription.s3uid;
        open.chain(closed).map(move |segment| (s3uid.clone(), segment.from, segment.to))
    }

    /// How many these are.
    pub(crate) fn window_count(&self, of: &Due) -> usize {
        self.open.as_ref().map_or(0, |(_, _, segments)| segments.len()) + of.segments.len()
    }

    /// The tariffs that are needed.
    pub(crate) fn tariffs<'a>(
        &'a self,
        of: &'a Due,
    ) -> impl Iterator<Item = (PlanId, i32, Currency)> + 'a {
        let open = self.open.iter().flat_map(|(_, _, segments)| segments);
        let closed = of.segments.iter().map(|frozen| &frozen.segment);
        let all = open.chain(closed).map(|segment| (segment.plan, segment.version));
        let next = self.next.map(|next| (next.plan, next.version));
        all.chain(next).map(|(plan, version)| (plan, version, of.currency()))
    }

    /// Computes the closing from the snapshots of all windows.
    pub(crate) fn rate(
        self,
        due: &Due,
        (snapshots, now): (Vec<Snapshot>, OffsetDateTime),
        (tariffs, renews): (&Tariffs, bool),
    ) -> Result<Closing, Error> {
        let mut snapshots = snapshots.into_iter();
        let bill_key = self.bill_key(due);
        let closed = self.open.as_ref().map(|(number, span, segments)| {
            let frozen = (0_i64..).zip(segments).zip(snapshots.by_ref().take(segments.len()));
            let frozen = frozen.map(|((index, segment), snapshot)| FrozenSegment {
                number: *number,
                index,
                revision: 0,
                segment: *segment,
                snapshot,
                bill_key: bill_key.clone(),
            });
            let next = self.next.filter(|_| !renews);
            let (number, span, bill_key) = (*number, *span, bill_key.clone());
            let closed = ClosedPeriod { number, span, next, bill_key, is_sealed: false };
            (closed, frozen.collect::<Vec<_>>())
        });
        let amendments = amendments(due, snapshots, &bill_key);
        let mut frozen: Vec<_> = amendments.iter().map(|of| of.after.clone()).collect();
        let closed_facts = closed.as_ref().map(|(closed, frozen)| (closed, frozen.clone()));
        let facts = BillFacts { currency: due.currency(), closed: closed_facts, amendments };
        let charges = facts.charges(tariffs)?;
        let (closed, of_closed) = closed.unzip();
        frozen.extend(of_closed.unwrap_or_default());
        let bill = (!charges.is_empty()).then(|| bill_of(due, bill_key, (charges, now)));
        // Behind the last period this is the last time.
        let is_last = closed.is_none();
        let is_over = |of: &&ClosedPeriod| is_last || of.span.end + LATE_FACTS <= now;
        let sealed = due.unsealed.iter().filter(is_over).map(|period| period.number).collect();
        let (period_number, close_time) = self.then(due);
        let key = due.subscription.key.clone();
        Ok(Closing { key, closed, frozen, sealed, bill, period_number, close_time })
    }

    fn bill_key(&self, due: &Due) -> String {
        let key = &due.subscription.key;
        match &self.open {
            Some((number, ..)) => format!("{key}/{number}"),
            None => {
                let last = due.unsealed.last().map_or(0, |period| period.number);
                format!("{key}/{last}/late")
            }
        }
    }

    /// The period that is open then, and when something is due again.
    fn then(&self, due: &Due) -> (Option<i64>, Option<OffsetDateTime>) {
        let end_time = due.subscription.end_time;
        let Some((number, span, _)) = &self.open else { return (None, None) };
        let Some(next) = &self.next else {
            // Once more, when nothing can come in any more.
            let end = end_time.map_or(span.end, |end| span.end.min(end));
            return (None, Some(end + LATE_FACTS));
        };
        let close_time = end_time.map_or(next.end, |end| next.end.min(hour_after(end)));
        (Some(number + 1), Some(close_time))
    }
}

/// Closed periods whose figures have changed since they were rated.
fn amendments(
    due: &Due,
    snapshots: impl Iterator<Item = Snapshot>,
    bill_key: &str,
) -> Vec<Amendment> {
    let changed = due.segments.iter().zip(snapshots);
    let changed = changed.filter(|(before, now)| !before.snapshot.has_figures_of(now));
    let amendment = |(before, snapshot): (&FrozenSegment, Snapshot)| {
        let period = due.unsealed.iter().find(|period| period.number == before.number)?;
        let after = FrozenSegment {
            revision: before.revision + 1,
            snapshot,
            bill_key: bill_key.to_owned(),
            ..before.clone()
        };
        Some(Amendment { period_hours: period.hours(), before: before.clone(), after })
    };
    changed.filter_map(amendment).collect()
}

fn bill_of(
    due: &Due,
    key: String,
    (charges, create_time): (Vec<crate::rating::Charge>, OffsetDateTime),
) -> Bill {
    let of = &due.subscription;
    Bill {
        key,
        order: of.key.clone(),
        provider: of.provider.clone(),
        customer: of.customer,
        currency: due.currency(),
        total: sum_of(&charges, due.currency()),
        charges,
        create_time,
        invoice_id: None,
    }
}
