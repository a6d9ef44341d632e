//! How far usage was read, and which totals were sent on.

use stowage_db::{Db, Error, Tx, args};
use stowage_engine::{TrafficTotals, UsageCursor};
use time::OffsetDateTime;

use crate::domain::usage::Totals;

#[derive(sqlx::FromRow)]
struct Row {
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
    refused_requests: i64,
}

/// The cursor of a location; the beginning when it has none.
pub(crate) async fn cursor(db: &Db, location: &str) -> Result<UsageCursor, Error> {
    let row: Option<(String,)> = db
        .fetch_optional("SELECT cursor FROM usage_cursor WHERE location = $1", args![location])
        .await?;
    Ok(row.map(|row| UsageCursor::from_text(row.0)).unwrap_or_default())
}

/// Moves the cursor from `from` to `to`; `false` when it is no longer at `from`, since another
/// replica was faster.
pub(crate) async fn move_cursor(
    tx: &mut Tx,
    location: &str,
    from: &UsageCursor,
    to: &UsageCursor,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE usage_cursor SET cursor = $3, update_time = $4 \
             WHERE location = $1 AND cursor = $2",
            args![location, from.as_str(), to.as_str(), now],
        )
        .await?;
    Ok(rows == 1)
}

/// The totals already sent on for one row of traffic.
pub(crate) async fn totals(
    tx: &mut Tx,
    location: &str,
    row: &TrafficTotals,
) -> Result<Totals, Error> {
    let found: Option<Row> = tx
        .fetch_optional(
            "SELECT received_bytes, sent_bytes, read_requests, write_requests, \
             refused_requests FROM traffic_total \
             WHERE location = $1 AND s3uid = $2 AND bucket = $3 AND hour = $4",
            args![location, row.uid.as_str(), &row.bucket, row.hour],
        )
        .await?;
    Ok(found.map_or(Totals::default(), |row| Totals {
        received_bytes: row.received_bytes,
        sent_bytes: row.sent_bytes,
        read_requests: row.read_requests,
        write_requests: row.write_requests,
        refused_requests: row.refused_requests,
    }))
}

/// Stores the totals sent on for one row of traffic.
pub(crate) async fn set_totals(
    tx: &mut Tx,
    location: &str,
    row: &TrafficTotals,
    totals: Totals,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO traffic_total (location, s3uid, bucket, hour, received_bytes, sent_bytes, \
         read_requests, write_requests, refused_requests) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (location, s3uid, bucket, hour) DO UPDATE SET received_bytes = $5, \
         sent_bytes = $6, read_requests = $7, write_requests = $8, refused_requests = $9",
        args![
            location,
            row.uid.as_str(),
            &row.bucket,
            row.hour,
            totals.received_bytes,
            totals.sent_bytes,
            totals.read_requests,
            totals.write_requests,
            totals.refused_requests,
        ],
    )
    .await?;
    Ok(())
}

/// Forgets totals of hours before `before`, at most `rows_max`; answers how many.
pub(crate) async fn forget_totals(
    tx: &mut Tx,
    before: OffsetDateTime,
    rows_max: i64,
) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM traffic_total WHERE (location, s3uid, bucket, hour) IN \
         (SELECT location, s3uid, bucket, hour FROM traffic_total WHERE hour < $1 LIMIT $2)",
        args![before, rows_max],
    )
    .await
}
