//! What was reported of many accounts, with few queries. A window is told by its place in the
//! caller's list.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::engine_usage::EngineWindow;
use crate::domain::usage::Totals;

/// Totals by window, each with its hour.
pub(crate) type Hours = BTreeMap<usize, Vec<(OffsetDateTime, Totals)>>;

#[derive(sqlx::FromRow)]
struct SumRow {
    place: i64,
    hour: OffsetDateTime,
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
    refused_requests: i64,
}

/// What moved in each hour of each window, over all buckets and locations, oldest first.
pub(crate) async fn hours(db: &Db, windows: &[EngineWindow]) -> Result<Hours, Error> {
    summed(db, windows, "t.hour", "GROUP BY part.place, t.hour ORDER BY part.place, t.hour").await
}

/// What moved in each window as a whole, under the last hour in which something did.
pub(crate) async fn sums(db: &Db, windows: &[EngineWindow]) -> Result<Hours, Error> {
    summed(db, windows, "max(t.hour)", "GROUP BY part.place").await
}

/// `WITH part (place, s3uid, from_time, to_time) AS (VALUES …)` of all windows; `None`: there are
/// none.
pub(super) fn parts(windows: &[EngineWindow]) -> Option<(String, Args)> {
    let (mut args, mut parts) = (Args::new(), Vec::new());
    for (place, window) in (0_i64..).zip(windows) {
        let numbers = [
            args.push(place),
            args.push(window.uid.as_str()),
            args.push(window.from),
            args.push(window.to),
        ];
        parts.push(format!("({})", numbers.map(|number| format!("${number}")).join(", ")));
    }
    let head = "WITH part (place, s3uid, from_time, to_time) AS (VALUES ";
    (!parts.is_empty()).then(|| (format!("{head}{})", parts.join(", ")), args))
}

async fn summed(db: &Db, windows: &[EngineWindow], hour: &str, tail: &str) -> Result<Hours, Error> {
    let Some((parts, args)) = parts(windows) else { return Ok(Hours::new()) };
    let sum = |column: &str| format!("CAST(sum(t.{column}) AS bigint) AS {column}");
    let columns =
        ["received_bytes", "sent_bytes", "read_requests", "write_requests", "refused_requests"];
    let sql = format!(
        "{parts} SELECT part.place, {hour} AS hour, {} FROM part JOIN traffic_total t \
         ON t.s3uid = part.s3uid AND t.hour >= part.from_time AND t.hour < part.to_time {tail}",
        columns.map(sum).join(", "),
    );
    let rows: Vec<SumRow> = db.fetch_all_built(sql, args).await?;
    let mut hours = Hours::new();
    for row in rows {
        let place =
            usize::try_from(row.place).map_err(|bad| Error::Other { source: bad.into() })?;
        let moved = Totals {
            received_bytes: row.received_bytes,
            sent_bytes: row.sent_bytes,
            read_requests: row.read_requests,
            write_requests: row.write_requests,
            refused_requests: row.refused_requests,
        };
        hours.entry(place).or_default().push((row.hour, moved));
    }
    Ok(hours)
}

/// From where accounts were last moved, and when they were switched.
pub(crate) async fn last_moves(
    db: &Db,
    uids: &[&S3uid],
) -> Result<BTreeMap<String, (String, OffsetDateTime)>, Error> {
    let mut args = Args::new();
    let places = args.push_all(uids.iter().map(|uid| uid.as_str()));
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT s3uid, from_location, switch_time FROM account_move \
         WHERE switch_time IS NOT NULL AND s3uid IN ({places}) ORDER BY switch_time"
    );
    let rows: Vec<(String, String, OffsetDateTime)> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|(uid, from, time)| (uid, (from, time))).collect())
}

/// When the engine of each location was last read.
pub(crate) async fn reads(db: &Db) -> Result<BTreeMap<String, OffsetDateTime>, Error> {
    const SQL: &str = "SELECT location, update_time FROM usage_cursor";
    let rows: Vec<(String, OffsetDateTime)> = db.fetch_all(SQL, args![]).await?;
    Ok(rows.into_iter().collect())
}

/// When a front of each location that has some last wrote.
pub(crate) async fn fronts(db: &Db) -> Result<BTreeMap<String, OffsetDateTime>, Error> {
    const SQL: &str = "SELECT location, max(update_time) FROM front_process GROUP BY location";
    let rows: Vec<(String, OffsetDateTime)> = db.fetch_all(SQL, args![]).await?;
    Ok(rows.into_iter().collect())
}
