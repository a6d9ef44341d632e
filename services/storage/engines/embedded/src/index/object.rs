//! Objects and their content.

use stowage_db::{Args, Tx, args};
use time::OffsetDateTime;

use super::{BucketRef, Delta, Index, charge, discard_content, discard_contents, signed};
use crate::error::Error;
use crate::s3::condition::WriteCondition;

/// An object as the index has it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ObjectRow {
    pub(crate) etag: String,
    pub(crate) size_bytes: i64,
    pub(crate) update_time: OffsetDateTime,
    pub(crate) content: String,
    pub(crate) upload: Option<String>,
    /// JSON of `s3::meta::Meta`.
    pub(crate) meta: String,
}

/// A piece of an object's content.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Segment {
    pub(crate) blob: Option<String>,
    pub(crate) size_bytes: i64,
    pub(crate) data: Option<Vec<u8>>,
}

/// An object to store. Its blobs are on disk already.
#[derive(Debug)]
pub(crate) struct NewObject {
    pub(crate) bucket: BucketRef,
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) meta: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) condition: WriteCondition,
}

/// The row that an upsert writes.
pub(super) struct Write<'a> {
    pub(super) bucket: &'a BucketRef,
    pub(super) key: &'a [u8],
    pub(super) row: &'a ObjectRow,
    pub(super) old: Option<&'a ObjectRow>,
    /// Bytes of parts that the object takes over.
    pub(super) unfinished_bytes: i64,
}

/// Keys that one statement names: as many parameters, of 32,766 that SQLite allows.
const KEYS_MAX: usize = 250;

const SELECT: &str = "SELECT etag, size_bytes, update_time, content, upload, meta FROM object
    WHERE bucket_id = $1 AND key = $2";

/// Statement arguments of an object's primary key.
fn place(bucket: &BucketRef, key: &[u8]) -> Args {
    args![bucket.id, key]
}

/// Reads the object inside the transaction that will replace it.
pub(super) async fn current(
    tx: &mut Tx,
    bucket: &BucketRef,
    key: &[u8],
) -> Result<Option<ObjectRow>, Error> {
    Ok(tx.fetch_optional(SELECT, place(bucket, key)).await?)
}

/// Writes the row, discards what it replaces, and settles the figures.
pub(super) async fn replace(tx: &mut Tx, write: Write<'_>) -> Result<(), Error> {
    let Write { bucket, key, row, old, unfinished_bytes } = write;
    if let Some(old) = old {
        discard_content(tx, &old.content).await?;
    }
    tx.execute(
        "INSERT INTO object (bucket_id, key, etag, size_bytes, update_time, content, upload, meta)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (bucket_id, key) DO UPDATE SET etag = excluded.etag,
           size_bytes = excluded.size_bytes, update_time = excluded.update_time,
           content = excluded.content, upload = excluded.upload, meta = excluded.meta",
        args![
            bucket.id,
            key,
            &row.etag,
            row.size_bytes,
            row.update_time,
            &row.content,
            row.upload.as_deref(),
            &row.meta
        ],
    )
    .await?;
    let delta = Delta {
        stored_bytes: row.size_bytes - old.map_or(0, |old| old.size_bytes),
        object_count: i64::from(old.is_none()),
        unfinished_bytes: -unfinished_bytes,
        is_write: true,
    };
    charge(tx, bucket, delta).await
}

/// Takes objects out of the index; answers content and size of those that were there.
async fn delete_rows(
    tx: &mut Tx,
    bucket: &BucketRef,
    keys: &[&[u8]],
) -> Result<Vec<(String, i64)>, Error> {
    let mut args = args![bucket.id];
    let places = args.push_all(keys.iter().copied());
    let sql = format!(
        "DELETE FROM object WHERE bucket_id = $1 AND key IN ({places})
         RETURNING content, size_bytes"
    );
    Ok(tx.fetch_all_built(sql, args).await?)
}

impl Index {
    /// Finds an object.
    pub(crate) async fn find_object(
        &self,
        bucket: &BucketRef,
        key: &str,
    ) -> Result<Option<ObjectRow>, Error> {
        Ok(self.db.fetch_optional(SELECT, place(bucket, key.as_bytes())).await?)
    }

    /// Returns the pieces of a content in order; none when it has been replaced meanwhile.
    pub(crate) async fn segments(&self, content: &str) -> Result<Vec<Segment>, Error> {
        Ok(self
            .db
            .fetch_all(
                "SELECT blob, size_bytes, data FROM segment WHERE content = $1 ORDER BY position",
                args![content],
            )
            .await?)
    }

    /// Stores an object in one transaction and returns its row.
    pub(crate) async fn put_object(&self, new: NewObject) -> Result<ObjectRow, Error> {
        let key = new.key.as_bytes();
        let mut row = ObjectRow {
            etag: new.etag,
            size_bytes: new.segments.iter().map(|segment| segment.size_bytes).sum(),
            update_time: self.clock.now(),
            content: self.new_id(),
            upload: None,
            meta: new.meta,
        };
        let mut tx = self.db.begin().await?;
        let old = current(&mut tx, &new.bucket, key).await?;
        new.condition.check(old.as_ref().map(|old| old.etag.as_str()))?;
        row.update_time = row.update_time.max(self.clock.now());
        for (position, segment) in new.segments.into_iter().enumerate() {
            tx.execute(
                "INSERT INTO segment (content, position, blob, size_bytes, data)
                 VALUES ($1, $2, $3, $4, $5)",
                args![
                    &row.content,
                    signed(position as u64),
                    segment.blob,
                    segment.size_bytes,
                    segment.data
                ],
            )
            .await?;
        }
        let old = old.as_ref();
        let write = Write { bucket: &new.bucket, key, row: &row, old, unfinished_bytes: 0 };
        replace(&mut tx, write).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Deletes objects in one transaction. Keys that are not there are deleted already.
    pub(crate) async fn delete_objects<'a>(
        &self,
        bucket: &BucketRef,
        keys: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Error> {
        let keys: Vec<&[u8]> = keys.into_iter().collect();
        let mut tx = self.db.begin().await?;
        let mut delta = Delta::default();
        for keys in keys.chunks(KEYS_MAX) {
            let gone = delete_rows(&mut tx, bucket, keys).await?;
            delta.object_count -= signed(gone.len() as u64);
            delta.stored_bytes -= gone.iter().map(|(_, size_bytes)| size_bytes).sum::<i64>();
            discard_contents(&mut tx, gone.iter().map(|(content, _)| content.as_str())).await?;
        }
        if delta.object_count == 0 {
            return Ok(());
        }
        charge(&mut tx, bucket, delta).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes an object if the condition holds.
    pub(crate) async fn delete_if(
        &self,
        bucket: &BucketRef,
        key: &str,
        condition: &WriteCondition,
    ) -> Result<(), Error> {
        let key = key.as_bytes();
        let mut tx = self.db.begin().await?;
        let old = current(&mut tx, bucket, key).await?;
        condition.check(old.as_ref().map(|old| old.etag.as_str()))?;
        let Some(old) = old else { return Ok(()) };
        discard_content(&mut tx, &old.content).await?;
        tx.execute("DELETE FROM object WHERE bucket_id = $1 AND key = $2", place(bucket, key))
            .await?;
        let delta = Delta { stored_bytes: -old.size_bytes, object_count: -1, ..Delta::default() };
        charge(&mut tx, bucket, delta).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns up to `max` keys of a bucket, for a purge.
    pub(crate) async fn some_keys(
        &self,
        bucket: &BucketRef,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let rows: Vec<(Vec<u8>,)> = self
            .db
            .fetch_all(
                "SELECT key FROM object WHERE bucket_id = $1 ORDER BY key LIMIT $2",
                args![bucket.id, max],
            )
            .await?;
        Ok(rows.into_iter().map(|(key,)| key).collect())
    }
}
