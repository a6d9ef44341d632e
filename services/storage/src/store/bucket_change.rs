//! Changes of buckets that are under way.

use stowage_db::{Error, Tx, args};
use stowage_types::{BucketName, S3uid};
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

/// Lets the next change begin.
pub(crate) async fn end(tx: &mut Tx, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM bucket_change WHERE s3uid = $1 AND bucket = $2";
    tx.execute(SQL, args![uid.as_str(), bucket.as_str()]).await?;
    Ok(())
}
