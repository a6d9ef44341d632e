//! Changes of buckets that are under way.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use uuid::Uuid;

/// Notes that a saga changes a bucket; if another one does already, answers that.
pub(crate) async fn begin(
    tx: &mut Tx,
    uid: &S3uid,
    bucket: &BucketName,
    saga: Uuid,
) -> Result<Option<Uuid>, Error> {
    // The update changes nothing: it only lets the row that was there be answered.
    const SQL: &str = "INSERT INTO bucket_change (s3uid, bucket, saga) VALUES ($1, $2, $3) \
        ON CONFLICT (s3uid, bucket) DO UPDATE SET saga = bucket_change.saga RETURNING saga";
    let (found,): (Uuid,) = tx.fetch_one(SQL, args![uid.as_str(), bucket.as_str(), saga]).await?;
    Ok((found != saga).then_some(found))
}

/// Notes that a bucket which was made then is told of; false if it was before.
pub(crate) async fn set_made(
    tx: &mut Tx,
    uid: &S3uid,
    bucket: &BucketName,
    create_time: OffsetDateTime,
) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO bucket_made (s3uid, bucket, create_time) VALUES ($1, $2, $3) \
        ON CONFLICT (s3uid, bucket) DO UPDATE SET create_time = excluded.create_time \
        WHERE bucket_made.create_time <> excluded.create_time";
    let rows = tx.execute(SQL, args![uid.as_str(), bucket.as_str(), create_time]).await?;
    Ok(rows == 1)
}

/// Whether a bucket which was made then is told of.
pub(crate) async fn is_made(
    mut from: impl Query,
    uid: &S3uid,
    bucket: &BucketName,
    create_time: OffsetDateTime,
) -> Result<bool, Error> {
    const SQL: &str = "SELECT count(*) FROM bucket_made \
        WHERE s3uid = $1 AND bucket = $2 AND create_time = $3";
    let (count,): (i64,) =
        from.fetch_one(SQL, args![uid.as_str(), bucket.as_str(), create_time]).await?;
    Ok(count > 0)
}

/// Forgets a bucket that is gone.
pub(crate) async fn forget_made(
    tx: &mut Tx,
    uid: &S3uid,
    bucket: &BucketName,
) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM bucket_made WHERE s3uid = $1 AND bucket = $2";
    tx.execute(SQL, args![uid.as_str(), bucket.as_str()]).await?;
    Ok(())
}

/// Lets the next change begin.
pub(crate) async fn end(tx: &mut Tx, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM bucket_change WHERE s3uid = $1 AND bucket = $2";
    tx.execute(SQL, args![uid.as_str(), bucket.as_str()]).await?;
    Ok(())
}
