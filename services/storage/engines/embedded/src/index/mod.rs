//! The index: who owns what, which blobs make up which object, and all counters.
//!
//! Counters of bucket and account change in the transaction that changes the object, so quotas
//! are exact and usage needs no scan. Every change of a bucket's figures or of an hour's traffic
//! takes the next number of the sequence `change`; a reader of usage asks for what came after the
//! number it has seen. There is one writer, so numbers become visible in their order.

pub(crate) mod account;
pub(crate) mod bucket;
pub(crate) mod gc;
pub(crate) mod keyring;
pub(crate) mod list;
pub(crate) mod object;
pub(crate) mod upload;
pub(crate) mod usage;

use std::sync::Arc;

use stowage_db::{Args, Db, Tx, args, next_id};
use stowage_keyring::Keyring;
use stowage_types::{Clock, Random, S3uid};

use crate::error::Error;

pub(crate) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The index and what it needs to make ids and times.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    /// Seals the secrets of access keys.
    pub(crate) keyring: Arc<Keyring>,
}

/// A bucket that was found, as a request holds on to it: by id, so that a name that is deleted
/// and made again meanwhile is another bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketRef {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) uid: S3uid,
}

/// What a transaction adds to the figures of a bucket and its account.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delta {
    pub(crate) stored_bytes: i64,
    pub(crate) object_count: i64,
    pub(crate) unfinished_bytes: i64,
    /// Whether it stores something, even if no more than before.
    pub(crate) is_write: bool,
}

/// Numbers of the program are unsigned, SQLite's are not.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As [`signed`], back.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Index {
    /// A fresh random id: 32 hexadecimal digits.
    pub(crate) fn new_id(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.random.fill(&mut bytes);
        hex::encode(bytes)
    }
}

/// Adds to the figures, or refuses what would exceed a quota.
async fn charge(tx: &mut Tx, bucket: &BucketRef, delta: Delta) -> Result<(), Error> {
    let growth = delta.stored_bytes + delta.unfinished_bytes;
    let rows = tx
        .execute(
            "UPDATE account SET stored_bytes = stored_bytes + $2, object_count = object_count + $3,
               unfinished_bytes = unfinished_bytes + $4
             WHERE uid = $1 AND (quota_bytes IS NULL OR $5 <= 0
               OR stored_bytes + unfinished_bytes + $5 <= quota_bytes)
             AND (quota_objects IS NULL OR $3 <= 0 OR object_count + $3 <= quota_objects)
             AND NOT (read_only AND $6)",
            args![
                bucket.uid.as_str(),
                delta.stored_bytes,
                delta.object_count,
                delta.unfinished_bytes,
                growth,
                delta.is_write
            ],
        )
        .await?;
    if rows == 0 {
        return Err(why_not(tx, &bucket.uid, delta).await?);
    }
    let changed = next_id(tx, "change").await?;
    let rows = tx
        .execute(
            "UPDATE bucket SET stored_bytes = stored_bytes + $2, object_count = object_count + $3,
               unfinished_bytes = unfinished_bytes + $4, changed = $6
             WHERE id = $1 AND (quota_bytes IS NULL OR $5 <= 0
               OR stored_bytes + unfinished_bytes + $5 <= quota_bytes)
             AND (quota_objects IS NULL OR $3 <= 0 OR object_count + $3 <= quota_objects)",
            args![
                bucket.id,
                delta.stored_bytes,
                delta.object_count,
                delta.unfinished_bytes,
                growth,
                changed
            ],
        )
        .await?;
    if rows == 1 {
        return Ok(());
    }
    let there: Option<(i64,)> =
        tx.fetch_optional("SELECT id FROM bucket WHERE id = $1", args![bucket.id]).await?;
    Err(there.map_or(Error::NoSuchBucket, |_| Error::QuotaExceeded))
}

/// Why an account does not take something: it may have become read-only meanwhile.
async fn why_not(tx: &mut Tx, uid: &S3uid, delta: Delta) -> Result<Error, Error> {
    const SQL: &str = "SELECT 1 FROM account WHERE uid = $1 AND read_only";
    let read_only: Option<(i64,)> = tx.fetch_optional(SQL, args![uid.as_str()]).await?;
    let is_refused = delta.is_write && read_only.is_some();
    Ok(if is_refused { Error::ReadOnly } else { Error::QuotaExceeded })
}

/// Takes a content's segments out of the index; their files go to gc.
async fn discard_content(tx: &mut Tx, content: &str) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO gc (blob, content)
         SELECT blob, content FROM segment WHERE content = $1 AND blob IS NOT NULL",
        args![content],
    )
    .await?;
    tx.execute("DELETE FROM segment WHERE content = $1", args![content]).await?;
    Ok(())
}

/// The same of many contents, in as many statements.
async fn discard_contents<'a>(
    tx: &mut Tx,
    contents: impl ExactSizeIterator<Item = &'a str> + Clone,
) -> Result<(), Error> {
    if contents.len() == 0 {
        return Ok(());
    }
    let mut args = Args::new();
    let places = args.push_all(contents.clone());
    let sql = format!(
        "INSERT INTO gc (blob, content)
         SELECT blob, content FROM segment WHERE content IN ({places}) AND blob IS NOT NULL"
    );
    tx.execute_built(sql, args).await?;
    let mut args = Args::new();
    let places = args.push_all(contents);
    let sql = format!("DELETE FROM segment WHERE content IN ({places})");
    tx.execute_built(sql, args).await?;
    Ok(())
}
