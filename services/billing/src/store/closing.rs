//! Closed periods, their frozen figures, and what is due.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, Value, args};
use stowage_provider::OrderKey;
use stowage_types::PlanId;
use time::OffsetDateTime;

use super::amount::{damaged, small};
use super::bill;
use super::subscription::{Row as SubscriptionRow, select, subscription_of};
use crate::domain::closing::{
    ClosedPeriod, Closing, Cursor, FrozenSegment, NextPeriod, PlanChange,
};
use crate::domain::period::Span;
use crate::domain::subscription::Subscription;
use crate::rating::{Segment, Snapshot};

/// Subscriptions of which something is due until a moment, in the order of their times, those
/// behind a cursor. One whose end is scheduled for then is not due before it has ended or stays.
pub(crate) async fn list_due(
    db: &Db,
    provider: &str,
    (after, until, max): (&Cursor, OffsetDateTime, i64),
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.close_time <= $2 \
         AND (s.close_time, s.order_key) > ($3, $4) \
         AND NOT (s.state = 'active' AND s.cancel_time IS NOT NULL \
         AND s.cancel_time <= s.close_time) \
         ORDER BY s.close_time, s.order_key LIMIT $5"
    );
    let args = args![provider, until, after.close_time, after.key.as_str(), max];
    let rows: Vec<SubscriptionRow> = db.fetch_all(sql, args).await?;
    rows.into_iter().map(subscription_of).collect()
}

/// Active subscriptions that have no open period, since none was closed when they began.
pub(crate) async fn list_unbegun(
    db: &Db,
    provider: &str,
    max: i64,
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.state = 'active' AND s.period_number IS NULL \
         AND s.close_time IS NULL ORDER BY s.order_key LIMIT $2"
    );
    let rows: Vec<SubscriptionRow> = db.fetch_all(sql, args![provider, max]).await?;
    rows.into_iter().map(subscription_of).collect()
}

/// Locks the keys of subscriptions until the end of the transaction, and reads these.
pub(crate) async fn lock(tx: &mut Tx, keys: &[OrderKey]) -> Result<Vec<Subscription>, Error> {
    let mut args = Args::new();
    let places = args.push_all(keys.iter().map(OrderKey::as_str));
    let locking = format!(
        "SELECT order_key FROM order_key WHERE order_key IN ({places}) ORDER BY order_key \
         FOR UPDATE"
    );
    let _locked: Vec<(String,)> = tx.fetch_all_built(locking, args.clone()).await?;
    let sql = format!("{} WHERE s.order_key IN ({places})", select!());
    let rows: Vec<SubscriptionRow> = tx.fetch_all_built(sql, args).await?;
    rows.into_iter().map(subscription_of).collect()
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    order_key: String,
    from_plan_id: i64,
    from_version: i64,
    to_plan_id: i64,
    to_version: i64,
    time: OffsetDateTime,
}

/// The moves of subscriptions to other plans, by key, in the order of their times.
pub(crate) async fn list_changes(
    from: &mut impl Query,
    keys: &[OrderKey],
) -> Result<BTreeMap<String, Vec<PlanChange>>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args = Args::new();
    let places = args.push_all(keys.iter().map(OrderKey::as_str));
    let sql = format!(
        "SELECT order_key, from_plan_id, from_version, to_plan_id, to_version, time \
         FROM plan_change WHERE order_key IN ({places}) ORDER BY order_key, time, change_key"
    );
    let rows: Vec<ChangeRow> = from.fetch_all_built(sql, args).await?;
    let mut changes: BTreeMap<String, Vec<PlanChange>> = BTreeMap::new();
    for row in rows {
        let change = PlanChange {
            from: (PlanId(row.from_plan_id), small(row.from_version)?),
            to: (PlanId(row.to_plan_id), small(row.to_version)?),
            time: row.time,
        };
        changes.entry(row.order_key).or_default().push(change);
    }
    Ok(changes)
}

#[derive(sqlx::FromRow)]
struct PeriodRow {
    order_key: String,
    number: i64,
    start_time: OffsetDateTime,
    end_time: OffsetDateTime,
    next_plan_id: Option<i64>,
    next_version: Option<i64>,
    next_end_time: Option<OffsetDateTime>,
    bill_key: String,
    is_sealed: bool,
}

/// The head of every query for [`PeriodRow`].
const PERIODS: &str = "SELECT p.order_key, p.number, p.start_time, p.end_time, p.next_plan_id, \
    p.next_version, p.next_end_time, p.bill_key, p.is_sealed FROM closed_period p";

impl PeriodRow {
    fn read(self) -> Result<(String, ClosedPeriod), Error> {
        let next = match (self.next_plan_id, self.next_version, self.next_end_time) {
            (Some(plan), Some(version), Some(end)) => {
                Some(NextPeriod { plan: PlanId(plan), version: small(version)?, end })
            }
            _ => None,
        };
        let span = Span { start: self.start_time, end: self.end_time };
        let (number, bill_key, is_sealed) = (self.number, self.bill_key, self.is_sealed);
        Ok((self.order_key, ClosedPeriod { number, span, next, bill_key, is_sealed }))
    }
}

/// Closed periods, by key.
pub(crate) type Periods = BTreeMap<String, Vec<ClosedPeriod>>;
/// Frozen figures, by key.
pub(crate) type Segments = BTreeMap<String, Vec<FrozenSegment>>;

/// Closed periods for which something may still come in, by number.
pub(crate) async fn list_unsealed(
    from: &mut impl Query,
    keys: &[OrderKey],
) -> Result<Periods, Error> {
    let tail = "AND NOT p.is_sealed ORDER BY p.order_key, p.number";
    periods(from, "p.order_key", keys.iter().map(OrderKey::as_str), tail).await
}

/// The periods that bills close, by number.
pub(crate) async fn list_closed_by(db: &Db, bills: &[&str]) -> Result<Periods, Error> {
    let mut from = db;
    periods(&mut from, "p.bill_key", bills.iter().copied(), "ORDER BY p.order_key, p.number").await
}

/// All closed periods of subscriptions, by number.
pub(crate) async fn list_closed(db: &Db, keys: &[&str]) -> Result<Periods, Error> {
    let mut from = db;
    periods(&mut from, "p.order_key", keys.iter().copied(), "ORDER BY p.order_key, p.number").await
}

async fn periods(
    from: &mut impl Query,
    column: &str,
    keys: impl ExactSizeIterator<Item = &str>,
    tail: &str,
) -> Result<Periods, Error> {
    if keys.len() == 0 {
        return Ok(Periods::new());
    }
    let mut args = Args::new();
    let places = args.push_all(keys);
    let sql = format!("{PERIODS} WHERE {column} IN ({places}) {tail}");
    let rows: Vec<PeriodRow> = from.fetch_all_built(sql, args).await?;
    let mut periods = Periods::new();
    for row in rows {
        let (key, period) = row.read()?;
        periods.entry(key).or_default().push(period);
    }
    Ok(periods)
}

#[derive(sqlx::FromRow)]
struct SegmentRow {
    order_key: String,
    number: i64,
    segment: i64,
    revision: i64,
    plan_id: i64,
    version: i64,
    from_time: OffsetDateTime,
    to_time: OffsetDateTime,
    paid_to_time: OffsetDateTime,
    received_bytes: i64,
    sent_bytes: i64,
    stored_peak_bytes: i64,
    stored_last_bytes: i64,
    stored_byte_seconds: String,
    as_of_time: Option<OffsetDateTime>,
    bill_key: String,
}

impl SegmentRow {
    fn read(self) -> Result<(String, FrozenSegment), Error> {
        let frozen = FrozenSegment {
            number: self.number,
            index: self.segment,
            revision: self.revision,
            segment: Segment {
                plan: PlanId(self.plan_id),
                version: small(self.version)?,
                from: self.from_time,
                to: self.to_time,
                paid_to: self.paid_to_time,
            },
            snapshot: Snapshot {
                received_bytes: self.received_bytes,
                sent_bytes: self.sent_bytes,
                stored_peak_bytes: self.stored_peak_bytes,
                stored_last_bytes: self.stored_last_bytes,
                stored_byte_seconds: self.stored_byte_seconds.parse().map_err(damaged)?,
                as_of: self.as_of_time,
            },
            bill_key: self.bill_key,
        };
        Ok((self.order_key, frozen))
    }
}

/// The segments of unsealed periods in their latest revisions, in the order of their windows.
pub(crate) async fn list_latest(
    from: &mut impl Query,
    keys: &[OrderKey],
) -> Result<Segments, Error> {
    let tail = "AND EXISTS (SELECT 1 FROM closed_period p WHERE p.order_key = u.order_key \
        AND p.number = u.number AND NOT p.is_sealed) \
        AND NOT EXISTS (SELECT 1 FROM usage_snapshot n WHERE n.order_key = u.order_key \
        AND n.number = u.number AND n.segment = u.segment AND n.revision > u.revision)";
    segments(from, "u.order_key", keys.iter().map(OrderKey::as_str), tail).await
}

/// All segments of subscriptions, in every revision.
pub(crate) async fn list_segments(db: &Db, keys: &[&str]) -> Result<Segments, Error> {
    let mut from = db;
    segments(&mut from, "u.order_key", keys.iter().copied(), "").await
}

/// The segments that were rated for bills.
pub(crate) async fn list_rated_for(db: &Db, bills: &[&str]) -> Result<Segments, Error> {
    let mut from = db;
    segments(&mut from, "u.bill_key", bills.iter().copied(), "").await
}

async fn segments(
    from: &mut impl Query,
    column: &str,
    keys: impl ExactSizeIterator<Item = &str>,
    tail: &str,
) -> Result<Segments, Error> {
    if keys.len() == 0 {
        return Ok(Segments::new());
    }
    let mut args = Args::new();
    let places = args.push_all(keys);
    let sql = format!(
        "SELECT u.order_key, u.number, u.segment, u.revision, u.plan_id, u.version, \
         u.from_time, u.to_time, u.paid_to_time, u.received_bytes, u.sent_bytes, \
         u.stored_peak_bytes, u.stored_last_bytes, u.stored_byte_seconds, u.as_of_time, \
         u.bill_key FROM usage_snapshot u WHERE {column} IN ({places}) {tail} \
         ORDER BY u.order_key, u.number, u.segment, u.revision"
    );
    let rows: Vec<SegmentRow> = from.fetch_all_built(sql, args).await?;
    let mut segments = Segments::new();
    for row in rows {
        let (key, segment) = row.read()?;
        segments.entry(key).or_default().push(segment);
    }
    Ok(segments)
}

/// Stores closings, whole.
pub(crate) async fn insert(
    tx: &mut Tx,
    closings: &[Closing],
    now: OffsetDateTime,
) -> Result<(), Error> {
    let closed = closings.iter().filter_map(|of| Some((&of.key, of.closed.as_ref()?)));
    insert_periods(tx, closed.map(|(key, period)| period_row(key, period, now)).collect()).await?;
    let frozen = closings.iter().flat_map(|of| of.frozen.iter().map(|frozen| (&of.key, frozen)));
    insert_segments(tx, frozen.map(|(key, frozen)| segment_row(key, frozen)).collect()).await?;
    let bills: Vec<_> = closings.iter().filter_map(|of| of.bill.as_ref()).collect();
    bill::insert(tx, &bills).await?;
    seal(tx, closings).await?;
    let open = |of: &Closing| (of.key.to_string(), of.period_number, of.close_time);
    set_open(tx, &closings.iter().map(open).collect::<Vec<_>>()).await
}

/// Notes for which periods nothing comes in any more.
async fn seal(tx: &mut Tx, closings: &[Closing]) -> Result<(), Error> {
    let mut args = Args::new();
    let mut rows = Vec::new();
    for of in closings {
        for number in &of.sealed {
            let places: [Value; 2] = [of.key.as_str().into(), (*number).into()];
            rows.push(format!("({})", args.push_row(places)));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.join(", ");
    let sql = format!(
        "WITH sealed (order_key, number) AS (VALUES {rows}) \
         UPDATE closed_period SET is_sealed = true FROM sealed \
         WHERE closed_period.order_key = sealed.order_key \
         AND closed_period.number = sealed.number"
    );
    tx.execute_built(sql, args).await?;
    Ok(())
}

/// Stores a period that a subscription begins with.
pub(crate) async fn insert_first(
    tx: &mut Tx,
    key: &OrderKey,
    first: &ClosedPeriod,
    now: OffsetDateTime,
) -> Result<(), Error> {
    insert_periods(tx, vec![period_row(key, first, now)]).await
}

async fn insert_periods(tx: &mut Tx, rows: Vec<Vec<Value>>) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO closed_period (order_key, number, start_time, end_time, \
        next_plan_id, next_version, next_end_time, bill_key, is_sealed, close_time)";
    tx.put_rows(HEAD, rows, "").await
}

fn period_row(key: &OrderKey, period: &ClosedPeriod, now: OffsetDateTime) -> Vec<Value> {
    let next = period.next.as_ref();
    vec![
        key.as_str().into(),
        period.number.into(),
        period.span.start.into(),
        period.span.end.into(),
        next.map(|next| next.plan.0).into(),
        next.map(|next| next.version).into(),
        next.map(|next| next.end).into(),
        period.bill_key.as_str().into(),
        period.is_sealed.into(),
        now.into(),
    ]
}

async fn insert_segments(tx: &mut Tx, rows: Vec<Vec<Value>>) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO usage_snapshot (order_key, number, segment, revision, \
        plan_id, version, from_time, to_time, paid_to_time, received_bytes, sent_bytes, \
        stored_peak_bytes, stored_last_bytes, stored_byte_seconds, as_of_time, bill_key)";
    tx.put_rows(HEAD, rows, "").await
}

fn segment_row(key: &OrderKey, frozen: &FrozenSegment) -> Vec<Value> {
    let FrozenSegment { segment, snapshot, .. } = frozen;
    vec![
        key.as_str().into(),
        frozen.number.into(),
        frozen.index.into(),
        frozen.revision.into(),
        segment.plan.0.into(),
        segment.version.into(),
        segment.from.into(),
        segment.to.into(),
        segment.paid_to.into(),
        snapshot.received_bytes.into(),
        snapshot.sent_bytes.into(),
        snapshot.stored_peak_bytes.into(),
        snapshot.stored_last_bytes.into(),
        snapshot.stored_byte_seconds.to_string().into(),
        snapshot.as_of.into(),
        frozen.bill_key.as_str().into(),
    ]
}

/// Sets which period of each subscription is open, and when something of it is due.
pub(crate) async fn set_open(
    tx: &mut Tx,
    open: &[(String, Option<i64>, Option<OffsetDateTime>)],
) -> Result<(), Error> {
    if open.is_empty() {
        return Ok(());
    }
    let mut args = Args::new();
    let row = |(key, number, time): &(String, Option<i64>, Option<OffsetDateTime>)| {
        let places: [Value; 3] = [key.into(), (*number).into(), (*time).into()];
        format!("({})", args.push_row(places))
    };
    let rows = open.iter().map(row).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "WITH open (order_key, period_number, close_time) AS (VALUES {rows}) \
         UPDATE subscription SET period_number = open.period_number, \
         close_time = open.close_time FROM open WHERE subscription.order_key = open.order_key"
    );
    tx.execute_built(sql, args).await?;
    Ok(())
}
