//! Brings the rollups of what is stored up to date with samples.
//!
//! Samples that are newer than all before only change the windows they fall in. One that comes
//! late changes what every window until the bucket's next sample holds, and the order in which
//! several buckets' bytes came together; then the days in question are made anew from the
//! samples, which are kept for as long as late ones are taken.

use std::collections::{BTreeMap, BTreeSet};

use stowage_db::Tx;
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{Month, Sample, Step, WHOLE_ACCOUNT, Window};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Bucket, length and start of a window.
pub(crate) type Key = (String, Step, OffsetDateTime);

/// The windows of one account that are being changed.
pub(crate) struct Sweep<'a> {
    tx: &'a mut Tx,
    s3uid: &'a S3uid,
    /// Midnight from which on rows are not read but made anew; `None`: rows are gone on with.
    anew_from: Option<OffsetDateTime>,
    windows: BTreeMap<Key, Window>,
    /// Bytes of the buckets met so far.
    bytes: BTreeMap<String, i64>,
}

/// Applies `changed`, which are kept already, oldest first. `in_order`: none of them is older than
/// a sample of the account that was there before. Returns the months whose days have changed.
pub(crate) async fn apply(
    tx: &mut Tx,
    s3uid: &S3uid,
    changed: &[Sample],
    in_order: bool,
) -> Result<BTreeSet<Month>, Error> {
    let Some(first) = changed.first() else { return Ok(BTreeSet::new()) };
    let windows = BTreeMap::new();
    let bytes = BTreeMap::new();
    if in_order {
        let sweep = Sweep { tx, s3uid, anew_from: None, windows, bytes };
        return sweep.run(changed).await;
    }
    let midnight = Step::Day.start_of(first.time);
    let end = end_of_effect(tx, s3uid, changed).await?;
    let samples = store::sample::list(tx, s3uid, midnight, end).await?;
    let sweep = Sweep { tx, s3uid, anew_from: Some(midnight), windows, bytes };
    sweep.run(&samples).await
}

/// The windows from `midnight` on that samples of then come to, going on from what the rows before
/// left. They are all of the account, oldest first.
pub(crate) async fn anew(
    tx: &mut Tx,
    s3uid: &S3uid,
    midnight: OffsetDateTime,
    samples: &[Sample],
) -> Result<BTreeMap<Key, Window>, Error> {
    let (windows, bytes) = (BTreeMap::new(), BTreeMap::new());
    let mut sweep = Sweep { tx, s3uid, anew_from: Some(midnight), windows, bytes };
    sweep.work_out(samples).await?;
    Ok(sweep.windows)
}

/// End of the last day that a sample of `changed` has an effect on: that of its bucket's next
/// sample. `None`: there is no next one.
async fn end_of_effect(
    tx: &mut Tx,
    s3uid: &S3uid,
    changed: &[Sample],
) -> Result<Option<OffsetDateTime>, Error> {
    let mut end = None;
    for sample in changed {
        let next = store::sample::next_after(tx, s3uid, &sample.bucket, sample.time).await?;
        let Some(next) = next else { return Ok(None) };
        let midnight = Step::Day.start_of(next) + Step::Day.length();
        end = end.max(Some(midnight));
    }
    Ok(end)
}

impl Sweep<'_> {
    async fn run(mut self, samples: &[Sample]) -> Result<BTreeSet<Month>, Error> {
        self.work_out(samples).await?;
        let windows = self.windows.iter().map(|((bucket, ..), window)| (bucket.as_str(), window));
        store::stored::put(self.tx, self.s3uid, windows).await?;
        Ok(self.windows.values().map(|window| Month::of(window.start)).collect())
    }

    async fn work_out(&mut self, samples: &[Sample]) -> Result<(), Error> {
        for sample in samples {
            let before = self.bytes_before(&sample.bucket).await?;
            let by_bytes = sample.stored_bytes - before;
            self.bytes.insert(sample.bucket.clone(), sample.stored_bytes);
            for bucket in [sample.bucket.as_str(), WHOLE_ACCOUNT] {
                for step in Step::ALL {
                    self.change(bucket, step, sample.time, by_bytes).await?;
                }
            }
        }
        Ok(())
    }

    /// What the bucket stored until the next sample of it that the sweep meets.
    async fn bytes_before(&mut self, bucket: &str) -> Result<i64, Error> {
        if let Some(bytes) = self.bytes.get(bucket) {
            return Ok(*bytes);
        }
        let Some(midnight) = self.anew_from else {
            return Ok(store::bucket::stored_bytes(self.tx, self.s3uid, bucket).await?);
        };
        let of = Of { s3uid: self.s3uid, bucket, step: Step::Day };
        Ok(store::stored::last_before(&mut *self.tx, of, midnight).await?)
    }

    async fn change(
        &mut self,
        bucket: &str,
        step: Step,
        time: OffsetDateTime,
        by_bytes: i64,
    ) -> Result<(), Error> {
        let key = (bucket.to_owned(), step, step.start_of(time));
        if !self.windows.contains_key(&key) {
            let window = self.load(&key).await?;
            self.windows.insert(key.clone(), window);
        }
        if let Some(window) = self.windows.get_mut(&key) {
            window.change(time, by_bytes);
        }
        Ok(())
    }

    /// The window as it is before the sweep changes it.
    async fn load(&mut self, key: &Key) -> Result<Window, Error> {
        let (bucket, step, start) = key;
        let of = Of { s3uid: self.s3uid, bucket, step: *step };
        let earliest = (bucket.clone(), *step, OffsetDateTime::UNIX_EPOCH);
        let before = self.windows.range(earliest..key.clone()).next_back();
        let bytes = match (before, self.anew_from) {
            // Windows of the sweep are newer than any row that could be gone on with.
            (Some((_, before)), _) => before.last_bytes,
            (None, Some(midnight)) => {
                store::stored::last_before(&mut *self.tx, of, midnight).await?
            }
            (None, None) => match store::stored::last_until(self.tx, of, *start).await? {
                Some(window) if window.start == *start => return Ok(window),
                Some(window) => window.last_bytes,
                None => 0,
            },
        };
        Ok(Window::carried(*step, *start, bytes))
    }
}
