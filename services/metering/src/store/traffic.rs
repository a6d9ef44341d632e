//! Table `traffic`: windows in which something moved.

use stowage_db::{Db, Error, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::stored::Of;
use super::{Rows, code, step_of};
use crate::domain::{Flow, Moved, Period, Step};

const HEAD: &str = "INSERT INTO traffic (s3uid, bucket, step, start_time, received_bytes, \
    sent_bytes, read_requests, write_requests, refused_requests, refused_bytes)";

/// Account, bucket (empty: the whole account), length and start of a window.
pub(crate) type Place<'a> = (&'a S3uid, &'a str, Step, OffsetDateTime);

/// Adds to windows. No window comes twice.
pub(crate) async fn add(
    tx: &mut Tx,
    windows: impl Iterator<Item = (Place<'_>, Moved)> + Send,
) -> Result<(), Error> {
    const TAIL: &str = " ON CONFLICT (s3uid, bucket, step, start_time) DO UPDATE SET \
        received_bytes = traffic.received_bytes + excluded.received_bytes, \
        sent_bytes = traffic.sent_bytes + excluded.sent_bytes, \
        read_requests = traffic.read_requests + excluded.read_requests, \
        write_requests = traffic.write_requests + excluded.write_requests, \
        refused_requests = traffic.refused_requests + excluded.refused_requests, \
        refused_bytes = traffic.refused_bytes + excluded.refused_bytes";
    let rows: Rows<'_> = Box::new(windows.map(values));
    tx.put_rows(HEAD, rows, TAIL).await
}

/// Puts windows as they are.
pub(crate) async fn put(
    tx: &mut Tx,
    windows: impl Iterator<Item = (Place<'_>, Moved)> + Send,
) -> Result<(), Error> {
    const TAIL: &str = " ON CONFLICT (s3uid, bucket, step, start_time) DO UPDATE SET \
        received_bytes = excluded.received_bytes, sent_bytes = excluded.sent_bytes, \
        read_requests = excluded.read_requests, write_requests = excluded.write_requests, \
        refused_requests = excluded.refused_requests, refused_bytes = excluded.refused_bytes";
    let rows: Rows<'_> = Box::new(windows.map(values));
    tx.put_rows(HEAD, rows, TAIL).await
}

fn values(((s3uid, bucket, step, start), moved): (Place<'_>, Moved)) -> Vec<Value> {
    let place: [Value; 4] = [s3uid.as_str().into(), bucket.into(), code(step).into(), start.into()];
    let figures = Flow::ALL.map(|flow| moved.of(flow).into());
    place.into_iter().chain(figures).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    start_time: OffsetDateTime,
    #[sqlx(flatten)]
    moved: MovedRow,
}

#[derive(sqlx::FromRow)]
pub(super) struct MovedRow {
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
    refused_requests: i64,
    refused_bytes: i64,
}

impl MovedRow {
    pub(super) const COLUMNS: [&str; 6] = [
        "received_bytes",
        "sent_bytes",
        "read_requests",
        "write_requests",
        "refused_requests",
        "refused_bytes",
    ];
}

impl From<MovedRow> for Moved {
    fn from(row: MovedRow) -> Self {
        Self {
            received_bytes: row.received_bytes,
            sent_bytes: row.sent_bytes,
            read_requests: row.read_requests,
            write_requests: row.write_requests,
            refused_requests: row.refused_requests,
            refused_bytes: row.refused_bytes,
        }
    }
}

/// The windows of a period that have a row, oldest first, at most `max`.
pub(crate) async fn list(
    db: &Db,
    of: Of<'_>,
    period: Period,
    max: i64,
) -> Result<Vec<(OffsetDateTime, Moved)>, Error> {
    const SQL: &str = "SELECT start_time, received_bytes, sent_bytes, read_requests, \
        write_requests, refused_requests, refused_bytes \
        FROM traffic WHERE s3uid = $1 AND bucket = $2 AND step = $3 \
        AND start_time >= $4 AND start_time < $5 ORDER BY start_time LIMIT $6";
    let uid = of.s3uid.as_str();
    let args = args![uid, of.bucket, code(of.step), period.from, period.to, max];
    let rows: Vec<Row> = db.fetch_all(SQL, args).await?;
    Ok(rows.into_iter().map(|row| (row.start_time, row.moved.into())).collect())
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    bucket: String,
    step: i64,
    #[sqlx(flatten)]
    row: Row,
}

/// All windows of an account that start in a period: bucket, step and start, and what moved.
pub(crate) async fn all(
    tx: &mut Tx,
    s3uid: &S3uid,
    period: Period,
) -> Result<Vec<((String, Step, OffsetDateTime), Moved)>, Error> {
    const SQL: &str = "SELECT bucket, step, start_time, received_bytes, sent_bytes, \
        read_requests, write_requests, refused_requests, refused_bytes \
        FROM traffic WHERE s3uid = $1 AND start_time >= $2 AND start_time < $3";
    let args = args![s3uid.as_str(), period.from, period.to];
    let rows: Vec<PlacedRow> = tx.fetch_all(SQL, args).await?;
    let read = |PlacedRow { bucket, step, row }: PlacedRow| {
        ((bucket, step_of(step), row.start_time), row.moved.into())
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Removes a window.
pub(crate) async fn remove(tx: &mut Tx, of: Of<'_>, start: OffsetDateTime) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM traffic WHERE s3uid = $1 AND bucket = $2 AND step = $3 \
        AND start_time = $4";
    tx.execute(SQL, args![of.s3uid.as_str(), of.bucket, code(of.step), start]).await?;
    Ok(())
}

/// What moved in the window that starts then, if it has a row.
pub(crate) async fn find(
    tx: &mut Tx,
    of: Of<'_>,
    start: OffsetDateTime,
) -> Result<Option<Moved>, Error> {
    const SQL: &str = "SELECT received_bytes, sent_bytes, read_requests, write_requests, \
        refused_requests, refused_bytes FROM traffic \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time = $4";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), start];
    let row: Option<MovedRow> = tx.fetch_optional(SQL, args).await?;
    Ok(row.map(Moved::from))
}

/// Start of the last window before `end` that has a row.
pub(crate) async fn last_before(
    db: &Db,
    of: Of<'_>,
    end: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT max(start_time) FROM traffic \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time < $4";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), end];
    let (last,): (Option<OffsetDateTime>,) = db.fetch_one(SQL, args).await?;
    Ok(last)
}

/// Start of the first window that has a row.
pub(crate) async fn first(db: &Db, of: Of<'_>) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT min(start_time) FROM traffic \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step)];
    let (first,): (Option<OffsetDateTime>,) = db.fetch_one(SQL, args).await?;
    Ok(first)
}

/// Bytes received and sent in a period.
pub(crate) async fn sum(db: &Db, of: Of<'_>, period: Period) -> Result<(i64, i64), Error> {
    const SQL: &str = "SELECT CAST(coalesce(sum(received_bytes), 0) AS bigint), \
        CAST(coalesce(sum(sent_bytes), 0) AS bigint) FROM traffic \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time >= $4 AND start_time < $5";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), period.from, period.to];
    db.fetch_one(SQL, args).await
}
