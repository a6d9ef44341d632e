//! Table `traffic`: windows in which something moved.

use stowage_db::{Db, Error, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::code;
use super::stored::Of;
use crate::domain::{Moved, Period, Step};

/// Adds to windows of one account, each of a bucket (empty: the whole account). No window comes
/// twice.
pub(crate) async fn add(
    tx: &mut Tx,
    s3uid: &S3uid,
    windows: impl Iterator<Item = ((&str, Step, OffsetDateTime), Moved)>,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO traffic (s3uid, bucket, step, start_time, received_bytes, \
        sent_bytes, read_requests, write_requests)";
    const TAIL: &str = " ON CONFLICT (s3uid, bucket, step, start_time) DO UPDATE SET \
        received_bytes = traffic.received_bytes + excluded.received_bytes, \
        sent_bytes = traffic.sent_bytes + excluded.sent_bytes, \
        read_requests = traffic.read_requests + excluded.read_requests, \
        write_requests = traffic.write_requests + excluded.write_requests";
    let rows: Vec<Vec<Value>> = windows
        .map(|((bucket, step, start), moved)| {
            vec![
                s3uid.as_str().into(),
                bucket.into(),
                code(step).into(),
                start.into(),
                moved.received_bytes.into(),
                moved.sent_bytes.into(),
                moved.read_requests.into(),
                moved.write_requests.into(),
            ]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

#[derive(sqlx::FromRow)]
struct Row {
    start_time: OffsetDateTime,
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
}

/// The windows of a period that have a row, oldest first, at most `max`.
pub(crate) async fn list(
    db: &Db,
    of: Of<'_>,
    period: Period,
    max: i64,
) -> Result<Vec<(OffsetDateTime, Moved)>, Error> {
    const SQL: &str = "SELECT start_time, received_bytes, sent_bytes, read_requests, \
        write_requests FROM traffic WHERE s3uid = $1 AND bucket = $2 AND step = $3 \
        AND start_time >= $4 AND start_time < $5 ORDER BY start_time LIMIT $6";
    let uid = of.s3uid.as_str();
    let args = args![uid, of.bucket, code(of.step), period.from, period.to, max];
    let rows: Vec<Row> = db.fetch_all(SQL, args).await?;
    let read = |row: Row| {
        let Row { start_time, received_bytes, sent_bytes, read_requests, write_requests } = row;
        (start_time, Moved { received_bytes, sent_bytes, read_requests, write_requests })
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Bytes received and sent in a period.
pub(crate) async fn sum(db: &Db, of: Of<'_>, period: Period) -> Result<(i64, i64), Error> {
    const SQL: &str = "SELECT CAST(coalesce(sum(received_bytes), 0) AS bigint), \
        CAST(coalesce(sum(sent_bytes), 0) AS bigint) FROM traffic \
        WHERE s3uid = $1 AND bucket = $2 AND step = $3 AND start_time >= $4 AND start_time < $5";
    let args = args![of.s3uid.as_str(), of.bucket, code(of.step), period.from, period.to];
    db.fetch_one(SQL, args).await
}
