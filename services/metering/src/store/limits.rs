//! Table `limits`: what accounts may use, and whether they have come to a cap.

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::{CustomerId, S3uid};
use time::OffsetDateTime;

use crate::domain::{Capped, LimitKind, Limits};

#[derive(sqlx::FromRow)]
struct Row {
    s3uid: String,
    customer_id: i64,
    sequence: i64,
    quota_bytes: i64,
    included_storage_bytes: i64,
    included_traffic_bytes: i64,
    storage_cap_bytes: i64,
    traffic_cap_bytes: i64,
    anchor_time: Option<OffsetDateTime>,
    period_months: i64,
    cap: i64,
    cap_time: Option<OffsetDateTime>,
    cap_sequence: i64,
}

const SELECT: &str = "SELECT s3uid, customer_id, sequence, quota_bytes, included_storage_bytes, \
    included_traffic_bytes, storage_cap_bytes, traffic_cap_bytes, anchor_time, period_months, cap, \
    cap_time, cap_sequence FROM limits WHERE s3uid IN (";

/// A kind as it is stored, and as the contract has it.
pub(super) fn code(kind: LimitKind) -> i64 {
    match kind {
        LimitKind::Quota => 1,
        LimitKind::IncludedStorage => 2,
        LimitKind::IncludedTraffic => 3,
        LimitKind::StorageCap => 4,
        LimitKind::TrafficCap => 5,
    }
}

/// The contrary of [`code`].
pub(super) fn kind_of(stored: i64) -> Option<LimitKind> {
    LimitKind::ALL.into_iter().find(|kind| code(*kind) == stored)
}

/// Keeps what billing told, unless something newer was told before.
pub(crate) async fn put(tx: &mut Tx, limits: &Limits) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO limits (s3uid, customer_id, sequence, quota_bytes, \
        included_storage_bytes, included_traffic_bytes, storage_cap_bytes, traffic_cap_bytes, \
        anchor_time, period_months) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
        ON CONFLICT (s3uid) DO UPDATE SET customer_id = excluded.customer_id, \
        sequence = excluded.sequence, quota_bytes = excluded.quota_bytes, \
        included_storage_bytes = excluded.included_storage_bytes, \
        included_traffic_bytes = excluded.included_traffic_bytes, \
        storage_cap_bytes = excluded.storage_cap_bytes, \
        traffic_cap_bytes = excluded.traffic_cap_bytes, anchor_time = excluded.anchor_time, \
        period_months = excluded.period_months WHERE limits.sequence < excluded.sequence";
    let args = args![
        limits.s3uid.as_str(),
        limits.customer.0,
        limits.sequence,
        limits.quota_bytes,
        limits.included_storage_bytes,
        limits.included_traffic_bytes,
        limits.storage_cap_bytes,
        limits.traffic_cap_bytes,
        limits.anchor_time,
        limits.period_months,
    ];
    tx.execute(SQL, args).await?;
    Ok(())
}

/// The limits of those accounts that have some, by their names.
pub(crate) async fn list(
    mut from: impl Query,
    s3uids: &[&S3uid],
) -> Result<Vec<(Limits, Capped)>, Error> {
    if s3uids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let places = args.push_all(s3uids.iter().map(|s3uid| s3uid.as_str()));
    let rows: Vec<Row> =
        from.fetch_all_built(format!("{SELECT}{places}) ORDER BY s3uid"), args).await?;
    rows.into_iter().map(read).collect()
}

/// The limits of an account.
pub(crate) async fn find(db: &Db, s3uid: &S3uid) -> Result<Option<(Limits, Capped)>, Error> {
    Ok(list(db, &[s3uid]).await?.pop())
}

fn read(row: Row) -> Result<(Limits, Capped), Error> {
    let s3uid = S3uid::parse(&row.s3uid).map_err(|bad| Error::Other { source: bad.into() })?;
    let limits = Limits {
        s3uid,
        customer: CustomerId(row.customer_id),
        sequence: row.sequence,
        quota_bytes: row.quota_bytes,
        included_storage_bytes: row.included_storage_bytes,
        included_traffic_bytes: row.included_traffic_bytes,
        storage_cap_bytes: row.storage_cap_bytes,
        traffic_cap_bytes: row.traffic_cap_bytes,
        anchor_time: row.anchor_time,
        period_months: row.period_months,
    };
    let cap = kind_of(row.cap);
    Ok((limits, Capped { cap, time: row.cap_time, sequence: row.cap_sequence }))
}

/// Notes which cap an account has come to, if any, and when that ends by itself.
pub(crate) async fn set_cap(
    tx: &mut Tx,
    s3uid: &S3uid,
    (capped, end): (Capped, Option<OffsetDateTime>),
) -> Result<(), Error> {
    const SQL: &str = "UPDATE limits SET cap = $2, cap_time = $3, cap_end_time = $4, \
        cap_sequence = $5 WHERE s3uid = $1";
    let cap = capped.cap.map_or(0, code);
    tx.execute(SQL, args![s3uid.as_str(), cap, capped.time, end, capped.sequence]).await?;
    Ok(())
}

/// Accounts whose cap has ended by itself; at most `max`.
pub(crate) async fn list_cap_ended(
    db: &Db,
    now: OffsetDateTime,
    max: i64,
) -> Result<Vec<S3uid>, Error> {
    const SQL: &str = "SELECT s3uid FROM limits WHERE cap_end_time <= $1 \
        ORDER BY cap_end_time LIMIT $2";
    let rows: Vec<(String,)> = db.fetch_all(SQL, args![now, max]).await?;
    let read =
        |(text,): (String,)| S3uid::parse(&text).map_err(|bad| Error::Other { source: bad.into() });
    rows.into_iter().map(read).collect()
}
