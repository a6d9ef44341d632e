//! Buckets: one name space for the whole engine.

use stowage_db::{args, next_id, next_ids};
use stowage_engine::{BucketInfo, Quota};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use super::account::quota;
use super::{BucketRef, Index, signed, unsigned};
use crate::error::Error;

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    create_time: OffsetDateTime,
    object_count: i64,
    stored_bytes: i64,
    received_bytes: i64,
    sent_bytes: i64,
    quota_bytes: Option<i64>,
    quota_objects: Option<i64>,
}

impl Index {
    /// Finds a bucket by its name, whoever owns it.
    pub(crate) async fn find_bucket(&self, name: &str) -> Result<Option<BucketRef>, Error> {
        let row: Option<(i64, String)> = self
            .db
            .fetch_optional("SELECT id, uid FROM bucket WHERE name = $1", args![name])
            .await?;
        let Some((id, uid)) = row else { return Ok(None) };
        let uid = S3uid::parse(&uid).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(Some(BucketRef { id, name: name.to_owned(), uid }))
    }

    /// Finds a bucket of the account.
    pub(crate) async fn own_bucket(&self, uid: &S3uid, name: &str) -> Result<BucketRef, Error> {
        let found = self.find_bucket(name).await?;
        found.filter(|bucket| bucket.uid == *uid).ok_or(Error::NoSuchBucket)
    }

    /// Creates a bucket; one the account has already stays as it is.
    pub(crate) async fn create_bucket(&self, uid: &S3uid, name: &BucketName) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let owner: Option<(String,)> = tx
            .fetch_optional("SELECT uid FROM bucket WHERE name = $1", args![name.as_str()])
            .await?;
        match owner {
            Some((owner,)) if owner == uid.as_str() => return Ok(()),
            Some(_) => return Err(Error::Taken),
            None => {}
        }
        let account: Option<(i64, Option<i64>)> = tx
            .fetch_optional(
                "UPDATE account SET bucket_count = bucket_count + 1 WHERE uid = $1
                 RETURNING bucket_count, bucket_max",
                args![uid.as_str()],
            )
            .await?;
        let (count, max) = account.ok_or(Error::NoSuchAccount)?;
        if max.is_some_and(|max| count > max) {
            return Err(Error::TooManyBuckets);
        }
        let [id, changed] = next_ids(&mut tx, ["bucket", "change"]).await?;
        tx.execute(
            "INSERT INTO bucket (id, name, uid, create_time, changed) VALUES ($1, $2, $3, $4, $5)",
            args![id, name.as_str(), uid.as_str(), self.clock.now(), changed],
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes an empty bucket. Its unfinished uploads go with it.
    pub(crate) async fn delete_bucket(&self, bucket: &BucketRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let full: Option<(i64,)> = tx
            .fetch_optional("SELECT 1 FROM object WHERE bucket_id = $1 LIMIT 1", args![bucket.id])
            .await?;
        if full.is_some() {
            return Err(Error::NotEmpty);
        }
        let (unfinished,): (i64,) = tx
            .fetch_one(
                "SELECT coalesce(sum(part.size_bytes), 0) FROM part
                 JOIN upload ON upload.id = part.upload WHERE upload.bucket_id = $1",
                args![bucket.id],
            )
            .await?;
        for sql in [
            "INSERT INTO gc (blob, content) SELECT blob, '' FROM part
             WHERE upload IN (SELECT id FROM upload WHERE bucket_id = $1)",
            "DELETE FROM part WHERE upload IN (SELECT id FROM upload WHERE bucket_id = $1)",
            "DELETE FROM upload WHERE bucket_id = $1",
        ] {
            tx.execute(sql, args![bucket.id]).await?;
        }
        if tx.execute("DELETE FROM bucket WHERE id = $1", args![bucket.id]).await? == 0 {
            return Err(Error::NoSuchBucket);
        }
        tx.execute(
            "UPDATE account SET bucket_count = bucket_count - 1,
               unfinished_bytes = unfinished_bytes - $2 WHERE uid = $1",
            args![bucket.uid.as_str(), unfinished],
        )
        .await?;
        let changed = next_id(&mut tx, "change").await?;
        tx.execute(
            "INSERT INTO dead_bucket (changed, uid, name, delete_time) VALUES ($1, $2, $3, $4)",
            args![changed, bucket.uid.as_str(), &bucket.name, self.clock.now()],
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets what a bucket may store.
    pub(crate) async fn set_bucket_quota(
        &self,
        bucket: &BucketRef,
        quota: Quota,
    ) -> Result<(), Error> {
        let [bytes, objects] = [quota.bytes, quota.objects].map(|bound| bound.map(signed));
        let mut tx = self.db.begin().await?;
        let rows = tx
            .execute(
                "UPDATE bucket SET quota_bytes = $2, quota_objects = $3 WHERE id = $1",
                args![bucket.id, bytes, objects],
            )
            .await?;
        if rows == 0 {
            return Err(Error::NoSuchBucket);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lists buckets of the account by name: those after `after` and not before `from`.
    pub(crate) async fn list_buckets(
        &self,
        uid: &S3uid,
        after: &str,
        from: &str,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        let rows: Vec<Row> = self
            .db
            .fetch_all(
                "SELECT name, create_time, object_count, stored_bytes, received_bytes, sent_bytes,
                   quota_bytes, quota_objects
                 FROM bucket WHERE uid = $1 AND name > $2 AND name >= $3 ORDER BY name LIMIT $4",
                args![uid.as_str(), after, from, max],
            )
            .await?;
        let info = |row: Row| {
            let bucket = BucketName::new(&row.name).map_err(|e| Error::Invalid(e.to_string()))?;
            Ok(BucketInfo {
                bucket,
                create_time: row.create_time,
                object_count: unsigned(row.object_count),
                stored_bytes: unsigned(row.stored_bytes),
                received_bytes: unsigned(row.received_bytes),
                sent_bytes: unsigned(row.sent_bytes),
                quota: quota(row.quota_bytes, row.quota_objects),
            })
        };
        rows.into_iter().map(info).collect()
    }
}
