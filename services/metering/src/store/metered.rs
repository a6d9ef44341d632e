//! What is metered of many accounts, with few queries. A window is told by its place in the
//! caller's list.

use std::collections::{BTreeMap, BTreeSet};

use stowage_db::{Args, Db, Error};
use time::OffsetDateTime;

use super::account::Row;
use super::code;
use super::traffic::MovedRow;
use crate::domain::{AccountWindow, Moved, Step};

/// What moved, by window, each with its hour.
pub(crate) type Hours = BTreeMap<usize, Vec<(OffsetDateTime, Moved)>>;

#[derive(sqlx::FromRow)]
struct SumRow {
    place: i64,
    hour: OffsetDateTime,
    #[sqlx(flatten)]
    moved: MovedRow,
}

/// `WITH part (place, s3uid, from_time, to_time) AS (VALUES …)` of all windows; `None`: there are
/// none.
fn parts(windows: &[AccountWindow]) -> Option<(String, Args)> {
    let (mut args, mut parts) = (Args::new(), Vec::new());
    for (place, window) in (0_i64..).zip(windows) {
        let numbers = [
            args.push(place),
            args.push(window.s3uid.as_str()),
            args.push(window.period.from),
            args.push(window.period.to),
        ];
        parts.push(format!("({})", numbers.map(|number| format!("${number}")).join(", ")));
    }
    let head = "WITH part (place, s3uid, from_time, to_time) AS (VALUES ";
    (!parts.is_empty()).then(|| (format!("{head}{})", parts.join(", ")), args))
}

/// Buckets sampled and what they stored, by window, each with its hour.
pub(crate) type Sampled = BTreeMap<usize, Vec<(OffsetDateTime, (i64, i64))>>;

/// What was sampled in each hour of each window in which something was. By the buckets that there
/// ever were: rollups are kept for ever, and only those of the window are read so. SQLite joins in
/// the order in which it is said.
pub(crate) async fn sampled(db: &Db, windows: &[AccountWindow]) -> Result<Sampled, Error> {
    let Some((parts, mut args)) = parts(windows) else { return Ok(Sampled::new()) };
    let step = args.push(code(Step::Hour));
    let sql = format!(
        "{parts} SELECT part.place, s.start_time, count(*), CAST(sum(s.last_bytes) AS bigint) \
         FROM part CROSS JOIN bucket b CROSS JOIN stored s WHERE b.s3uid = part.s3uid \
         AND s.s3uid = b.s3uid AND s.bucket = b.bucket AND s.step = ${step} \
         AND s.start_time >= part.from_time AND s.start_time < part.to_time \
         GROUP BY part.place, s.start_time"
    );
    let rows: Vec<(i64, OffsetDateTime, i64, i64)> = db.fetch_all_built(sql, args).await?;
    let mut sampled = Sampled::new();
    for (place, hour, buckets, bytes) in rows {
        let place = usize::try_from(place).map_err(|bad| Error::Other { source: bad.into() })?;
        sampled.entry(place).or_default().push((hour, (buckets, bytes)));
    }
    Ok(sampled)
}

/// What moved in each window, oldest first; where hours are not asked for, as a whole under the
/// last of them.
pub(crate) async fn moved(
    db: &Db,
    windows: &[AccountWindow],
    with_hours: bool,
) -> Result<Hours, Error> {
    let Some((parts, mut args)) = parts(windows) else { return Ok(Hours::new()) };
    let (hour, tail) = match with_hours {
        true => ("t.start_time", "GROUP BY part.place, t.start_time ORDER BY 1, 2"),
        false => ("max(t.start_time)", "GROUP BY part.place"),
    };
    let sum = |column: &str| format!("CAST(sum(t.{column}) AS bigint) AS {column}");
    let step = args.push(code(Step::Hour));
    let sql = format!(
        "{parts} SELECT part.place, {hour} AS hour, {} FROM part JOIN traffic t \
         ON t.s3uid = part.s3uid AND t.bucket = '' AND t.step = ${step} \
         AND t.start_time >= part.from_time AND t.start_time < part.to_time {tail}",
        MovedRow::COLUMNS.map(sum).join(", "),
    );
    let rows: Vec<SumRow> = db.fetch_all_built(sql, args).await?;
    let mut hours = Hours::new();
    for row in rows {
        let place =
            usize::try_from(row.place).map_err(|bad| Error::Other { source: bad.into() })?;
        hours.entry(place).or_default().push((row.hour, row.moved.into()));
    }
    Ok(hours)
}

/// Latest figures of the accounts that have facts, by s3uid.
pub(crate) async fn latest(
    db: &Db,
    windows: &[AccountWindow],
) -> Result<BTreeMap<String, Row>, Error> {
    let uids: BTreeSet<&str> = windows.iter().map(|window| window.s3uid.as_str()).collect();
    super::account::list_of(db, uids.into_iter()).await
}
