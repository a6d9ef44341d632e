//! Figures for metering: traffic from the usage log, what is stored from the buckets.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::{Error, StorageFigures, TrafficTotals, UsageBatch, UsageCursor};
use stowage_engine_remote::ASKED_AT_ONCE;
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::account::Found;
use crate::admin::Hours;
use crate::ceph::Ceph;
use crate::cursor::{AGAIN, Pace, Place, Work, hour_of};
use crate::watch::Notice;
use crate::wire::{Category, UsageLog};

/// Hours read for one batch, most of which are empty when there are many to read.
const HOURS_MAX: usize = 48;
/// Accounts looked at for one batch.
const ACCOUNTS_MAX: u32 = 100;
/// Rows that an account is reckoned to have.
const ROWS_OF_ACCOUNT: u32 = 5;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// What RGW calls a bucket that was not there when it was asked for.
const NO_BUCKET: &str = "-";

/// Totals of an hour, by user and bucket.
type Hour = BTreeMap<(String, String), Moved>;

/// What moved in an hour, and whether a bucket was deleted in it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moved {
    received_bytes: u64,
    sent_bytes: u64,
    read_requests: u64,
    write_requests: u64,
    refused_requests: u64,
    is_deleted: bool,
}

impl Moved {
    /// Bytes count whether a call succeeds or not, as they were moved; calls that do not are apart.
    fn add(&mut self, category: &Category) {
        let sum = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        sum(&mut self.received_bytes, category.bytes_received);
        sum(&mut self.sent_bytes, category.bytes_sent);
        let calls = if is_read(&category.category) {
            &mut self.read_requests
        } else {
            &mut self.write_requests
        };
        sum(calls, category.successful_ops);
        let refused = category.ops.saturating_sub(category.successful_ops);
        sum(&mut self.refused_requests, refused);
        self.is_deleted |= category.category == "delete_bucket" && category.successful_ops > 0;
    }
}

/// Categories we do not know are writes unless they are named as reads are.
fn is_read(category: &str) -> bool {
    ["get_", "list_", "stat_", "head_", "options_"].iter().any(|verb| category.starts_with(verb))
}

fn totals(log: &UsageLog) -> Hour {
    let mut hour = Hour::new();
    for entry in &log.entries {
        for bucket in &entry.buckets {
            let name = if bucket.bucket == NO_BUCKET { "" } else { &bucket.bucket };
            let moved = hour.entry((entry.user.clone(), name.to_owned())).or_default();
            bucket.categories.iter().for_each(|category| moved.add(category));
        }
    }
    hour
}

pub(crate) fn start_of_hour(time: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(hour_of(time)).unwrap_or(time)
}

impl Ceph {
    fn pace(&self) -> Pace {
        let (usage_every, stored_every) = (self.options.usage_every, self.options.stored_every);
        Pace { usage_every, stored_every }
    }

    pub(crate) async fn collect(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        let now = self.clock.now();
        let mut place = Place::of(after, now)?;
        place.wake(now, self.pace());
        let mut batch = UsageBatch::default();
        match place.work.clone() {
            Work::Wait => {}
            Work::Traffic { hour, after } => {
                self.read_hours(&mut place, (hour, after), max, &mut batch).await?;
            }
            Work::Stored { marker } => self.sweep(&mut place, &marker, max, &mut batch).await?,
        }
        batch.more = place.work != Work::Wait;
        batch.next = place.cursor()?;
        Ok(batch)
    }

    /// Reads hours until there are enough rows, or the current one is read.
    async fn read_hours(
        &self,
        place: &mut Place,
        (mut hour, mut after): (i64, Option<(String, String)>),
        max: u32,
        batch: &mut UsageBatch,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let max = usize::try_from(max.max(1)).unwrap_or(usize::MAX);
        let mut is_empty = true;
        for _ in 0..HOURS_MAX {
            let start = OffsetDateTime::from_unix_timestamp(hour).map_err(Error::unavailable)?;
            let log = self.admin.usage(Hours::One(start)).await?;
            is_empty &= log.entries.is_empty();
            let from = after.take();
            let mut rows =
                self.of_accounts(totals(&log)).await?.into_iter().filter(|((uid, bucket), _)| {
                    from.as_ref().is_none_or(|from| (uid.as_str(), bucket.as_str()) > pair(from))
                });
            for ((uid, bucket), moved) in rows.by_ref().take(max - batch.traffic.len()) {
                after = Some((uid.as_str().to_owned(), bucket.clone()));
                // A question for a bucket without a name would be one for all of them.
                if moved.is_deleted && !bucket.is_empty() {
                    batch.storage.extend(self.gone(&uid, &bucket).await?);
                }
                batch.traffic.push(TrafficTotals {
                    uid,
                    bucket,
                    hour: start,
                    received_bytes: moved.received_bytes,
                    sent_bytes: moved.sent_bytes,
                    read_requests: moved.read_requests,
                    write_requests: moved.write_requests,
                    refused_requests: moved.refused_requests,
                });
            }
            if rows.next().is_none() {
                let is_quiet = log.entries.is_empty() && self.is_quiet_day(hour, now).await?;
                (hour, after) = (hour + if is_quiet { DAY } else { HOUR }, None);
            }
            if hour > hour_of(now) {
                self.watch_log(is_empty, now).await;
                place.end_pass(now, self.pace());
                return Ok(());
            }
            if batch.traffic.len() >= max {
                break;
            }
        }
        place.work = Work::Traffic { hour, after };
        Ok(())
    }

    /// Whether nothing was written in the day that begins with this hour, nor will be. RGW takes as
    /// long for an empty day as for an empty hour.
    async fn is_quiet_day(&self, hour: i64, now: OffsetDateTime) -> Result<bool, Error> {
        if hour + DAY > hour_of(now) - AGAIN * HOUR {
            return Ok(false);
        }
        let start = OffsetDateTime::from_unix_timestamp(hour).map_err(Error::unavailable)?;
        Ok(self.admin.usage(Hours::Day(start)).await?.entries.is_empty())
    }

    /// The totals of accounts; those of other users are left out.
    async fn of_accounts(&self, hour: Hour) -> Result<BTreeMap<(S3uid, String), Moved>, Error> {
        let mut of_accounts = BTreeMap::new();
        for ((user, bucket), moved) in hour {
            if let Some(uid) = self.uid_of(&user).await? {
                of_accounts.insert((uid, bucket), moved);
            }
        }
        Ok(of_accounts)
    }

    /// A bucket that the account has deleted, unless it has made it again.
    async fn gone(&self, uid: &S3uid, bucket: &str) -> Result<Option<StorageFigures>, Error> {
        let sample_time = self.clock.now();
        let found = self.admin.bucket(bucket).await?;
        let owner = match found {
            Some(found) => self.uid_of(&found.owner).await?,
            None => None,
        };
        let is_there = owner.as_ref() == Some(uid);
        Ok((!is_there).then(|| departed(uid, bucket, sample_time)))
    }

    async fn watch_log(&self, is_empty: bool, now: OffsetDateTime) {
        match self.watch.read(is_empty, now) {
            Notice::Nothing => {}
            // If it fails, so will what comes next.
            Notice::Ask => drop(self.ask_without_name().await),
            Notice::Warn => tracing::warn!(
                "RGW keeps no usage log, so no traffic is metered: set rgw_enable_usage_log"
            ),
            Notice::Calm => tracing::info!("RGW keeps a usage log again"),
        }
    }

    /// Looks at what the accounts of a page store.
    async fn sweep(
        &self,
        place: &mut Place,
        marker: &str,
        max: u32,
        batch: &mut UsageBatch,
    ) -> Result<(), Error> {
        let page = (max / ROWS_OF_ACCOUNT).clamp(1, ACCOUNTS_MAX);
        let page = self.admin.users(marker, page).await?;
        let is_deep = place.is_deep;
        let uids = self.uids_of(page.keys).await?;
        let asked = uids.into_iter().map(|uid| async move { self.figures(&uid, is_deep).await });
        let rows: Vec<Vec<_>> = stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await?;
        batch.storage.extend(rows.into_iter().flatten());
        place.work = if page.truncated && !page.marker.is_empty() {
            Work::Stored { marker: page.marker }
        } else {
            Work::Wait
        };
        Ok(())
    }

    /// What the buckets of an account store, and those that it has had and has no more.
    ///
    /// A bucket that its account deletes is told by the usage log. What we delete with our own hand
    /// is not in it; that hand is needed for accounts that cannot act, so these are always looked
    /// at in full, and the others once a day.
    async fn figures(&self, uid: &S3uid, is_deep: bool) -> Result<Vec<StorageFigures>, Error> {
        let Found::Ours(user) = self.look(uid).await? else {
            return Ok(Vec::new());
        };
        let mut had = BTreeSet::new();
        if is_deep || user.suspended || user.keys.is_empty() {
            // Before the buckets: one that is made in between must not be taken for gone.
            let log = self.admin.usage(Hours::All(&user.user_id)).await?;
            had = totals(&log).into_keys().map(|(_, bucket)| bucket).collect();
            had.remove("");
        }
        let sample_time = self.clock.now();
        let mut rows = Vec::new();
        for bucket in self.admin.buckets(&user.user_id).await? {
            let stored = bucket.stored();
            had.remove(&bucket.bucket);
            rows.push(StorageFigures {
                uid: uid.clone(),
                bucket: bucket.bucket,
                stored_bytes: stored.size,
                object_count: stored.num_objects,
                sample_time,
                deleted: false,
            });
        }
        rows.extend(had.iter().map(|bucket| departed(uid, bucket, sample_time)));
        Ok(rows)
    }
}

fn pair((uid, bucket): &(String, String)) -> (&str, &str) {
    (uid, bucket)
}

fn departed(uid: &S3uid, bucket: &str, sample_time: OffsetDateTime) -> StorageFigures {
    StorageFigures {
        uid: uid.clone(),
        bucket: bucket.to_owned(),
        stored_bytes: 0,
        object_count: 0,
        sample_time,
        deleted: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_one_row_for_each_account_and_bucket() {
        let uid = "0123456789abcdef0123456789abcdef";
        let text = format!(
            r#"{{"entries":[{{"user":"anonymous","buckets":[]}},{{"user":"{uid}","buckets":[
            {{"bucket":"b","time":"t","epoch":1,"owner":"o","categories":[
            {{"category":"get_obj","bytes_sent":10,"bytes_received":0,"ops":3,"successful_ops":2}},
            {{"category":"put_obj","bytes_sent":1,"bytes_received":7,"ops":1,"successful_ops":1}},
            {{"category":"new_in_99","bytes_sent":0,"bytes_received":0,"ops":1,"successful_ops":1}}
            ]}},
            {{"bucket":"","categories":[
            {{"category":"list_buckets","bytes_sent":5,"ops":1,"successful_ops":1}}]}},
            {{"bucket":"-","categories":[
            {{"category":"list_bucket","bytes_sent":4,"ops":1,"successful_ops":0}}]}},
            {{"bucket":"d","categories":[
            {{"category":"delete_bucket","ops":1,"successful_ops":1}}]}}]}}]}}"#
        );
        let uid = uid.to_owned();
        let moved = |figures: [u64; 5], is_deleted| Moved {
            received_bytes: figures[0],
            sent_bytes: figures[1],
            read_requests: figures[2],
            write_requests: figures[3],
            refused_requests: figures[4],
            is_deleted,
        };
        let expected = Hour::from([
            ((uid.clone(), String::new()), moved([0, 9, 1, 0, 1], false)),
            ((uid.clone(), "b".to_owned()), moved([7, 11, 2, 2, 1], false)),
            ((uid, "d".to_owned()), moved([0, 0, 0, 1, 0], true)),
        ]);
        assert_eq!(totals(&serde_json::from_str(&text).unwrap()), expected);
    }
}
