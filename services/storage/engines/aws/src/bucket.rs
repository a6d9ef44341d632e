//! Buckets: whose they are, and what is done in them by our own hand.
//!
//! A bucket is tagged with its account, which settles whose it is; the account's record lists it,
//! which opens it. It is in the record, shut, before it is made and until it is gone, so that what
//! was cut off is found again, and nobody gets into a bucket that another account makes of a name
//! he has had.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Tag, Tagging};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::{AccountUsage, BucketInfo, Error, ListQuery, Quota};
use stowage_engine_remote::{ASKED_AT_ONCE, Fault, Hand, fault_of, until_won};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use crate::aws::Aws;
use crate::count::Amount;
use crate::record::Record;

/// Buckets of one answer.
const BUCKETS_MAX: u32 = 1000;
/// The tag that tells whose a bucket is.
const UID_TAG: &str = "stowage-uid";
/// The tag that tells when it was made, in microseconds since 1970: no call about one bucket does.
const MADE_TAG: &str = "stowage-made";
/// The region whose buckets are made without its name.
const FIRST_REGION: &str = "us-east-1";

/// Whose a bucket is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    /// There is none of the name.
    Absent,
    /// It is of the AWS account, and of no account of ours.
    Unclaimed,
    Of {
        uid: S3uid,
        create_time: OffsetDateTime,
    },
    /// Another AWS account has it, or it is in another region.
    Elsewhere,
}

fn tagged_of(tags: &BTreeMap<&str, &str>) -> Tagged {
    let uid = tags.get(UID_TAG).and_then(|uid| S3uid::parse(uid).ok());
    let Some(uid) = uid else { return Tagged::Unclaimed };
    let made = tags.get(MADE_TAG).and_then(|made| made.parse::<i64>().ok());
    let nanos = i128::from(made.unwrap_or(0)) * 1000;
    let create_time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    Tagged::Of { uid, create_time: create_time.unwrap_or(OffsetDateTime::UNIX_EPOCH) }
}

impl Aws {
    /// Asks whose a bucket is.
    pub(crate) async fn tagged(&self, bucket: &BucketName) -> Result<Tagged, Error> {
        let hand = self.our_hand();
        let asked = hand.client().get_bucket_tagging().bucket(bucket.as_str()).send().await;
        match asked.map_err(fault_of) {
            Ok(told) => {
                let tags = told.tag_set().iter().map(|tag| (tag.key(), tag.value()));
                Ok(tagged_of(&tags.collect()))
            }
            Err(fault) => match fault.code() {
                "NoSuchTagSet" | "NoSuchTagSetError" => Ok(Tagged::Unclaimed),
                "NoSuchBucket" => Ok(Tagged::Absent),
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException" => Ok(Tagged::Elsewhere),
                // Of another AWS account, unless it is all of them that we may not ask about.
                "AccessDenied" => {
                    let listed = hand.client().list_buckets().max_buckets(1).send().await;
                    listed.map(|_| Tagged::Elsewhere).map_err(|error| fault_of(error).into())
                }
                _ => Err(fault.into()),
            },
        }
    }

    pub(crate) async fn owner_of_bucket(
        &self,
        bucket: &BucketName,
    ) -> Result<Option<S3uid>, Error> {
        Ok(match self.tagged(bucket).await? {
            Tagged::Of { uid, .. } => Some(uid),
            Tagged::Absent | Tagged::Unclaimed | Tagged::Elsewhere => None,
        })
    }

    pub(crate) async fn check_owner(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let owner = self.owner_of_bucket(bucket).await?;
        if owner.as_ref() == Some(uid) { Ok(()) } else { Err(Error::NotFound) }
    }

    pub(crate) async fn make_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_make_bucket(uid, bucket)).await
    }

    async fn try_make_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let (mut record, name) = (self.record(uid).await?, bucket.as_str());
        let tagged = self.tagged(bucket).await?;
        match &tagged {
            Tagged::Of { uid: owner, .. } if owner == uid => {
                if record.open.contains(name) {
                    return Ok(());
                }
            }
            // One that this account was making when an attempt was cut off.
            Tagged::Unclaimed if record.shut.contains(name) => {}
            Tagged::Absent => {}
            _ => {
                if record.shut.remove(name) | record.open.remove(name) {
                    self.write(uid, &record).await?;
                }
                return Err(Error::AlreadyExists);
            }
        }
        if !record.allows_bucket(name) {
            return Err(Error::LimitReached);
        }
        let mut opened = record.clone();
        opened.shut.remove(name);
        opened.open.insert(name.to_owned());
        // Whether there is room for it is known before it is made.
        opened.text(&self.names)?;
        if tagged == Tagged::Absent {
            self.place_bucket(uid, &mut record, bucket).await?;
        }
        // In that region S3 says of a bucket that is there, too, that it has just made it.
        let is_certain = tagged == Tagged::Absent && self.options.region != FIRST_REGION;
        if !is_certain && !matches!(tagged, Tagged::Of { .. }) {
            self.check_unclaimed(bucket).await?;
        }
        if !matches!(tagged, Tagged::Of { .. }) {
            self.claim(uid, bucket).await?;
        }
        self.write(uid, &opened).await
    }

    /// Makes a bucket that is nobody's yet; from before it is there it is shut.
    async fn place_bucket(
        &self,
        uid: &S3uid,
        record: &mut Record,
        bucket: &BucketName,
    ) -> Result<(), Error> {
        let name = bucket.as_str();
        // One that was deleted by another hand is in the list still.
        if record.open.remove(name) | record.shut.insert(name.to_owned()) {
            self.write(uid, record).await?;
        }
        let region = self.options.region.as_str();
        let place = (region != FIRST_REGION).then(|| {
            let region = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let hand = self.our_hand();
        let make = hand.client().create_bucket().bucket(name);
        let made = make.set_create_bucket_configuration(place).send().await;
        match made.map_err(fault_of) {
            Ok(_) => Ok(()),
            // Another was faster: a look tells who.
            Err(fault) if fault.code() == "BucketAlreadyOwnedByYou" => Err(Error::Conflict),
            Err(fault) if matches!(fault, Fault::Refused { .. }) => {
                record.shut.remove(name);
                self.write(uid, record).await?;
                Err(fault.into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn check_unclaimed(&self, bucket: &BucketName) -> Result<(), Error> {
        match self.tagged(bucket).await? {
            Tagged::Unclaimed => Ok(()),
            _ => Err(Error::Conflict),
        }
    }

    /// Tags a bucket as the account's.
    async fn claim(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let micros = self.clock.now().unix_timestamp_nanos() / 1000;
        let tag = |key: &str, value: String| Tag::builder().key(key).value(value).build();
        let tags = [tag(UID_TAG, uid.to_string()), tag(MADE_TAG, micros.to_string())];
        let tags = tags.into_iter().collect::<Result<Vec<_>, _>>().map_err(Error::unavailable)?;
        let tags = Tagging::builder().set_tag_set(Some(tags)).build();
        let tags = tags.map_err(Error::unavailable)?;
        let hand = self.our_hand();
        let put = hand.client().put_bucket_tagging().bucket(bucket.as_str()).tagging(tags);
        put.send().await.map_err(|error| Error::from(fault_of(error)))?;
        // Of two who do so at once the second has it.
        match self.owner_of_bucket(bucket).await? {
            Some(owner) if owner == *uid => Ok(()),
            _ => Err(Error::Conflict),
        }
    }

    pub(crate) async fn unmake_bucket(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let (mut record, name) = (self.record(uid).await?, bucket.as_str());
        let owner = self.owner_of_bucket(bucket).await?;
        if owner.as_ref() != Some(uid) {
            // What was cut off before it was written down that the bucket is gone.
            if record.open.remove(name) | record.shut.remove(name) {
                self.write(uid, &record).await?;
            }
            return Err(Error::NotFound);
        }
        let hand = self.our_hand();
        let query = ListQuery { max: 1, ..ListQuery::default() };
        if !hand.list(bucket, &query).await?.objects.is_empty() {
            return Err(Error::NotEmpty);
        }
        // Shut first: the name is free as soon as the bucket is gone.
        let was_open = record.open.remove(name);
        if was_open | record.shut.insert(name.to_owned()) {
            self.write(uid, &record).await?;
        }
        match hand.delete_bucket(bucket).await {
            Ok(()) | Err(Error::NotFound) => {}
            Err(Error::NotEmpty) => {
                // A request was under way.
                record.shut.remove(name);
                record.open.insert(name.to_owned());
                self.write(uid, &record).await?;
                return Err(Error::NotEmpty);
            }
            Err(error) => return Err(error),
        }
        record.shut.remove(name);
        self.write(uid, &record).await
    }

    /// Does something in a bucket of the account by our own hand, which reaches every bucket: so it
    /// is looked twice whose this one is.
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
            self.check_owner(uid, bucket).await?;
            let done = work(self.our_hand()).await;
            self.check_owner(uid, bucket).await?;
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
        let record = self.record(uid).await?;
        let max = usize::try_from(max.min(BUCKETS_MAX)).unwrap_or(0);
        let names = record.open.union(&record.shut).filter_map(|name| BucketName::new(name).ok());
        let names = names.filter(|name| after.is_none_or(|after| name > after));
        let asked: Vec<_> = names.map(|name| self.bucket_info(uid, name)).collect();
        let mut asked = stream::iter(asked).buffered(ASKED_AT_ONCE);
        let mut infos = Vec::new();
        while infos.len() < max
            && let Some(info) = asked.try_next().await?
        {
            infos.extend(info);
        }
        Ok(infos)
    }

    /// `None`: it is not there, or not the account's.
    async fn bucket_info(
        &self,
        uid: &S3uid,
        bucket: BucketName,
    ) -> Result<Option<BucketInfo>, Error> {
        let create_time = match self.tagged(&bucket).await? {
            Tagged::Of { uid: owner, create_time } if owner == *uid => create_time,
            _ => return Ok(None),
        };
        let Some(Amount { objects, bytes }) = self.count(&bucket).await? else { return Ok(None) };
        Ok(Some(BucketInfo {
            bucket,
            create_time,
            object_count: objects,
            stored_bytes: bytes,
            received_bytes: 0,
            sent_bytes: 0,
            quota: Quota::default(),
        }))
    }

    pub(crate) async fn usage_of(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        let mut usage = AccountUsage::default();
        let mut after = None;
        loop {
            let page = self.buckets(uid, after.as_ref(), BUCKETS_MAX).await?;
            let Some(last) = page.last() else { return Ok(usage) };
            after = Some(last.bucket.clone());
            for info in page {
                usage.bucket_count += 1;
                usage.object_count = usage.object_count.saturating_add(info.object_count);
                usage.stored_bytes = usage.stored_bytes.saturating_add(info.stored_bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn tags_tell_whose_a_bucket_is_and_since_when() {
        let text = "0123456789abcdef0123456789abcdef";
        let uid = S3uid::parse(text).unwrap();
        let of = |create_time| Tagged::Of { uid: uid.clone(), create_time };
        let made = datetime!(2026-11-25 10:00:00.000001 UTC);
        for (tags, expected) in [
            (&[][..], Tagged::Unclaimed),
            (&[("team", "x")], Tagged::Unclaimed),
            (&[(UID_TAG, "nobody")], Tagged::Unclaimed),
            (&[(UID_TAG, text)], of(OffsetDateTime::UNIX_EPOCH)),
            (&[(UID_TAG, text), (MADE_TAG, "x")], of(OffsetDateTime::UNIX_EPOCH)),
            (&[(UID_TAG, text), (MADE_TAG, "1795600800000001"), ("team", "x")], of(made)),
        ] {
            assert_eq!(tagged_of(&tags.iter().copied().collect()), expected, "{tags:?}");
        }
    }
}
