//! Table `sample`: samples as they came.

use stowage_db::{Error, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::Sample;

#[derive(sqlx::FromRow)]
struct Row {
    bucket: String,
    time: OffsetDateTime,
    stored_bytes: i64,
    object_count: i64,
    is_deleted: bool,
}

impl From<Row> for Sample {
    fn from(row: Row) -> Self {
        let Row { bucket, time, stored_bytes, object_count, is_deleted } = row;
        Self { bucket, time, stored_bytes, object_count, is_deleted }
    }
}

/// Keeps the sample; `false` if there is one of the same bucket and moment.
pub(crate) async fn insert(tx: &mut Tx, s3uid: &S3uid, sample: &Sample) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO sample (s3uid, bucket, time, stored_bytes, object_count, \
        is_deleted) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (s3uid, bucket, time) DO NOTHING";
    let Sample { bucket, time, stored_bytes, object_count, is_deleted } = sample;
    let uid = s3uid.as_str();
    let args = args![uid, bucket, time, *stored_bytes, *object_count, *is_deleted];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// The sample of the same bucket and moment.
pub(crate) async fn find_twin(
    tx: &mut Tx,
    s3uid: &S3uid,
    sample: &Sample,
) -> Result<Sample, Error> {
    const SQL: &str = "SELECT bucket, time, stored_bytes, object_count, is_deleted FROM sample \
        WHERE s3uid = $1 AND bucket = $2 AND time = $3";
    let args = args![s3uid.as_str(), &sample.bucket, sample.time];
    let row: Row = tx.fetch_one(SQL, args).await?;
    Ok(row.into())
}

/// Puts the sample in the place of the one of the same bucket and moment.
pub(crate) async fn replace(tx: &mut Tx, s3uid: &S3uid, sample: &Sample) -> Result<(), Error> {
    const SQL: &str = "UPDATE sample SET stored_bytes = $4, object_count = $5, is_deleted = $6 \
        WHERE s3uid = $1 AND bucket = $2 AND time = $3";
    let Sample { bucket, time, stored_bytes, object_count, is_deleted } = sample;
    let uid = s3uid.as_str();
    let args = args![uid, bucket, time, *stored_bytes, *object_count, *is_deleted];
    tx.execute(SQL, args).await?;
    Ok(())
}

/// Puts samples, whatever is there of the same buckets and moments.
pub(crate) async fn put(
    tx: &mut Tx,
    s3uid: &S3uid,
    samples: impl Iterator<Item = &Sample>,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO sample (s3uid, bucket, time, stored_bytes, object_count, \
        is_deleted)";
    const TAIL: &str = " ON CONFLICT (s3uid, bucket, time) DO UPDATE SET \
        stored_bytes = excluded.stored_bytes, object_count = excluded.object_count, \
        is_deleted = excluded.is_deleted";
    let row = |sample: &Sample| -> Vec<Value> {
        vec![
            s3uid.as_str().into(),
            (&sample.bucket).into(),
            sample.time.into(),
            sample.stored_bytes.into(),
            sample.object_count.into(),
            sample.is_deleted.into(),
        ]
    };
    tx.put_rows(HEAD, samples.map(row).collect::<Vec<_>>(), TAIL).await
}

/// When the bucket was sampled next after `time`.
pub(crate) async fn next_after(
    tx: &mut Tx,
    s3uid: &S3uid,
    bucket: &str,
    time: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT time FROM sample WHERE s3uid = $1 AND bucket = $2 AND time > $3 \
        ORDER BY time LIMIT 1";
    let row: Option<(OffsetDateTime,)> =
        tx.fetch_optional(SQL, args![s3uid.as_str(), bucket, time]).await?;
    Ok(row.map(|(time,)| time))
}

/// All samples of the account in a span, oldest first. Without an end: all since `from`.
pub(crate) async fn list(
    tx: &mut Tx,
    s3uid: &S3uid,
    from: OffsetDateTime,
    to: Option<OffsetDateTime>,
) -> Result<Vec<Sample>, Error> {
    const SQL: &str = "SELECT bucket, time, stored_bytes, object_count, is_deleted FROM sample \
        WHERE s3uid = $1 AND time >= $2 AND ($3 IS NULL OR time < $3) ORDER BY time, bucket";
    let rows: Vec<Row> = tx.fetch_all(SQL, args![s3uid.as_str(), from, to]).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Forgets up to `max` samples from before `before`; returns how many.
pub(crate) async fn forget(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM sample WHERE (s3uid, bucket, time) IN \
        (SELECT s3uid, bucket, time FROM sample WHERE time < $1 LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}
