//! The last sample of each bucket and hour that was sent to metering.

use std::collections::BTreeMap;

use stowage_db::{Db, Error, Tx, Value, args};
use stowage_engine::StorageFigures;
use stowage_types::hour_of;
use time::OffsetDateTime;

use crate::domain::engine_usage::EngineWindow;
use crate::domain::signed;

/// A sample by its account, hour and bucket, and when it was taken, whether the bucket is gone, and
/// what it stored: of two of one moment the deletion, then the larger one.
type Sent<'a> = BTreeMap<(&'a str, OffsetDateTime, &'a str), (OffsetDateTime, bool, i64)>;

/// Notes samples that are sent. As metering does: of one bucket and moment the deletion, then the
/// larger one.
pub(crate) async fn put(tx: &mut Tx, samples: &[StorageFigures]) -> Result<(), Error> {
    const HEAD: &str =
        "INSERT INTO sample_sent (s3uid, hour, bucket, time, stored_bytes, is_deleted)";
    const TAIL: &str = " ON CONFLICT (s3uid, hour, bucket) DO UPDATE SET time = excluded.time, \
        stored_bytes = excluded.stored_bytes, is_deleted = excluded.is_deleted \
        WHERE excluded.time > sample_sent.time OR (excluded.time = sample_sent.time \
        AND NOT sample_sent.is_deleted \
        AND (excluded.is_deleted OR excluded.stored_bytes > sample_sent.stored_bytes))";
    let mut sent = Sent::new();
    for sample in samples {
        let bytes = if sample.deleted { 0 } else { signed(sample.stored_bytes) };
        let told = (sample.sample_time, sample.deleted, bytes);
        let place = (sample.uid.as_str(), hour_of(sample.sample_time), &*sample.bucket);
        let kept = sent.entry(place).or_insert(told);
        *kept = told.max(*kept);
    }
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(sent.len());
    for ((uid, hour, bucket), (time, is_deleted, bytes)) in sent {
        let place = [uid.into(), hour.into(), bucket.into()];
        rows.push(
            place.into_iter().chain([time.into(), bytes.into(), is_deleted.into()]).collect(),
        );
    }
    tx.put_rows(HEAD, rows, TAIL).await
}

/// Buckets sampled and what they stored, by window, each with its hour.
pub(crate) type Sampled = BTreeMap<usize, Vec<(OffsetDateTime, (i64, i64))>>;

/// What was sampled in each hour of each window.
pub(crate) async fn hours(db: &Db, windows: &[EngineWindow]) -> Result<Sampled, Error> {
    let Some((parts, args)) = super::engine_usage::parts(windows) else {
        return Ok(Sampled::new());
    };
    let sql = format!(
        "{parts} SELECT part.place, t.hour, count(*), CAST(sum(t.stored_bytes) AS bigint) \
         FROM part JOIN sample_sent t ON t.s3uid = part.s3uid AND t.hour >= part.from_time \
         AND t.hour < part.to_time GROUP BY part.place, t.hour"
    );
    let rows: Vec<(i64, OffsetDateTime, i64, i64)> = db.fetch_all_built(sql, args).await?;
    let mut sampled = Sampled::new();
    for (place, hour, buckets, bytes) in rows {
        let place = usize::try_from(place).map_err(|bad| Error::Other { source: bad.into() })?;
        sampled.entry(place).or_default().push((hour, (buckets, bytes)));
    }
    Ok(sampled)
}

/// The first hour of which a sample is noted.
pub(crate) async fn first_hour(db: &Db) -> Result<Option<OffsetDateTime>, Error> {
    let (hour,): (Option<OffsetDateTime>,) =
        db.fetch_one("SELECT min(hour) FROM sample_sent", args![]).await?;
    Ok(hour)
}

/// Forgets samples of hours before `before`, at most `rows_max`; answers how many.
pub(crate) async fn forget(
    tx: &mut Tx,
    before: OffsetDateTime,
    rows_max: i64,
) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM sample_sent WHERE (s3uid, hour, bucket) IN \
         (SELECT s3uid, hour, bucket FROM sample_sent WHERE hour < $1 LIMIT $2)",
        args![before, rows_max],
    )
    .await
}
