//! Figures for metering: what every bucket stores, now and then.
//!
//! A sweep goes over all buckets of the AWS account by name, since a bucket's tag tells whose it
//! is. It opens again what a record has lost: IAM tells of a change only some seconds after it, so
//! one that follows another at once may be made from what was before it.

use std::collections::BTreeMap;

use stowage_engine::{Error, StorageFigures, UsageBatch, UsageCursor};
use stowage_engine_remote::fault_of;
use stowage_types::{BucketName, S3uid};

use crate::account::Found;
use crate::aws::Aws;
use crate::bucket::Tagged;
use crate::count::{PAGES_MAX, Part};
use crate::cursor::Place;
use crate::record::Record;

/// Buckets looked at for one batch, ours or not.
const BUCKETS_MAX: usize = 200;

/// Records read for one batch; `None`: the account is not ours any more.
type Records = BTreeMap<S3uid, Option<Record>>;

impl Aws {
    pub(crate) async fn collect(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        let mut place = Place::of(after)?;
        place.wake(self.clock.now(), self.options.stored_every);
        let mut batch = UsageBatch::default();
        if place.after.is_some() {
            self.sweep(&mut place, max, &mut batch).await?;
        }
        batch.more = place.after.is_some();
        batch.next = place.cursor()?;
        Ok(batch)
    }

    async fn sweep(
        &self,
        place: &mut Place,
        max: u32,
        batch: &mut UsageBatch,
    ) -> Result<(), Error> {
        let max = usize::try_from(max.max(1)).unwrap_or(usize::MAX);
        let (mut calls, mut records) = (PAGES_MAX, Records::new());
        for (at, bucket) in self.names_behind(place).await?.into_iter().enumerate() {
            if at >= BUCKETS_MAX || batch.storage.len() >= max || calls == 0 {
                return Ok(());
            }
            let uid = match self.tagged(&bucket).await? {
                Tagged::Of { uid, .. } if self.is_live(&uid, &bucket, &mut records).await? => uid,
                _ => {
                    place.pass(bucket.as_str());
                    continue;
                }
            };
            let mut part = place.part_of(bucket.as_str());
            match self.count_on(&bucket, &mut part, &mut calls).await? {
                None => {}
                Some(false) => {
                    place.stop_at(bucket.as_str(), part);
                    return Ok(());
                }
                Some(true) => batch.storage.push(self.figures_of(uid, &bucket, &part)),
            }
            place.pass(bucket.as_str());
        }
        place.after = None;
        Ok(())
    }

    fn figures_of(&self, uid: S3uid, bucket: &BucketName, part: &Part) -> StorageFigures {
        let amount = part.amount;
        match amount.objects > u64::from(PAGES_MAX) * 1000 {
            true => self.counted.put(bucket.as_str(), amount),
            false => self.counted.forget(bucket.as_str()),
        }
        StorageFigures {
            uid,
            bucket: bucket.as_str().to_owned(),
            stored_bytes: amount.bytes,
            object_count: amount.objects,
            sample_time: self.clock.now(),
            deleted: false,
        }
    }

    /// All buckets that the sweep has yet to see, by name.
    async fn names_behind(&self, place: &Place) -> Result<Vec<BucketName>, Error> {
        let (hand, mut names, mut token) = (self.our_hand(), Vec::new(), None);
        loop {
            let list = hand.client().list_buckets().set_continuation_token(token).send().await;
            let page = list.map_err(|error| Error::from(fault_of(error)))?;
            let found = page.buckets().iter().filter_map(|bucket| bucket.name());
            let found = found.filter(|name| place.is_behind(name));
            names.extend(found.filter_map(|name| BucketName::new(name).ok()));
            token = page.continuation_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether the account of a bucket is there. Its record has the bucket from then on.
    async fn is_live(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        records: &mut Records,
    ) -> Result<bool, Error> {
        if !records.contains_key(uid) {
            let record = match self.look(uid).await? {
                Found::Ours(record) => Some(record),
                Found::Nobody | Found::Bare | Found::Foreign => None,
            };
            records.insert(uid.clone(), record);
        }
        let Some(Some(record)) = records.get(uid) else { return Ok(false) };
        let name = bucket.as_str();
        if record.open.contains(name) || record.shut.contains(name) {
            return Ok(true);
        }
        match self.open_again(uid, bucket).await {
            Ok(()) => {}
            // It has just gone, or there are more than a record has room for: others go on.
            Err(error @ (Error::Denied | Error::Unavailable { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(account = %uid, bucket = %name, %error,
                    "a bucket of an account cannot be opened to it again");
            }
        }
        records.remove(uid);
        Ok(true)
    }

    async fn open_again(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let mut record = self.record(uid).await?;
        let name = bucket.as_str();
        let is_known = record.open.contains(name) || record.shut.contains(name);
        if is_known || self.owner_of_bucket(bucket).await?.as_ref() != Some(uid) {
            return Ok(());
        }
        tracing::warn!(account = %uid, bucket = %name, "a bucket was missing in IAM");
        record.open.insert(name.to_owned());
        self.write(uid, &record).await
    }
}
