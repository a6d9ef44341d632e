//! Buckets of accounts, and what is done in them as their steward.

use stowage_engine::{AccountUsage, BucketInfo, Capacity, Error, KeyPair, Presign, Quota};
use stowage_engine_remote::{BackOff, Fault, Hand};
use stowage_types::{BucketName, S3uid, SecretString};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::garage::Garage;
use crate::look::Lists;
use crate::record::{Record, Role, steward_id};
use crate::settle::{Held, Settled};
use crate::wire::Key;

/// Buckets of one answer.
const BUCKETS_MAX: u32 = 1000;

impl Garage {
    pub(crate) async fn make_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let settled = self.settle(uid, None).await?;
        if settled.bucket(bucket.as_str()).is_some() {
            return Ok(());
        }
        if !settled.record.allows_bucket(settled.buckets.len()) {
            return Err(Error::LimitReached);
        }
        let steward = steward_id(uid);
        let mut made = self.admin.create_bucket(&steward, bucket.as_str()).await;
        if made.as_ref().is_err_and(|fault| fault.code() == "InvalidRequest") {
            made = self.make_again(&steward, bucket).await;
        }
        // The customer's keys get it only once it is bounded. A refusal may mean that it is there
        // by now, which Garage says in the words that it has for a wrong name.
        let settled = self.settle(uid, None).await?;
        if settled.bucket(bucket.as_str()).is_some() {
            return Ok(());
        }
        made?;
        Err(Error::Conflict)
    }

    /// Makes a bucket of a name that the steward has had for another: Garage makes none with it,
    /// and gives it to one that is there. One that is cut off from its name is empty and nobody's.
    async fn make_again(&self, steward: &str, bucket: &BucketName) -> Result<(), Fault> {
        let id = self.admin.create_unnamed_bucket().await?;
        let named = self.admin.name(&id, steward, bucket.as_str()).await;
        if let Err(Fault::Refused { .. }) = named {
            self.admin.delete_bucket(&id).await?;
        }
        named
    }

    pub(crate) async fn unmake_bucket(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let settled = self.settle(uid, None).await?;
        let held = settled.bucket(bucket.as_str()).ok_or(Error::NotFound)?;
        self.end_bucket(uid, &held.info.id, &held.name).await?;
        // The others may have what it had.
        self.settle(uid, None).await.map(drop)
    }

    /// The first account, of those who have a bucket of this name.
    pub(crate) async fn holder(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        let Lists { keys, buckets } = self.lists().await?;
        let named: Vec<&str> = buckets
            .iter()
            .flat_map(|listed| &listed.local_aliases)
            .filter(|local| local.alias == bucket.as_str())
            .map(|local| local.access_key_id.as_str())
            .collect();
        let holders = keys.iter().filter(|key| named.contains(&key.id.as_str()));
        let uids = holders.filter_map(|key| match self.names.read(&key.id, &key.name)? {
            (uid, Role::Steward(_) | Role::Customer { .. }) => Some(uid),
            (_, Role::Log(_)) => None,
        });
        Ok(uids.min())
    }

    pub(crate) async fn buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        let settled = self.settled(uid).await?;
        let infos =
            settled.buckets.iter().filter_map(|held| info_of(&settled.record, held).transpose());
        let mut infos = infos.collect::<Result<Vec<_>, Error>>()?;
        infos.retain(|info| after.is_none_or(|after| info.bucket > *after));
        infos.truncate(usize::try_from(max.min(BUCKETS_MAX)).unwrap_or(0));
        Ok(infos)
    }

    async fn settled(&self, uid: &S3uid) -> Result<Settled, Error> {
        let _turn = self.locks.hold(uid).await;
        self.settle(uid, None).await
    }

    /// Whatever bounds a bucket in Garage is made of its own quota and of the account's.
    pub(crate) async fn bound_bucket(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let mut back_off = BackOff::new(&self.random);
        loop {
            let settled = self.settle(uid, None).await?;
            let held = settled.bucket(bucket.as_str()).ok_or(Error::NotFound)?;
            if settled.record.own_quota(&held.info.id) == quota {
                return Ok(());
            }
            let live: Vec<_> = settled.buckets.iter().map(|held| held.info.id.as_str()).collect();
            let mut record = settled.record.clone();
            record.set_own_quota(&held.info.id, quota, &live);
            self.write_record(uid, &record).await?;
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    /// Does something in a bucket of the account as its steward, who may whatever the customer is
    /// let do. Names are the steward's own, so the bucket cannot be another's.
    pub(crate) async fn as_steward<T, F>(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        work: impl Fn(Hand) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let hand = self.hand_of(&self.steward_with(uid, bucket).await?)?;
        work(hand).await
    }

    /// The steward of an account that has a bucket of this name, with its secret.
    async fn steward_with(&self, uid: &S3uid, bucket: &BucketName) -> Result<Key, Error> {
        let steward = self.steward(uid).await?;
        if steward.has_bucket(bucket.as_str()) {
            return Ok(steward);
        }
        // The customer may have made it over S3.
        let settled = self.settled(uid).await?;
        settled.bucket(bucket.as_str()).ok_or(Error::NotFound)?;
        self.steward(uid).await
    }

    pub(crate) fn hand_of(&self, key: &Key) -> Result<Hand, Error> {
        let none = || Error::unavailable("Garage does not tell the secret of a key");
        let secret = key.secret_access_key.as_ref().ok_or_else(none)?;
        Ok(self.s3.hand(&key.access_key_id, secret))
    }

    /// By a key of the customer's: the URL shall open no more than he may.
    pub(crate) async fn sign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Error> {
        self.steward_with(uid, bucket).await?;
        let listed = self.admin.keys().await?;
        let none = || Error::Invalid { why: "the account has no key".to_owned() };
        let id = self.customer_keys(uid, &listed).into_iter().next().ok_or_else(none)?.id;
        let key = self.admin.key(&id, true).await?;
        let secret_key = key.and_then(|key| key.secret_access_key).ok_or(Error::Conflict)?;
        what.url(&KeyPair { access_key: id, secret_key }, bucket, self.clock.now())
    }

    pub(crate) async fn usage_of(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        let mut usage = AccountUsage::default();
        for Held { info, .. } in self.settled(uid).await?.buckets {
            usage.bucket_count += 1;
            usage.object_count = usage.object_count.saturating_add(info.objects);
            usage.stored_bytes = usage.stored_bytes.saturating_add(info.bytes);
            usage.unfinished_bytes =
                usage.unfinished_bytes.saturating_add(info.unfinished_multipart_upload_bytes);
        }
        Ok(usage)
    }

    pub(crate) async fn room(&self) -> Result<Capacity, Error> {
        let told = self.admin.statistics().await?;
        let unknown = || Error::unavailable("this version of Garage does not tell its room");
        let free_bytes = told.data_avail.ok_or_else(unknown)?;
        let stored = told.total_object_bytes.ok_or_else(unknown)?;
        Ok(Capacity { total_bytes: free_bytes.saturating_add(stored), free_bytes })
    }
}

/// `None`: a name that Garage takes and S3's rules do not.
fn info_of(record: &Record, held: &Held) -> Result<Option<BucketInfo>, Error> {
    let Ok(bucket) = BucketName::new(&held.name) else {
        return Ok(None);
    };
    let create_time = OffsetDateTime::parse(&held.info.created, &Rfc3339);
    let create_time = create_time.map_err(Error::unavailable)?;
    Ok(Some(BucketInfo {
        bucket,
        create_time,
        object_count: held.info.objects,
        stored_bytes: held.info.bytes,
        received_bytes: 0,
        sent_bytes: 0,
        quota: record.own_quota(&held.info.id),
    }))
}
