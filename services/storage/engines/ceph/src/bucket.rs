//! Buckets of accounts: RGW's figures of them, and whose hand what is done in them is done by.

use std::collections::BTreeMap;

use secrecy::SecretString;
use stowage_engine::{AccountUsage, BucketInfo, Error, KeyPair, Presign};
use stowage_engine_remote::{BackOff, Hand, until_won};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::account::bucket_max_of;
use crate::admin::Hours;
use crate::ceph::Ceph;
use crate::usage::start_of_hour;
use crate::user::UserId;
use crate::wire::{Bucket, Quota, User};

/// Buckets of one answer.
const BUCKETS_MAX: u32 = 1000;

impl Ceph {
    pub(crate) async fn make_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_make_bucket(uid, bucket)).await
    }

    async fn try_make_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let user = self.account(uid).await?;
        match self.admin.bucket(bucket.as_str()).await? {
            Some(found) if found.owner == user.user_id.as_str() => return Ok(()),
            Some(_) => return Err(Error::AlreadyExists),
            None => {}
        }
        if bucket_max_of(user.max_buckets) == Some(0) {
            // RGW says the same of it as of a wrong key.
            return Err(Error::LimitReached);
        }
        // A bucket is its maker's: for who may not make one we cannot, for who has no key we can.
        let ours =
            || Some(self.for_account(self.our_hand(), &user.user_id)).filter(|_| !user.suspended);
        let hand = self.own_hand(&user).or_else(ours).ok_or(Error::Denied)?;
        match hand.create_bucket(bucket).await {
            // Another was faster, perhaps an attempt of ours that was cut off: a look tells.
            Err(Error::AlreadyExists) => Err(Error::Conflict),
            made => made,
        }
    }

    pub(crate) async fn bound_bucket(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: stowage_engine::Quota,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let wanted = Quota::of(quota);
        let mut back_off = BackOff::new(&self.random);
        loop {
            let (user, had) = self.own_bucket(uid, bucket).await?;
            if had.bucket_quota.is_as(wanted) {
                return Ok(());
            }
            // A race that was lost, or a version that reads it otherwise: the next look tells.
            let set = self.admin.set_bucket_quota(&user.user_id, bucket.as_str(), wanted).await;
            match set.map_err(Error::from) {
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    /// The account, and a bucket that is its own.
    async fn own_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(User, Bucket), Error> {
        let user = self.account(uid).await?;
        // Others may have let the account into theirs.
        let found = self.admin.bucket(bucket.as_str()).await?;
        let own = found.filter(|found| found.owner == user.user_id.as_str());
        Ok((user, own.ok_or(Error::NotFound)?))
    }

    pub(crate) async fn sign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Error> {
        let (user, _) = self.own_bucket(uid, bucket).await?;
        let none = || Error::Invalid { why: "the account has no key".to_owned() };
        let key = user.keys.into_iter().next().ok_or_else(none)?;
        let keys = KeyPair { access_key: key.access_key, secret_key: key.secret_key };
        what.url(&keys, bucket, self.clock.now())
    }

    /// The account itself, if it is let in.
    fn own_hand(&self, user: &User) -> Option<Hand> {
        let key = user.keys.first().filter(|_| !user.suspended)?;
        Some(self.s3.hand(&key.access_key, &key.secret_key))
    }

    /// Does something in a bucket that is the account's, by the account's own key: then a bucket of
    /// that name which another account makes in this moment is safe. An account that is suspended,
    /// has no key, or has shut itself out by a policy, is acted for by our own.
    pub(crate) async fn as_owner<T, F>(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        work: impl Fn(Hand) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let attempt = async || {
            let (user, _) = self.own_bucket(uid, bucket).await?;
            let mut done = Err(Error::Denied);
            if let Some(hand) = self.own_hand(&user) {
                done = work(hand).await;
            }
            if matches!(done, Err(Error::Denied)) {
                done = work(self.our_hand()).await;
            }
            done
        };
        until_won(&self.random, attempt).await
    }

    /// Does something in a bucket of the account by our own hand, which no usage shows. That hand
    /// reaches every bucket, so it is looked twice whose this one is: one that another account has
    /// made under its name meanwhile is not the one that was found.
    pub(crate) async fn as_us<T, F>(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        work: impl Fn(Hand) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let attempt = async || {
            self.own_bucket(uid, bucket).await?;
            let done = work(self.our_hand()).await;
            self.own_bucket(uid, bucket).await?;
            done
        };
        until_won(&self.random, attempt).await
    }

    pub(crate) async fn buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        let user = self.account(uid).await?.user_id;
        let buckets = self.admin.buckets(&user).await?;
        let mut infos = buckets.iter().filter_map(|found| info_of(found).transpose());
        let mut infos = infos.by_ref().collect::<Result<Vec<_>, Error>>()?;
        infos.retain(|info| after.is_none_or(|after| info.bucket > *after));
        infos.sort_unstable_by(|a, b| a.bucket.cmp(&b.bucket));
        infos.truncate(usize::try_from(max.min(BUCKETS_MAX)).unwrap_or(0));
        self.add_traffic(&user, &mut infos).await?;
        Ok(infos)
    }

    /// What the usage log has of these buckets. One that was made again under its name within an
    /// hour has what the former one had in it.
    async fn add_traffic(&self, user: &UserId, infos: &mut [BucketInfo]) -> Result<(), Error> {
        let Some(oldest) = infos.iter().map(|info| info.create_time).min() else {
            return Ok(());
        };
        let log = self.admin.usage(Hours::Since(start_of_hour(oldest), user)).await?;
        let mut moved: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let users = log.entries.iter().filter(|entry| entry.user == user.as_str());
        for bucket in users.flat_map(|entry| &entry.buckets) {
            let sums = moved.entry(&bucket.bucket).or_default();
            for category in &bucket.categories {
                sums.0 = sums.0.saturating_add(category.bytes_received);
                sums.1 = sums.1.saturating_add(category.bytes_sent);
            }
        }
        for info in infos {
            let sums = moved.get(info.bucket.as_str()).copied().unwrap_or_default();
            (info.received_bytes, info.sent_bytes) = sums;
        }
        Ok(())
    }

    pub(crate) async fn usage_of(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        let user = self.account(uid).await?.user_id;
        let mut usage = AccountUsage::default();
        for bucket in self.admin.buckets(&user).await? {
            let stored = bucket.stored();
            usage.bucket_count += 1;
            usage.object_count = usage.object_count.saturating_add(stored.num_objects);
            usage.stored_bytes = usage.stored_bytes.saturating_add(stored.size);
        }
        Ok(usage)
    }
}

/// `None`: RGW allows names that S3's rules do not, to those who ask it to.
fn info_of(found: &Bucket) -> Result<Option<BucketInfo>, Error> {
    let Ok(bucket) = BucketName::new(&found.bucket) else {
        return Ok(None);
    };
    let create_time = OffsetDateTime::parse(&found.creation_time, &Rfc3339);
    let create_time = create_time.map_err(Error::unavailable)?;
    let stored = found.stored();
    Ok(Some(BucketInfo {
        bucket,
        create_time: whole_micros(create_time),
        object_count: stored.num_objects,
        stored_bytes: stored.size,
        received_bytes: 0,
        sent_bytes: 0,
        quota: found.bucket_quota.into(),
    }))
}

/// Our databases keep no more, and what is compared with them must not be finer.
fn whole_micros(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(time.nanosecond() / 1000 * 1000).unwrap_or(time)
}
