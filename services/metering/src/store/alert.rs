//! Table `alert`: shares of limits that accounts have come to.

use std::collections::HashSet;

use stowage_db::{Args, Db, Error, Tx, Value, args, next_range};
use stowage_types::{CustomerId, S3uid, Span};
use time::OffsetDateTime;

use super::limits::{code, kind_of};
use crate::domain::{Alert, Threshold, WantedAlerts};

/// The longest period, and some: older ones are not raised again.
const PERIOD_MAX: time::Duration = time::Duration::days(367);

/// Keeps alerts that are new, in their order.
pub(crate) async fn insert(tx: &mut Tx, alerts: &[Alert]) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO alert (s3uid, kind, period_start_time, percent, limit_bytes, \
        alert_id, customer_id, used_bytes, period_end_time, raise_time)";
    let Some(count) = i64::try_from(alerts.len()).ok().filter(|count| *count > 0) else {
        return Ok(());
    };
    let first = next_range(tx, "alert", count).await?;
    let row = |(id, alert): (i64, &Alert)| -> Vec<Value> {
        vec![
            alert.s3uid.as_str().into(),
            code(alert.kind).into(),
            alert.period.start.into(),
            i64::from(alert.percent).into(),
            alert.limit_bytes.into(),
            id.into(),
            alert.customer.0.into(),
            alert.used_bytes.into(),
            alert.period.end.into(),
            alert.time.into(),
        ]
    };
    tx.put_rows(HEAD, (first..).zip(alerts).map(row).collect::<Vec<_>>(), "").await
}

/// What was raised of accounts in periods that may not be over.
pub(crate) async fn raised(
    tx: &mut Tx,
    s3uids: &[&S3uid],
    now: OffsetDateTime,
) -> Result<HashSet<Threshold>, Error> {
    let mut args: Args = args![now - PERIOD_MAX];
    let places = args.push_all(s3uids.iter().map(|s3uid| s3uid.as_str()));
    let sql = format!(
        "SELECT s3uid, kind, period_start_time, percent, limit_bytes FROM alert \
         WHERE period_start_time >= $1 AND s3uid IN ({places})"
    );
    let rows: Vec<(String, i64, OffsetDateTime, i64, i64)> = tx.fetch_all_built(sql, args).await?;
    let read = |(s3uid, kind, period_start, percent, limit_bytes): (String, _, _, i64, _)| {
        Ok(Threshold {
            s3uid: S3uid::parse(&s3uid).map_err(damaged)?,
            kind: kind_of(kind).ok_or_else(|| damaged("an alert of no kind"))?,
            period_start,
            percent: u32::try_from(percent).map_err(damaged)?,
            limit_bytes,
        })
    };
    rows.into_iter().map(read).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    alert_id: i64,
    s3uid: String,
    customer_id: i64,
    kind: i64,
    percent: i64,
    limit_bytes: i64,
    used_bytes: i64,
    period_start_time: OffsetDateTime,
    period_end_time: OffsetDateTime,
    raise_time: OffsetDateTime,
}

/// A page of them with their places, newest first.
pub(crate) async fn list(db: &Db, wanted: &WantedAlerts) -> Result<Vec<(i64, Alert)>, Error> {
    const SQL: &str = "SELECT alert_id, s3uid, customer_id, kind, percent, limit_bytes, \
        used_bytes, period_start_time, period_end_time, raise_time FROM alert \
        WHERE ($1 IS NULL OR s3uid = $1) AND ($2 IS NULL OR customer_id = $2) \
        AND alert_id < $3 ORDER BY alert_id DESC LIMIT $4";
    let s3uid = wanted.s3uid.as_ref().map(S3uid::as_str);
    let customer = wanted.customer.map(|CustomerId(id)| id);
    let before = wanted.before.unwrap_or(i64::MAX);
    let rows: Vec<Row> = db.fetch_all(SQL, args![s3uid, customer, before, wanted.max]).await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<(i64, Alert), Error> {
    let alert = Alert {
        s3uid: S3uid::parse(&row.s3uid).map_err(damaged)?,
        customer: CustomerId(row.customer_id),
        kind: kind_of(row.kind).ok_or_else(|| damaged("an alert of no kind"))?,
        percent: u32::try_from(row.percent).map_err(damaged)?,
        limit_bytes: row.limit_bytes,
        used_bytes: row.used_bytes,
        period: Span { start: row.period_start_time, end: row.period_end_time },
        time: row.raise_time,
    };
    Ok((row.alert_id, alert))
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other { source: source.into() }
}

/// Forgets up to `max` of those from before `before`; returns how many.
pub(crate) async fn forget(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM alert WHERE alert_id IN \
        (SELECT alert_id FROM alert WHERE raise_time < $1 ORDER BY raise_time LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}
