//! What facts do to the figures of their accounts, in the transaction that stores them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use stowage_db::Tx;
use stowage_types::{S3uid, Violations};
use time::OffsetDateTime;

use super::{Fact, Month, Moved, Sample, Step, WHOLE_ACCOUNT, sweep};
use crate::error::Error;
use crate::store;
use crate::store::account;
use crate::store::stored::Of;
use crate::store::traffic::Place;

/// What a batch adds to a window without a look at what is there: 1 TiB.
const LARGE: i64 = 1 << 40;
/// Most of a window, of each figure, either side of 0: 9 PB. A year of such days still adds up in
/// 64 bits.
const SUM_MAX: i64 = 1 << 53;

/// What facts that are new do to the figures of all their accounts.
pub(super) struct Effect<'a> {
    /// When the newest fact of an account was true.
    newest: BTreeMap<&'a S3uid, OffsetDateTime>,
    samples: BTreeMap<&'a S3uid, Vec<Sample>>,
    windows: BTreeMap<Place<'a>, Moved>,
    /// When the newest fact of a bucket in which something moved was true.
    buckets: BTreeMap<(&'a S3uid, &'a str), OffsetDateTime>,
}

impl<'a> Effect<'a> {
    /// `told`: when they were.
    pub(super) fn of(told: OffsetDateTime, facts: &[&'a Fact]) -> Self {
        let mut newest = BTreeMap::new();
        let mut samples: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for fact in facts {
            later(newest.entry(&fact.s3uid), fact.as_of(told));
            if let Some(sample) = fact.sample() {
                samples.entry(&fact.s3uid).or_default().push(sample);
            }
        }
        let mut windows = BTreeMap::new();
        let mut buckets = BTreeMap::new();
        for (spot, (moved, as_of)) in hours(told, facts) {
            add_to(&mut windows, spot, moved);
            let (s3uid, bucket, _) = spot;
            if bucket != WHOLE_ACCOUNT {
                later(buckets.entry((s3uid, bucket)), as_of);
            }
        }
        Self { newest, samples, windows, buckets }
    }

    /// Adds them.
    pub(super) async fn apply(self, tx: &mut Tx) -> Result<(), Error> {
        let held = account::hold(tx, &self.newest).await?;
        check_sums(tx, &self.windows).await?;
        let months = months_of(&self.windows);
        store::traffic::add(tx, self.windows.into_iter()).await?;
        store::month::add(tx, months.into_iter()).await?;
        store::bucket::touch(tx, self.buckets.into_iter()).await?;
        for (s3uid, mut samples) in self.samples {
            samples.sort_by(|a, b| (a.time, &a.bucket).cmp(&(b.time, &b.bucket)));
            let before = held.get(s3uid.as_str()).ok_or(stowage_db::Error::RowNotFound)?;
            let newest_sample = before.newest_sample_time;
            let stored_bytes = keep_samples(tx, s3uid, newest_sample, &samples).await?;
            let row = account::Row {
                stored_bytes: stored_bytes.unwrap_or(before.stored_bytes),
                newest_sample_time: newest_sample.max(samples.last().map(|sample| sample.time)),
                as_of_time: before.as_of_time,
            };
            account::put(tx, s3uid, &row).await?;
        }
        Ok(())
    }
}

/// Keeps the later of two times.
fn later<K: Ord>(entry: Entry<'_, K, OffsetDateTime>, time: OffsetDateTime) {
    let known = entry.or_insert(time);
    *known = time.max(*known);
}

/// What moved in the buckets and hours of facts, and when the newest of each was true. Collectors
/// tell several kinds of a bucket and an hour: what they add is added up once.
fn hours<'a>(
    told: OffsetDateTime,
    facts: &[&'a Fact],
) -> HashMap<Spot<'a>, (Moved, OffsetDateTime)> {
    let mut hours = HashMap::new();
    for fact in facts {
        let Some(traffic) = fact.traffic() else { continue };
        let as_of = fact.as_of(told);
        let spot: Spot<'_> = (&fact.s3uid, &fact.bucket, Step::Hour.start_of(fact.time));
        let (moved, newest) = hours.entry(spot).or_insert_with(|| (Moved::default(), as_of));
        *moved = moved.plus(traffic.moved);
        *newest = as_of.max(*newest);
    }
    hours
}

/// Refuses facts that no sum could hold: a database that adds up past 64 bits fails, or goes on
/// inexactly. Only what adds much to a window is looked at; so much in little steps would take
/// millions of batches of one hour.
async fn check_sums(tx: &mut Tx, windows: &BTreeMap<Place<'_>, Moved>) -> Result<(), Error> {
    for ((s3uid, bucket, step, start), moved) in windows {
        if moved.is_within(LARGE) {
            continue;
        }
        let of = Of { s3uid, bucket, step: *step };
        let before = store::traffic::find(tx, of, *start).await?.unwrap_or_default();
        if !before.plus(*moved).is_within(SUM_MAX) {
            let why = "bring what an account or a bucket moved above what can be counted (2^53)";
            return Err(Violations::of("facts", why).into());
        }
    }
    Ok(())
}

/// What moved in the days of whole accounts, by months.
fn months_of<'a>(windows: &BTreeMap<Place<'a>, Moved>) -> BTreeMap<(Month, &'a S3uid), i64> {
    let mut months = BTreeMap::new();
    for ((s3uid, bucket, step, start), moved) in windows {
        if *bucket == WHOLE_ACCOUNT && *step == Step::Day {
            let sum: &mut i64 = months.entry((Month::of(*start), *s3uid)).or_default();
            *sum = sum.saturating_add(moved.received_bytes).saturating_add(moved.sent_bytes);
        }
    }
    months
}

/// Where something moved, and when.
type Spot<'a> = (&'a S3uid, &'a str, OffsetDateTime);

/// Adds what moved to the windows it is in: hour and day, of its bucket and of the whole account.
fn add_to<'a>(
    windows: &mut BTreeMap<Place<'a>, Moved>,
    (s3uid, bucket, time): Spot<'a>,
    moved: Moved,
) {
    let of_bucket = (bucket != WHOLE_ACCOUNT).then_some(bucket);
    for bucket in of_bucket.into_iter().chain([WHOLE_ACCOUNT]) {
        for step in Step::ALL {
            let place = (s3uid, bucket, step, step.start_of(time));
            let sum = windows.entry(place).or_default();
            *sum = sum.plus(moved);
        }
    }
}

/// Keeps the samples that say something new, oldest first, and follows up. Returns what the
/// account stores now, if any did.
async fn keep_samples(
    tx: &mut Tx,
    s3uid: &S3uid,
    newest: Option<OffsetDateTime>,
    samples: &[Sample],
) -> Result<Option<i64>, Error> {
    let mut changed = Vec::new();
    let mut in_order = true;
    for sample in samples {
        if !store::sample::insert(tx, s3uid, sample).await? {
            let twin = store::sample::find_twin(tx, s3uid, sample).await?;
            if !sample.outranks(&twin) {
                continue;
            }
            store::sample::replace(tx, s3uid, sample).await?;
            in_order = false;
        }
        in_order &= newest.is_none_or(|newest| sample.time >= newest);
        changed.push(sample.clone());
    }
    if changed.is_empty() {
        return Ok(None);
    }
    for month in sweep::apply(tx, s3uid, &changed, in_order).await? {
        store::month::work_out(tx, s3uid, month).await?;
    }
    let newest: BTreeMap<&str, &Sample> =
        changed.iter().map(|sample| (sample.bucket.as_str(), sample)).collect();
    store::bucket::advance(tx, s3uid, newest.into_values()).await?;
    Ok(Some(store::bucket::total_bytes(tx, s3uid).await?))
}
