//! Figures of many windows with few queries. A window is told by its place in the caller's list.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{code, step_of};
use crate::domain::{AccountWindow, Step, Stretch, Window};

/// What is known of an account at the start of a window.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// Bytes that were stored when the window began.
    pub(crate) carried_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// `WITH part (place, s3uid, step, from_time, to_time) AS (VALUES …) ` of all stretches.
fn parts(of: &[(&S3uid, Vec<Stretch>)]) -> Option<(String, Args)> {
    let (mut args, mut rows) = (Args::new(), Vec::new());
    for (place, (s3uid, stretches)) in (0_i64..).zip(of) {
        for Stretch { step, period } in stretches {
            let numbers = [
                args.push(place),
                args.push(s3uid.as_str()),
                args.push(code(*step)),
                args.push(period.from),
                args.push(period.to),
            ];
            rows.push(format!("({})", numbers.map(|number| format!("${number}")).join(", ")));
        }
    }
    let head = "WITH part (place, s3uid, step, from_time, to_time) AS (VALUES ";
    (!rows.is_empty()).then(|| (format!("{head}{}) ", rows.join(", ")), args))
}

/// Bytes received and sent in each window in which something moved.
pub(crate) async fn moved(
    mut from: impl Query,
    of: &[(&S3uid, Vec<Stretch>)],
) -> Result<BTreeMap<usize, (i64, i64)>, Error> {
    const SUM: &str = "SELECT part.place, CAST(sum(t.received_bytes) AS bigint), \
        CAST(sum(t.sent_bytes) AS bigint) FROM part JOIN traffic t ON t.s3uid = part.s3uid \
        AND t.bucket = '' AND t.step = part.step AND t.start_time >= part.from_time \
        AND t.start_time < part.to_time GROUP BY part.place";
    let Some((parts, args)) = parts(of) else { return Ok(BTreeMap::new()) };
    let rows: Vec<(i64, i64, i64)> = from.fetch_all_built(parts + SUM, args).await?;
    let by_place = |(place, received, sent)| Ok((index(place)?, (received, sent)));
    rows.into_iter().map(by_place).collect()
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    place: i64,
    step: i64,
    start_time: OffsetDateTime,
    peak_before_bytes: i64,
    last_bytes: i64,
    last_time: OffsetDateTime,
    byte_micros: String,
}

/// The rows of each window that has some, oldest first.
pub(crate) async fn stored(
    db: &Db,
    of: &[(&S3uid, Vec<Stretch>)],
) -> Result<BTreeMap<usize, Vec<Window>>, Error> {
    const ROWS: &str = "SELECT part.place, s.step, s.start_time, s.peak_before_bytes, \
        s.last_bytes, s.last_time, s.byte_micros FROM part JOIN stored s \
        ON s.s3uid = part.s3uid AND s.bucket = '' AND s.step = part.step \
        AND s.start_time >= part.from_time AND s.start_time < part.to_time \
        ORDER BY part.place, s.start_time";
    let Some((parts, args)) = parts(of) else { return Ok(BTreeMap::new()) };
    let rows: Vec<StoredRow> = db.fetch_all_built(parts + ROWS, args).await?;
    let mut windows: BTreeMap<usize, Vec<Window>> = BTreeMap::new();
    for row in rows {
        let step = step_of(row.step);
        let byte_micros = row.byte_micros.parse().map_err(damaged)?;
        windows.entry(index(row.place)?).or_default().push(Window {
            step,
            start: row.start_time,
            peak_before_bytes: row.peak_before_bytes,
            last_bytes: row.last_bytes,
            last_time: row.last_time,
            byte_micros,
        });
    }
    Ok(windows)
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    place: i64,
    carried_bytes: i64,
    as_of_time: Option<OffsetDateTime>,
}

/// What was stored when each window began, and the age of what is known.
pub(crate) async fn known(
    db: &Db,
    windows: &[AccountWindow],
) -> Result<BTreeMap<usize, Known>, Error> {
    let (mut args, mut rows) = (Args::new(), Vec::new());
    for (place, window) in (0_i64..).zip(windows) {
        let from = window.period.from;
        let numbers = [args.push(place), args.push(window.s3uid.as_str()), args.push(from)];
        rows.push(format!("({})", numbers.map(|number| format!("${number}")).join(", ")));
    }
    let hour = args.push(code(Step::Hour));
    let sql = format!(
        "WITH part (place, s3uid, from_time) AS (VALUES {}) \
         SELECT part.place, coalesce((SELECT s.last_bytes FROM stored s \
         WHERE s.s3uid = part.s3uid AND s.bucket = '' AND s.step = ${hour} \
         AND s.start_time < part.from_time ORDER BY s.start_time DESC LIMIT 1), 0) \
         AS carried_bytes, a.as_of_time \
         FROM part LEFT JOIN account a ON a.s3uid = part.s3uid",
        rows.join(", ")
    );
    let rows: Vec<KnownRow> = db.fetch_all_built(sql, args).await?;
    let by_place = |KnownRow { place, carried_bytes, as_of_time }| {
        Ok((index(place)?, Known { carried_bytes, as_of: as_of_time }))
    };
    rows.into_iter().map(by_place).collect()
}

fn index(place: i64) -> Result<usize, Error> {
    usize::try_from(place).map_err(damaged)
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other { source: source.into() }
}
