//! Table `stored`: windows in which a sample fell.

use stowage_db::{Db, Error, Query, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{code, step_of};
use crate::domain::{Period, Step, Window};

#[derive(sqlx::FromRow)]
struct Row {
    start_time: OffsetDateTime,
    peak_before_bytes: i64,
    last_bytes: i64,
    last_time: OffsetDateTime,
    byte_micros: String,
}

impl Row {
    fn read(self, step: Step) -> Result<Window, Error> {
        let byte_micros =
            self.byte_micros.parse().map_err(|bad| Error::Other { source: Box::new(bad) })?;
        Ok(Window {
            step,
            start: self.start_time,
            peak_before_bytes: self.peak_before_bytes,
            last_bytes: self.last_bytes,
            last_time: self.last_time,
            byte_micros,
        })
    }
}

/// Whose windows: an account's, or one bucket's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) s3uid: &'a S3uid,
    /// Empty: the whole account.
    pub(crate) bucket: &'a str,
    pub(crate) step: Step,
}

/// Puts windows of one account, each of a bucket (empty: the whole account).
pub(crate) async fn put(
    tx: &mut Tx,
    s3uid: &S3uid,
    windows: impl Iterator<Item = (&str, &Window)>,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO stored (s3uid, bucket, step, start_time, peak_bytes, \
        peak_before_bytes, last_bytes, last_time, byte_micros)";
    const TAIL: &str = " ON CONFLICT (s3uid, bucket, step, start_time) DO UPDATE SET \
        peak_bytes = excluded.peak_bytes, peak_before_bytes = excluded.peak_before_bytes, \
        last_bytes = excluded.last_bytes, last_time = excluded.last_time, \
        byte_micros = excluded.byte_micros";
    let rows: Vec<Vec<Value>> = windows
        .map(|(bucket, window)| {
            vec![
                s3uid.as_str().into(),
                bucket.into(),
                code(window.step).into(),
                window.start.into(),
                window.peak_bytes().into(),
                window.peak_before_bytes.into(),
                window.last_bytes.into(),
                window.last_time.into(),
                window.byte_micros.to_string().into(),
            ]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

/// The last window that starts at `start` or before.
pub(crate) async fn last_until(
    tx: &mut Tx,
    of: Of<'_>,
    start: OffsetDateTime,
) -> Result<Option<Window>, Error> {
    const SQL: &str = "SELECT start_time, peak_before_bytes, last_bytes, last_time, byte_micros \
        FROM stored WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time <= $4 \
        ORDER BY start_time DESC LIMIT 1";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), start];
    let row: Option<Row> = tx.fetch_optional(SQL, args).await?;
    row.map(|row| row.read(of.step)).transpose()
}

/// What the last window before `start` left; 0 if there is none.
pub(crate) async fn last_before(
    mut from: impl Query,
    of: Of<'_>,
    start: OffsetDateTime,
) -> Result<i64, Error> {
    const SQL: &str = "SELECT last_bytes FROM stored \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time < $4 \
        ORDER BY start_time DESC LIMIT 1";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), start];
    let row: Option<(i64,)> = from.fetch_optional(SQL, args).await?;
    Ok(row.map_or(0, |(bytes,)| bytes))
}

/// When the last sample before `end` was taken, which is a boundary of windows.
pub(crate) async fn newest_before(
    db: &Db,
    of: Of<'_>,
    end: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT last_time FROM stored \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time < $4 \
        ORDER BY start_time DESC LIMIT 1";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), end];
    let row: Option<(OffsetDateTime,)> = db.fetch_optional(SQL, args).await?;
    Ok(row.map(|(time,)| time))
}

/// The windows of a period that have a row, oldest first, at most `max`.
pub(crate) async fn list(
    db: &Db,
    of: Of<'_>,
    period: Period,
    max: i64,
) -> Result<Vec<Window>, Error> {
    const SQL: &str = "SELECT start_time, peak_before_bytes, last_bytes, last_time, byte_micros \
        FROM stored WHERE s3uid = $1 AND bucket = $2 AND step = $3 \
        AND start_time >= $4 AND start_time < $5 ORDER BY start_time LIMIT $6";
    let uid = of.s3uid.as_str();
    let args = args![uid, of.bucket, code(of.step), period.from, period.to, max];
    let rows: Vec<Row> = db.fetch_all(SQL, args).await?;
    rows.into_iter().map(|row| row.read(of.step)).collect()
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    bucket: String,
    step: i64,
    #[sqlx(flatten)]
    row: Row,
}

/// All windows of an account that start in a period, with their buckets.
pub(crate) async fn all(
    tx: &mut Tx,
    s3uid: &S3uid,
    period: Period,
) -> Result<Vec<(String, Window)>, Error> {
    const SQL: &str = "SELECT bucket, step, start_time, peak_before_bytes, last_bytes, last_time, \
        byte_micros FROM stored WHERE s3uid = $1 AND start_time >= $2 AND start_time < $3";
    let args = args![s3uid.as_str(), period.from, period.to];
    let rows: Vec<PlacedRow> = tx.fetch_all(SQL, args).await?;
    rows.into_iter().map(|of| Ok((of.bucket, of.row.read(step_of(of.step))?))).collect()
}

/// Removes a window.
pub(crate) async fn remove(tx: &mut Tx, of: Of<'_>, start: OffsetDateTime) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM stored WHERE s3uid = $1 AND bucket = $2 AND step = $3 \
        AND start_time = $4";
    tx.execute(SQL, args![of.s3uid.as_str(), of.bucket, code(of.step), start]).await?;
    Ok(())
}

/// Start of the first window that has a row.
pub(crate) async fn first(db: &Db, of: Of<'_>) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT min(start_time) FROM stored \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step)];
    let (first,): (Option<OffsetDateTime>,) = db.fetch_one(SQL, args).await?;
    Ok(first)
}

/// The highest peak of the rows in a period, and when the first of them starts.
pub(crate) async fn peak(
    db: &Db,
    of: Of<'_>,
    period: Period,
) -> Result<Option<(i64, OffsetDateTime)>, Error> {
    const SQL: &str = "SELECT max(peak_bytes), min(start_time) FROM stored \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time >= $4 AND start_time < $5";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), period.from, period.to];
    let (peak, first): (Option<i64>, Option<OffsetDateTime>) = db.fetch_one(SQL, args).await?;
    Ok(peak.zip(first))
}
