//! The end of accounts and buckets, and the log that tells of it.

use stowage_engine::{AccountAccess, Error, ListQuery};
use stowage_engine_remote::{Hand, until_won};
use stowage_types::{BucketName, S3uid};

use crate::garage::Garage;
use crate::look::Found;
use crate::record::{Log, Record, Role, log_id};
use crate::settle::Settled;

/// Objects listed and deleted with one call.
const PAGE: u32 = 1000;

impl Garage {
    pub(crate) async fn unmake_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let purging = until_won(&self.random, || self.try_unmake(uid, purge));
        let ended = tokio::time::timeout(self.options.purge_timeout, purging).await;
        ended.unwrap_or_else(|_| Err(Error::unavailable("the purge takes too long")))
    }

    async fn try_unmake(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let Found::Ours(record) = self.look(uid, &self.admin.keys().await?) else {
            return Ok(());
        };
        if !purge && !self.settle(uid, None).await?.buckets.is_empty() {
            return Err(Error::NotEmpty);
        }
        let settled = self.suspend(uid, &record).await?;
        if !purge && !settled.buckets.is_empty() {
            // The customer has made one in this moment.
            self.write_record(uid, &record).await?;
            self.settle(uid, None).await?;
            return Err(Error::NotEmpty);
        }
        for held in &settled.buckets {
            self.empty(uid, &held.info.id, &held.name).await?;
            self.end_bucket(uid, &held.info.id, &held.name).await.map_err(|error| match error {
                // A request was under way when the account was suspended.
                Error::NotEmpty => Error::Conflict,
                error => error,
            })?;
        }
        self.retire(uid, &settled.keys).await?;
        let settled = self.settle(uid, None).await?;
        if !settled.buckets.is_empty() || !settled.keys.is_empty() {
            return Err(Error::Conflict);
        }
        let mut record = settled.record;
        record.removed = Some(self.clock.now().unix_timestamp());
        self.write_record(uid, &record).await
    }

    async fn suspend(&self, uid: &S3uid, record: &Record) -> Result<Settled, Error> {
        if record.access() != AccountAccess::Suspended {
            let mut shut = record.clone();
            shut.set_access(AccountAccess::Suspended);
            self.write_record(uid, &shut).await?;
        }
        self.settle(uid, None).await
    }

    /// Deletes all that is in a bucket, as its steward.
    async fn empty(&self, uid: &S3uid, id: &str, name: &str) -> Result<(), Error> {
        self.admin.end_uploads(id).await.map_err(crate::look::lost)?;
        let hand = self.hand_of(&self.steward(uid).await?)?;
        let name = BucketName::new(name).map_err(Error::unavailable)?;
        while self.delete_page(&hand, &name).await? {}
        Ok(())
    }

    /// Whether there may be more.
    async fn delete_page(&self, hand: &Hand, name: &BucketName) -> Result<bool, Error> {
        let query = ListQuery { max: PAGE, ..ListQuery::default() };
        let page = hand.list(name, &query).await?;
        let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
        if keys.is_empty() {
            return Ok(false);
        }
        hand.delete_all(name, &keys).await?;
        Ok(page.next.is_some())
    }

    /// Deletes an empty bucket. That is written down first: what is told of a bucket that is
    /// there all the same is not told.
    pub(crate) async fn end_bucket(&self, uid: &S3uid, id: &str, name: &str) -> Result<(), Error> {
        let Some(info) = self.admin.bucket(id).await? else {
            return Ok(());
        };
        if info.objects > 0 {
            return Err(Error::NotEmpty);
        }
        self.note_deletion(uid, name).await?;
        match self.admin.delete_bucket(id).await {
            Err(fault) if fault.code() == "BucketNotEmpty" => {
                // Unfinished uploads are no objects.
                self.admin.end_uploads(id).await?;
                Ok(self.admin.delete_bucket(id).await?)
            }
            deleted => Ok(deleted?),
        }
    }

    async fn note_deletion(&self, uid: &S3uid, name: &str) -> Result<(), Error> {
        let id = log_id(uid);
        let found = self.admin.key(&id, false).await?;
        let now = self.clock.now().unix_timestamp();
        let had = found.as_ref().and_then(|key| self.names.read(&id, &key.name));
        let mut log = match had {
            Some((_, Role::Log(log))) => log,
            _ => Log::default(),
        };
        log.push(name, now);
        let text = self.names.log(uid, &log)?;
        if found.is_none() {
            return self.import_own(&id, &text).await;
        }
        self.rename(&id, text).await.map_err(crate::look::lost)
    }
}
