//! The end of accounts.

use stowage_engine::{AccountAccess, Error, ListQuery};
use stowage_engine_remote::until_won;
use stowage_types::{BucketName, S3uid};

use crate::account::Found;
use crate::aws::Aws;
use crate::bucket::Tagged;
use crate::record::Record;

/// Objects listed and deleted with one call.
const PAGE: u32 = 1000;
/// Uploads ended in one go.
const UPLOADS: u32 = 1000;

impl Aws {
    pub(crate) async fn unmake_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let purging = until_won(&self.random, || self.try_unmake(uid, purge));
        let ended = tokio::time::timeout(self.options.purge_timeout, purging).await;
        ended.unwrap_or_else(|_| Err(Error::unavailable("the purge takes too long")))
    }

    /// IAM deletes no user who has a key or a policy. The policy goes last: it says what is left to
    /// do.
    async fn try_unmake(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        match self.look(uid).await? {
            Found::Nobody => return Ok(()),
            Found::Foreign => return Ok(()),
            Found::Bare => {}
            Found::Ours(record) => self.unmake_buckets(uid, record, purge).await?,
        }
        for key in self.iam.keys(uid).await? {
            self.iam.delete_key(uid, &key.access_key_id).await?;
        }
        self.iam.delete_policy(uid).await?;
        self.iam.delete_user(uid).await
    }

    async fn unmake_buckets(
        &self,
        uid: &S3uid,
        mut record: Record,
        purge: bool,
    ) -> Result<(), Error> {
        let own = self.own_buckets(uid, &record).await?;
        if !purge && !own.is_empty() {
            return Err(Error::NotEmpty);
        }
        if record.access != AccountAccess::Suspended {
            record.access = AccountAccess::Suspended;
            self.write(uid, &record).await?;
        }
        for bucket in own {
            self.empty(uid, &bucket).await?;
            match self.our_hand().delete_bucket(&bucket).await {
                Ok(()) | Err(Error::NotFound) => {}
                // A request was under way when the account was suspended.
                Err(Error::NotEmpty) => return Err(Error::Conflict),
                Err(error) => return Err(error),
            }
            record.open.remove(bucket.as_str());
            record.shut.remove(bucket.as_str());
            self.write(uid, &record).await?;
        }
        Ok(())
    }

    /// The buckets of a record that are the account's.
    pub(crate) async fn own_buckets(
        &self,
        uid: &S3uid,
        record: &Record,
    ) -> Result<Vec<BucketName>, Error> {
        let mut own = Vec::new();
        for name in record.open.union(&record.shut) {
            let Ok(bucket) = BucketName::new(name) else { continue };
            match self.tagged(&bucket).await? {
                Tagged::Of { uid: owner, .. } if owner == *uid => own.push(bucket),
                Tagged::Unclaimed => {
                    tracing::warn!(account = %uid, bucket = %name,
                        "a bucket that was perhaps being made for an account has no tag");
                }
                _ => {}
            }
        }
        Ok(own)
    }

    /// Deletes all that is in a bucket.
    async fn empty(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let hand = self.our_hand();
        while hand.abort_uploads(bucket, None, UPLOADS).await? == UPLOADS {}
        loop {
            let query = ListQuery { max: PAGE, ..ListQuery::default() };
            let page = hand.list(bucket, &query).await?;
            let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
            if keys.is_empty() {
                return Ok(());
            }
            // Our hand reaches every bucket: this one may be another's by now.
            self.check_owner(uid, bucket).await?;
            hand.delete_all(bucket, &keys).await?;
        }
    }
}
