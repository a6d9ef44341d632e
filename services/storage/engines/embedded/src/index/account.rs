//! Accounts and their keys.

use std::collections::BTreeMap;

use stowage_db::args;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, KeyPair, KeyUsage, Quota,
};
use stowage_types::{S3uid, SecretString};
use time::OffsetDateTime;

use super::object::ObjectRow;
use super::{BucketRef, Index, unsigned};
use crate::error::Error;

/// Keys of one account, at most.
const KEYS_MAX: usize = 100;

/// What an access key opens.
#[derive(Debug)]
pub(crate) struct FoundKey {
    pub(crate) uid: S3uid,
    pub(crate) secret: SecretString,
    pub(crate) access: AccountAccess,
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    uid: String,
    quota_bytes: Option<i64>,
    quota_objects: Option<i64>,
    bucket_max: Option<i64>,
    suspended: bool,
    read_only: bool,
    bucket_count: i64,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    uid: String,
    sealed_secret: Vec<u8>,
    suspended: bool,
    read_only: bool,
}

/// What columns say of a quota.
pub(super) fn quota(bytes: Option<i64>, objects: Option<i64>) -> Quota {
    Quota { bytes: bytes.map(unsigned), objects: objects.map(unsigned) }
}

fn access(is_suspended: bool, is_read_only: bool) -> AccountAccess {
    match (is_suspended, is_read_only) {
        (true, _) => AccountAccess::Suspended,
        (false, true) => AccountAccess::ReadOnly,
        (false, false) => AccountAccess::Full,
    }
}

/// The columns of an access.
fn flags(access: AccountAccess) -> (bool, bool) {
    (access == AccountAccess::Suspended, access == AccountAccess::ReadOnly)
}

/// What a sealed secret is bound to: a row moved to another key does not open.
pub(super) fn binding(access_key: &str) -> String {
    format!("embedded_access_key/{access_key}")
}

impl Index {
    /// Makes the account be as `spec` says.
    pub(crate) async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        if spec.keys.len() > KEYS_MAX {
            return Err(Error::Invalid(format!("more than {KEYS_MAX} keys")));
        }
        let uid = spec.uid.as_str();
        let [bytes, objects] = [spec.quota.bytes, spec.quota.objects].map(|q| q.map(super::signed));
        let (is_suspended, is_read_only) = flags(spec.access);
        // Sealed before the writer is held.
        let mut sealed_keys = Vec::with_capacity(spec.keys.len());
        for key in &spec.keys {
            let sealed = self.keyring.seal(&key.secret_key, &binding(&key.access_key))?;
            sealed_keys.push((key.access_key.as_str(), sealed));
        }
        let kept: Vec<&str> = spec.keys.iter().map(|key| key.access_key.as_str()).collect();
        let kept = serde_json::Value::from(kept);
        let mut tx = self.db.begin().await?;
        tx.defer(
            "INSERT INTO account
               (uid, quota_bytes, quota_objects, bucket_max, suspended, read_only)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (uid) DO UPDATE SET quota_bytes = excluded.quota_bytes,
               quota_objects = excluded.quota_objects, bucket_max = excluded.bucket_max,
               suspended = excluded.suspended, read_only = excluded.read_only",
            args![uid, bytes, objects, spec.bucket_max, is_suspended, is_read_only],
        );
        // Those that stay keep the time of their last use.
        tx.defer(
            "DELETE FROM access_key WHERE uid = $1
             AND access_key NOT IN (SELECT value FROM json_each($2))",
            args![uid, kept],
        );
        for (access_key, sealed_secret) in sealed_keys {
            let rows = tx
                .execute(
                    "INSERT INTO access_key (access_key, uid, sealed_secret) VALUES ($1, $2, $3)
                     ON CONFLICT (access_key)
                     DO UPDATE SET sealed_secret = excluded.sealed_secret
                     WHERE access_key.uid = excluded.uid",
                    args![access_key, uid, sealed_secret],
                )
                .await?;
            if rows == 0 {
                return Err(Error::Taken);
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Changes what the account's keys open.
    pub(crate) async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Error> {
        let (is_suspended, is_read_only) = flags(access);
        let mut tx = self.db.begin().await?;
        let rows = tx
            .execute(
                "UPDATE account SET suspended = $2, read_only = $3 WHERE uid = $1",
                args![uid.as_str(), is_suspended, is_read_only],
            )
            .await?;
        if rows == 0 {
            return Err(Error::NoSuchAccount);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Returns what an access key opens.
    pub(crate) async fn find_key(&self, access_key: &str) -> Result<Option<FoundKey>, Error> {
        let row: Option<KeyRow> = self
            .db
            .fetch_optional(
                "SELECT account.uid, sealed_secret, suspended, read_only FROM access_key
                 JOIN account ON account.uid = access_key.uid WHERE access_key = $1",
                args![access_key],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Ok(uid) = S3uid::parse(&row.uid) else { return Ok(None) };
        let secret = self.keyring.open(&row.sealed_secret, &binding(access_key))?;
        Ok(Some(FoundKey { uid, secret, access: access(row.suspended, row.read_only) }))
    }

    /// One of the account's keys, with its secret; the account's access does not matter.
    pub(crate) async fn some_key(&self, uid: &S3uid) -> Result<Option<KeyPair>, Error> {
        let row: Option<(String, Vec<u8>)> = self
            .db
            .fetch_optional(
                "SELECT access_key, sealed_secret FROM access_key WHERE uid = $1
                 ORDER BY access_key LIMIT 1",
                args![uid.as_str()],
            )
            .await?;
        let Some((access_key, sealed)) = row else { return Ok(None) };
        let secret_key = self.keyring.open(&sealed, &binding(&access_key))?;
        Ok(Some(KeyPair { access_key, secret_key }))
    }

    /// Lists accounts by uid, those after `after`, with their access keys.
    pub(crate) async fn list_accounts(
        &self,
        after: &str,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        let rows: Vec<AccountRow> = self
            .db
            .fetch_all(
                "SELECT uid, quota_bytes, quota_objects, bucket_max, suspended, read_only,
                   bucket_count
                 FROM account WHERE uid > $1 ORDER BY uid LIMIT $2",
                args![after, max],
            )
            .await?;
        let Some(last) = rows.last().map(|row| row.uid.clone()) else { return Ok(Vec::new()) };
        let keys: Vec<(String, String)> = self
            .db
            .fetch_all(
                "SELECT uid, access_key FROM access_key WHERE uid > $1 AND uid <= $2
                 ORDER BY uid, access_key",
                args![after, last],
            )
            .await?;
        let mut keys_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (uid, access_key) in keys {
            keys_of.entry(uid).or_default().push(access_key);
        }
        let info = |row: AccountRow| {
            Ok(AccountInfo {
                access_keys: keys_of.remove(&row.uid).unwrap_or_default(),
                uid: S3uid::parse(&row.uid).map_err(|e| Error::Invalid(e.to_string()))?,
                quota: quota(row.quota_bytes, row.quota_objects),
                bucket_max: row.bucket_max.and_then(|max| u32::try_from(max).ok()),
                access: access(row.suspended, row.read_only),
                bucket_count: unsigned(row.bucket_count),
            })
        };
        rows.into_iter().map(info).collect()
    }

    /// Returns the account's keys, each with when it was last used, as far as that was written.
    pub(crate) async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        let rows: Vec<(String, Option<OffsetDateTime>)> = self
            .db
            .fetch_all(
                "SELECT access_key, last_use_time FROM access_key WHERE uid = $1
                 ORDER BY access_key",
                args![uid.as_str()],
            )
            .await?;
        let usage = |(access_key, last_use_time)| KeyUsage { access_key, last_use_time };
        Ok(rows.into_iter().map(usage).collect())
    }

    /// Writes down when keys were last used.
    pub(crate) async fn save_key_usage(
        &self,
        used: &[(String, OffsetDateTime)],
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for (access_key, time) in used {
            tx.defer(
                "UPDATE access_key SET last_use_time = $2 WHERE access_key = $1",
                args![access_key, *time],
            );
        }
        tx.commit().await?;
        Ok(())
    }

    /// Removes the account when it has no bucket.
    pub(crate) async fn remove_empty_account(&self, uid: &S3uid) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let count: Option<(i64,)> = tx
            .fetch_optional("SELECT bucket_count FROM account WHERE uid = $1", args![uid.as_str()])
            .await?;
        if count.is_some_and(|(buckets,)| buckets > 0) {
            return Err(Error::NotEmpty);
        }
        tx.execute("DELETE FROM access_key WHERE uid = $1", args![uid.as_str()]).await?;
        tx.execute("DELETE FROM account WHERE uid = $1", args![uid.as_str()]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes all keys away and lets the account create no more buckets: the first step of a purge.
    pub(crate) async fn freeze_account(&self, uid: &S3uid) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.execute("DELETE FROM access_key WHERE uid = $1", args![uid.as_str()]).await?;
        tx.execute("UPDATE account SET bucket_max = 0 WHERE uid = $1", args![uid.as_str()]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns the account's figures.
    pub(crate) async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        let row: Option<(i64, i64, i64, i64)> = self
            .db
            .fetch_optional(
                "SELECT bucket_count, object_count, stored_bytes, unfinished_bytes
                 FROM account WHERE uid = $1",
                args![uid.as_str()],
            )
            .await?;
        let (buckets, objects, stored, unfinished) = row.ok_or(Error::NoSuchAccount)?;
        Ok(AccountUsage {
            bucket_count: unsigned(buckets),
            object_count: unsigned(objects),
            stored_bytes: unsigned(stored),
            unfinished_bytes: unsigned(unfinished),
        })
    }

    /// Refuses early what could not be committed: so much more in a bucket.
    pub(crate) async fn check_quota(
        &self,
        bucket: &BucketRef,
        growth: Growth,
    ) -> Result<(), Error> {
        let row: Option<StoredRow> = self
            .db
            .fetch_optional(
                "SELECT account.quota_bytes, account.quota_objects, account.object_count,
                   account.stored_bytes + account.unfinished_bytes AS used_bytes,
                   bucket.quota_bytes AS bucket_quota_bytes,
                   bucket.quota_objects AS bucket_quota_objects,
                   bucket.object_count AS bucket_object_count,
                   bucket.stored_bytes + bucket.unfinished_bytes AS bucket_used_bytes
                 FROM bucket JOIN account ON account.uid = bucket.uid WHERE bucket.id = $1",
                args![bucket.id],
            )
            .await?;
        let row = row.ok_or(Error::NoSuchBucket)?;
        let exceeds = |quota: Option<i64>, used: i64, growth: i64| {
            quota.is_some_and(|quota| growth > 0 && used + growth > quota)
        };
        let is_over = exceeds(row.quota_bytes, row.used_bytes, growth.bytes)
            || exceeds(row.quota_objects, row.object_count, growth.objects)
            || exceeds(row.bucket_quota_bytes, row.bucket_used_bytes, growth.bytes)
            || exceeds(row.bucket_quota_objects, row.bucket_object_count, growth.objects);
        if is_over { Err(Error::QuotaExceeded) } else { Ok(()) }
    }
}

/// What a request would add.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    pub(crate) bytes: i64,
    pub(crate) objects: i64,
}

impl Growth {
    /// By an object of so many bytes in place of the one that is there.
    pub(crate) fn of(size_bytes: i64, old: Option<&ObjectRow>) -> Self {
        let bytes = size_bytes - old.map_or(0, |old| old.size_bytes);
        Self { bytes, objects: i64::from(old.is_none()) }
    }
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    quota_bytes: Option<i64>,
    quota_objects: Option<i64>,
    object_count: i64,
    used_bytes: i64,
    bucket_quota_bytes: Option<i64>,
    bucket_quota_objects: Option<i64>,
    bucket_object_count: i64,
    bucket_used_bytes: i64,
}
