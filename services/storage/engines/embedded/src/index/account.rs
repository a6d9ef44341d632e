//! Accounts and their keys.

use stowage_db::args;
use stowage_engine::{AccountSpec, AccountUsage};
use stowage_types::{S3uid, SecretString};

use super::{Index, unsigned};
use crate::error::Error;

/// Keys of one account, at most.
const KEYS_MAX: usize = 100;

/// What a sealed secret is bound to: a row moved to another key does not open.
fn binding(access_key: &str) -> String {
    format!("embedded_access_key/{access_key}")
}

impl Index {
    /// Makes the account be as `spec` says.
    pub(crate) async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        if spec.keys.len() > KEYS_MAX {
            return Err(Error::Invalid(format!("more than {KEYS_MAX} keys")));
        }
        let uid = spec.uid.as_str();
        let quota = spec.quota_bytes.map(super::signed);
        // Sealed before the writer is held.
        let mut sealed_keys = Vec::with_capacity(spec.keys.len());
        for key in &spec.keys {
            let sealed = self.keyring.seal(&key.secret_key, &binding(&key.access_key))?;
            sealed_keys.push((key.access_key.as_str(), sealed));
        }
        let mut tx = self.db.begin().await?;
        tx.defer(
            "INSERT INTO account (uid, quota_bytes, bucket_max) VALUES ($1, $2, $3)
             ON CONFLICT (uid) DO UPDATE SET quota_bytes = excluded.quota_bytes,
               bucket_max = excluded.bucket_max",
            args![uid, quota, spec.bucket_max],
        );
        tx.defer("DELETE FROM access_key WHERE uid = $1", args![uid]);
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

    /// Returns the account and secret of an access key.
    pub(crate) async fn find_key(
        &self,
        access_key: &str,
    ) -> Result<Option<(S3uid, SecretString)>, Error> {
        let row: Option<(String, Vec<u8>)> = self
            .db
            .fetch_optional(
                "SELECT uid, sealed_secret FROM access_key WHERE access_key = $1",
                args![access_key],
            )
            .await?;
        let Some((uid, sealed)) = row else { return Ok(None) };
        let Ok(uid) = S3uid::parse(&uid) else { return Ok(None) };
        Ok(Some((uid, self.keyring.open(&sealed, &binding(access_key))?)))
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

    /// Refuses early what could not be committed. `growth`: bytes that would be added.
    pub(crate) async fn check_quota(&self, uid: &S3uid, growth: i64) -> Result<(), Error> {
        let row: Option<(Option<i64>, i64)> = self
            .db
            .fetch_optional(
                "SELECT quota_bytes, stored_bytes + unfinished_bytes FROM account WHERE uid = $1",
                args![uid.as_str()],
            )
            .await?;
        match row.ok_or(Error::NoSuchAccount)? {
            (Some(quota), used) if growth > 0 && used + growth > quota => Err(Error::QuotaExceeded),
            _ => Ok(()),
        }
    }
}
