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

/// What moved in each window, oldest first; where hours are not asked for, as a whole under the
/// last of them.
pub(crate) async fn moved(
    db: &Db,
    windows: &[AccountWindow],
    with_hours: bool,
) -> Result<Hours, Error> {
    if windows.is_empty() {
        return Ok(Hours::new());
    }
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
    let (hour, tail) = match with_hours {
        true => ("t.start_time", "GROUP BY part.place, t.start_time ORDER BY 1, 2"),
        false => ("max(t.start_time)", "GROUP BY part.place"),
    };
    let sum = |column: &str| format!("CAST(sum(t.{column}) AS bigint) AS {column}");
    let step = args.push(code(Step::Hour));
    let sql = format!(
        "WITH part (place, s3uid, from_time, to_time) AS (VALUES {}) \
         SELECT part.place, {hour} AS hour, {} FROM part JOIN traffic t \
         ON t.s3uid = part.s3uid AND t.bucket = '' AND t.step = ${step} \
         AND t.start_time >= part.from_time AND t.start_time < part.to_time {tail}",
        parts.join(", "),
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
