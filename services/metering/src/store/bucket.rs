//! Table `bucket`: latest figures of a bucket.

use stowage_db::{Db, Error, Query, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::{BucketFigures, Sample};

/// An account has at most this many buckets in an answer.
const BUCKETS_MAX: i64 = 10_000;

/// Takes samples as the latest figures of their buckets, if none is newer. No bucket comes twice.
pub(crate) async fn advance(
    tx: &mut Tx,
    s3uid: &S3uid,
    samples: impl Iterator<Item = &Sample>,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO bucket (s3uid, bucket, stored_bytes, object_count, \
        is_deleted, sample_time, as_of_time)";
    const TAIL: &str = " ON CONFLICT (s3uid, bucket) DO UPDATE SET \
        stored_bytes = excluded.stored_bytes, object_count = excluded.object_count, \
        is_deleted = excluded.is_deleted, sample_time = excluded.sample_time, \
        as_of_time = CASE WHEN bucket.as_of_time > excluded.as_of_time THEN bucket.as_of_time \
        ELSE excluded.as_of_time END \
        WHERE bucket.sample_time IS NULL OR bucket.sample_time <= excluded.sample_time";
    let rows: Vec<Vec<Value>> = samples
        .map(|sample| {
            vec![
                s3uid.as_str().into(),
                (&sample.bucket).into(),
                sample.stored_bytes.into(),
                sample.object_count.into(),
                sample.is_deleted.into(),
                sample.time.into(),
                sample.time.into(),
            ]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

/// Notes that something moved in buckets, and when that was true.
pub(crate) async fn touch(
    tx: &mut Tx,
    buckets: impl Iterator<Item = ((&S3uid, &str), OffsetDateTime)>,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO bucket (s3uid, bucket, stored_bytes, object_count, \
        is_deleted, sample_time, as_of_time)";
    const TAIL: &str = " ON CONFLICT (s3uid, bucket) DO UPDATE SET \
        as_of_time = excluded.as_of_time WHERE bucket.as_of_time < excluded.as_of_time";
    let none = None::<OffsetDateTime>;
    let rows: Vec<Vec<Value>> = buckets
        .map(|((s3uid, bucket), as_of)| {
            let uid = s3uid.as_str().into();
            vec![uid, bucket.into(), 0.into(), 0.into(), false.into(), none.into(), as_of.into()]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

/// Bytes that the bucket stores according to its newest sample; 0 if there is none.
pub(crate) async fn stored_bytes(tx: &mut Tx, s3uid: &S3uid, bucket: &str) -> Result<i64, Error> {
    const SQL: &str = "SELECT stored_bytes FROM bucket WHERE s3uid = $1 AND bucket = $2";
    let row: Option<(i64,)> = tx.fetch_optional(SQL, args![s3uid.as_str(), bucket]).await?;
    Ok(row.map_or(0, |(bytes,)| bytes))
}

/// Sum over the buckets.
pub(crate) async fn total_bytes(tx: &mut Tx, s3uid: &S3uid) -> Result<i64, Error> {
    const SQL: &str = "SELECT CAST(coalesce(sum(stored_bytes), 0) AS bigint) FROM bucket \
        WHERE s3uid = $1";
    let (bytes,): (i64,) = tx.fetch_one(SQL, args![s3uid.as_str()]).await?;
    Ok(bytes)
}

#[derive(sqlx::FromRow)]
struct Row {
    bucket: String,
    stored_bytes: i64,
    object_count: i64,
    sample_time: OffsetDateTime,
}

/// The buckets that are there, by name.
pub(crate) async fn list(db: &Db, s3uid: &S3uid) -> Result<Vec<BucketFigures>, Error> {
    const SQL: &str = "SELECT bucket, stored_bytes, object_count, sample_time FROM bucket \
        WHERE s3uid = $1 AND sample_time IS NOT NULL AND NOT is_deleted ORDER BY bucket LIMIT $2";
    let rows: Vec<Row> = db.fetch_all(SQL, args![s3uid.as_str(), BUCKETS_MAX]).await?;
    Ok(rows
        .into_iter()
        .map(|row| BucketFigures {
            bucket: row.bucket,
            stored_bytes: row.stored_bytes,
            object_count: row.object_count,
            as_of: row.sample_time,
        })
        .collect())
}

/// When the newest fact of the bucket was true.
pub(crate) async fn as_of(
    mut from: impl Query,
    s3uid: &S3uid,
    bucket: &str,
) -> Result<Option<OffsetDateTime>, Error> {
    const SQL: &str = "SELECT as_of_time FROM bucket WHERE s3uid = $1 AND bucket = $2";
    let row: Option<(OffsetDateTime,)> =
        from.fetch_optional(SQL, args![s3uid.as_str(), bucket]).await?;
    Ok(row.map(|(time,)| time))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::store::tests::{Store, uid};

    #[tokio::test]
    async fn an_older_sample_changes_nothing_and_traffic_alone_makes_no_bucket() {
        let store = Store::start().await;
        let now = datetime!(2026-11-23 15:30 UTC);
        let sample = |stored_bytes, time| Sample {
            bucket: "photos".to_owned(),
            time,
            stored_bytes,
            object_count: 1,
            is_deleted: false,
        };
        let mut tx = store.db.begin().await.unwrap();
        let uid = &uid(1);
        let moved = [((uid, "photos"), now), ((uid, "moved-only"), now)];
        touch(&mut tx, moved.into_iter()).await.unwrap();
        for sample in [sample(5, now - Duration::HOUR), sample(4, now - 2 * Duration::HOUR)] {
            advance(&mut tx, uid, [&sample].into_iter()).await.unwrap();
        }
        assert_eq!(stored_bytes(&mut tx, uid, "photos").await.unwrap(), 5);
        assert_eq!(total_bytes(&mut tx, uid).await.unwrap(), 5);
        assert_eq!(as_of(&mut tx, uid, "photos").await.unwrap(), Some(now));
        tx.commit().await.unwrap();
        let list = list(&store.db, uid).await.unwrap();
        let names: Vec<_> = list.iter().map(|b| (b.bucket.as_str(), b.as_of)).collect();
        assert_eq!(names, [("photos", now - Duration::HOUR)]);
    }
}
