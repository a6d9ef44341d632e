//! Multipart uploads. Completing one moves rows; no byte is copied.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use stowage_db::{Tx, args};
use stowage_engine::{UploadCursor, UploadInfo};
use time::OffsetDateTime;

use super::object::{ObjectRow, Write, current, replace};
use super::{BucketRef, Delta, Index, charge, unsigned};
use crate::error::Error;
use crate::hash::Sums;
use crate::s3::condition::WriteCondition;

/// Smallest part of a multipart upload but the last, in bytes.
///
/// Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
pub(crate) const PART_BYTES_MIN: i64 = 5 * 1024 * 1024;

/// A part that was uploaded.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PartRow {
    pub(crate) number: i64,
    pub(crate) blob: String,
    pub(crate) size_bytes: i64,
    pub(crate) etag: String,
    /// JSON of `Sums`.
    pub(crate) sums: String,
    pub(crate) update_time: OffsetDateTime,
}

/// A part that the client names when it completes.
#[derive(Debug, Clone)]
pub(crate) struct ChosenPart {
    pub(crate) number: i64,
    pub(crate) etag: String,
    pub(crate) sums: Sums,
}

/// See [`Completion::meta`].
pub(crate) type MakeMeta<'a> = dyn Fn(&str, &[PartRow]) -> Result<String, Error> + Send + Sync + 'a;

/// An upload to complete.
pub(crate) struct Completion<'a> {
    pub(crate) bucket: &'a BucketRef,
    pub(crate) key: &'a str,
    pub(crate) upload: &'a str,
    pub(crate) parts: &'a [ChosenPart],
    pub(crate) condition: &'a WriteCondition,
    /// Makes the object's metadata from the upload's and from the chosen parts.
    pub(crate) meta: &'a MakeMeta<'a>,
}

const PARTS: &str = "SELECT number, blob, size_bytes, etag, sums, update_time FROM part
    WHERE upload = $1 AND number > $2 ORDER BY number LIMIT $3";

impl Index {
    /// Begins an upload and returns its id.
    pub(crate) async fn create_upload(
        &self,
        bucket: &BucketRef,
        key: &str,
        meta: &str,
    ) -> Result<String, Error> {
        let id = self.new_id();
        let mut tx = self.db.begin().await?;
        let rows = tx
            .execute(
                "INSERT INTO upload (id, bucket_id, key, create_time, meta)
                 SELECT $1, id, $3, $4, $5 FROM bucket WHERE id = $2",
                args![&id, bucket.id, key.as_bytes(), self.clock.now(), meta],
            )
            .await?;
        if rows == 0 {
            return Err(Error::NoSuchBucket);
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Returns the upload's metadata.
    pub(crate) async fn find_upload(
        &self,
        bucket: &BucketRef,
        key: &str,
        upload: &str,
    ) -> Result<String, Error> {
        let row: Option<(String,)> = self
            .db
            .fetch_optional(
                "SELECT meta FROM upload WHERE id = $1 AND bucket_id = $2 AND key = $3",
                args![upload, bucket.id, key.as_bytes()],
            )
            .await?;
        row.map(|(meta,)| meta).ok_or(Error::NoSuchUpload)
    }

    /// Returns the size of a part, 0 when it is not there.
    pub(crate) async fn part_size(&self, upload: &str, number: i64) -> Result<i64, Error> {
        let row: Option<(i64,)> = self
            .db
            .fetch_optional(
                "SELECT size_bytes FROM part WHERE upload = $1 AND number = $2",
                args![upload, number],
            )
            .await?;
        Ok(row.map_or(0, |(size,)| size))
    }

    /// Stores a part, instead of one of the same number if there is one.
    pub(crate) async fn put_part(
        &self,
        bucket: &BucketRef,
        upload: &str,
        part: &PartRow,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let known: Option<(i64,)> = tx
            .fetch_optional(
                "SELECT 1 FROM upload WHERE id = $1 AND bucket_id = $2",
                args![upload, bucket.id],
            )
            .await?;
        known.ok_or(Error::NoSuchUpload)?;
        let old: Option<(String, i64)> = tx
            .fetch_optional(
                "DELETE FROM part WHERE upload = $1 AND number = $2 RETURNING blob, size_bytes",
                args![upload, part.number],
            )
            .await?;
        if let Some((blob, _)) = &old {
            tx.execute("INSERT INTO gc (blob, content) VALUES ($1, '')", args![blob]).await?;
        }
        tx.execute(
            "INSERT INTO part (upload, number, blob, size_bytes, etag, sums, update_time)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                upload,
                part.number,
                &part.blob,
                part.size_bytes,
                &part.etag,
                &part.sums,
                part.update_time
            ],
        )
        .await?;
        let unfinished_bytes = part.size_bytes - old.map_or(0, |(_, size)| size);
        let delta = Delta { unfinished_bytes, is_write: true, ..Delta::default() };
        charge(&mut tx, bucket, delta).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lists parts by number, those after `after`.
    pub(crate) async fn list_parts(
        &self,
        upload: &str,
        after: i64,
        max: i64,
    ) -> Result<Vec<PartRow>, Error> {
        Ok(self.db.fetch_all(PARTS, args![upload, after, max]).await?)
    }

    /// Forgets an upload; its parts go to gc.
    pub(crate) async fn abort_upload(
        &self,
        bucket: &BucketRef,
        key: &str,
        upload: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let rows = tx
            .execute(
                "DELETE FROM upload WHERE id = $1 AND bucket_id = $2 AND key = $3",
                args![upload, bucket.id, key.as_bytes()],
            )
            .await?;
        if rows == 0 {
            return Err(Error::NoSuchUpload);
        }
        let freed = discard_parts(&mut tx, upload).await?;
        let delta = Delta { unfinished_bytes: -freed, ..Delta::default() };
        charge(&mut tx, bucket, delta).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lists uploads of a bucket by key and id, those after `after`.
    pub(crate) async fn uploads(
        &self,
        bucket: &BucketRef,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        type Row = (Vec<u8>, String, OffsetDateTime, i64);
        let (key, id) = after.map_or(("", ""), |after| (&after.key, &after.upload_id));
        let rows: Vec<Row> = self
            .db
            .fetch_all(
                "SELECT key, id, create_time, (SELECT coalesce(sum(size_bytes), 0) FROM part
                   WHERE part.upload = upload.id)
                 FROM upload WHERE bucket_id = $1 AND (key, id) > ($2, $3)
                 ORDER BY key, id LIMIT $4",
                args![bucket.id, key.as_bytes(), id, max],
            )
            .await?;
        let info = |(key, upload_id, begin_time, bytes): Row| UploadInfo {
            key: String::from_utf8_lossy(&key).into_owned(),
            upload_id,
            begin_time,
            stored_bytes: Some(unsigned(bytes)),
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// Forgets some uploads of a bucket, at most `max`, that were begun before a time, if there is
    /// one; answers how many.
    pub(crate) async fn abort_uploads(
        &self,
        bucket: &BucketRef,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<usize, Error> {
        let mut tx = self.db.begin().await?;
        let uploads: Vec<(String,)> = tx
            .fetch_all(
                "DELETE FROM upload WHERE id IN (SELECT id FROM upload
                   WHERE bucket_id = $1 AND ($2 IS NULL OR create_time < $2) LIMIT $3)
                 RETURNING id",
                args![bucket.id, begun_before, max],
            )
            .await?;
        let mut freed = 0;
        for (upload,) in &uploads {
            freed += discard_parts(&mut tx, upload).await?;
        }
        if !uploads.is_empty() {
            let delta = Delta { unfinished_bytes: -freed, ..Delta::default() };
            charge(&mut tx, bucket, delta).await?;
        }
        tx.commit().await?;
        Ok(uploads.len())
    }

    /// Makes the upload an object. A repeat after success finds the object that it made, so a
    /// client that lost the answer gets it again.
    pub(crate) async fn complete_upload(&self, work: Completion<'_>) -> Result<ObjectRow, Error> {
        let key = work.key.as_bytes();
        let mut tx = self.db.begin().await?;
        let old = current(&mut tx, work.bucket, key).await?;
        let upload: Option<(String,)> = tx
            .fetch_optional(
                "SELECT meta FROM upload WHERE id = $1 AND bucket_id = $2 AND key = $3",
                args![work.upload, work.bucket.id, key],
            )
            .await?;
        let Some((upload_meta,)) = upload else {
            let made = old.filter(|row| row.upload.as_deref() == Some(work.upload));
            return made.ok_or(Error::NoSuchUpload);
        };
        work.condition.check(old.as_ref().map(|old| old.etag.as_str()))?;
        let all: Vec<PartRow> = tx.fetch_all(PARTS, args![work.upload, 0, 10_000]).await?;
        let chosen = choose(&all, work.parts)?;
        let row = ObjectRow {
            etag: multipart_etag(&chosen)?,
            size_bytes: chosen.iter().map(|part| part.size_bytes).sum(),
            update_time: self.clock.now(),
            content: self.new_id(),
            upload: Some(work.upload.to_owned()),
            meta: (work.meta)(&upload_meta, &chosen)?,
        };
        self.move_parts(&mut tx, &work, &row.content, &all).await?;
        let unfinished_bytes = all.iter().map(|part| part.size_bytes).sum();
        let write =
            Write { bucket: work.bucket, key, row: &row, old: old.as_ref(), unfinished_bytes };
        replace(&mut tx, write).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Turns the chosen parts into segments; those left out go to gc.
    async fn move_parts(
        &self,
        tx: &mut Tx,
        work: &Completion<'_>,
        content: &str,
        all: &[PartRow],
    ) -> Result<(), Error> {
        for part in all {
            if work.parts.binary_search_by_key(&part.number, |chosen| chosen.number).is_err() {
                tx.execute("INSERT INTO gc (blob, content) VALUES ($1, '')", args![&part.blob])
                    .await?;
                tx.execute(
                    "DELETE FROM part WHERE upload = $1 AND number = $2",
                    args![work.upload, part.number],
                )
                .await?;
            }
        }
        tx.execute(
            "INSERT INTO segment (content, position, blob, size_bytes)
             SELECT $1, number, blob, size_bytes FROM part WHERE upload = $2",
            args![content, work.upload],
        )
        .await?;
        tx.execute("DELETE FROM part WHERE upload = $1", args![work.upload]).await?;
        tx.execute("DELETE FROM upload WHERE id = $1", args![work.upload]).await?;
        Ok(())
    }
}

async fn discard_parts(tx: &mut Tx, upload: &str) -> Result<i64, Error> {
    let (freed,): (i64,) = tx
        .fetch_one("SELECT coalesce(sum(size_bytes), 0) FROM part WHERE upload = $1", args![upload])
        .await?;
    tx.execute(
        "INSERT INTO gc (blob, content) SELECT blob, '' FROM part WHERE upload = $1",
        args![upload],
    )
    .await?;
    tx.execute("DELETE FROM part WHERE upload = $1", args![upload]).await?;
    Ok(freed)
}

/// Checks what the client names against what was uploaded.
fn choose(all: &[PartRow], named: &[ChosenPart]) -> Result<Vec<PartRow>, Error> {
    let parts: BTreeMap<i64, &PartRow> = all.iter().map(|part| (part.number, part)).collect();
    if !named.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Error::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for name in named {
        let part = parts.get(&name.number).ok_or(Error::InvalidPart)?;
        let sums: Sums = serde_json::from_str(&part.sums).unwrap_or_default();
        let differs = name.sums.iter().any(|(alg, sum)| sums.get(alg).is_some_and(|s| s != sum));
        if part.etag != name.etag || differs {
            return Err(Error::InvalidPart);
        }
        chosen.push((*part).clone());
    }
    let (_, others) = chosen.split_last().ok_or(Error::InvalidPart)?;
    if others.iter().any(|part| part.size_bytes < PART_BYTES_MIN) {
        return Err(Error::PartTooSmall);
    }
    Ok(chosen)
}

/// MD5 of the parts' MD5s, and how many there are: what S3 clients expect.
fn multipart_etag(parts: &[PartRow]) -> Result<String, Error> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.etag).map_err(|_| Error::InvalidPart)?);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}
