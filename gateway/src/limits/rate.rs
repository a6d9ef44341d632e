//! Token buckets by key: a call takes a token, tokens come back at a steady rate.
//!
//! Written as the generic cell rate algorithm: of a bucket only the time is kept at which it is
//! full again. A full bucket is no entry at all.
//!
//! Compared with `governor` 0.10, which is well kept and does the same arithmetic: its keyed store
//! has no bound (`retain_recent` must be called in time, and keeps all that is not full), its
//! clock would have to be adapted, and without its default features it still brings eight crates
//! that are not here yet. What is left of it for us is the dozen lines in [`Rates::take`].
//! `tower`'s own limit has one bucket for all, and makes callers wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::table::{Fades, Table};
use super::{NANOS_PER_SECOND, Nanos};

/// How many calls a second, and how many at once after a rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// 0: no limit.
    pub(crate) calls_per_second: u32,
    pub(crate) burst: u32,
}

/// When the bucket is full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Nanos,
}

impl Fades for Bucket {
    fn fades_at(&self) -> Nanos {
        self.full_at
    }
}

/// A bucket for each key.
#[derive(Debug)]
pub(super) struct Rates {
    /// Time for one token to come back; `None`: no limit.
    interval: Option<Nanos>,
    /// Time for an empty bucket to be full.
    fill: Nanos,
    buckets: Mutex<Table<u128, Bucket>>,
}

impl Rates {
    pub(super) fn new(rate: Rate, keys_max: usize) -> Self {
        let interval = (rate.calls_per_second > 0)
            .then(|| (NANOS_PER_SECOND / Nanos::from(rate.calls_per_second)).max(1));
        let fill = interval.unwrap_or(0).saturating_mul(Nanos::from(rate.burst.max(1)));
        Self { interval, fill, buckets: Mutex::new(Table::new(keys_max)) }
    }

    /// Takes a token, or says how long it is until there is one. A refused call takes nothing.
    pub(super) fn take(&self, key: u128, now: Nanos) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(&key, now).map_or(now, |bucket| {
            // After a clock was set back, a bucket is empty at worst.
            bucket.full_at.min(now.saturating_add(self.fill))
        });
        let taken = full_at.saturating_add(interval);
        let over = taken.saturating_sub(now).saturating_sub(self.fill);
        let full_at = if over > 0 { full_at } else { taken };
        buckets.put(key, Bucket { full_at }, now);
        if over > 0 { Err(Duration::from_nanos(over.unsigned_abs())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn rates(calls_per_second: u32, burst: u32) -> Rates {
        Rates::new(Rate { calls_per_second, burst }, 100)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rates = rates(10, 3);
        for (at, wait_ms) in [
            (0, None),
            (0, None),
            (0, None),
            (0, Some(100)),
            (40 * MS, Some(60)),
            (100 * MS, None),
            (100 * MS, Some(100)),
            (1_000 * MS, None),
            (1_000 * MS, None),
            (1_000 * MS, None),
            (1_000 * MS, Some(100)),
        ] {
            let wait = rates.take(1, at).err();
            assert_eq!(wait, wait_ms.map(Duration::from_millis), "at {at}");
        }
    }

    #[test]
    fn each_key_has_its_own_bucket() {
        let rates = rates(1, 1);
        assert!(rates.take(1, 0).is_ok() && rates.take(2, 0).is_ok());
        assert!(rates.take(1, 0).is_err() && rates.take(2, 0).is_err());
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        let rates = rates(0, 0);
        assert!((0..10_000).all(|_| rates.take(1, 0).is_ok()));
    }

    #[test]
    fn over_a_long_time_no_more_pass_than_the_rate_allows() {
        let rates = rates(50, 20);
        let passed = (0..10_000).filter(|n| rates.take(1, n * MS).is_ok()).count();
        // Ten seconds, and what was in the bucket.
        assert_eq!(passed, 20 + 499);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rates = rates(1, 5);
        let later = 1_000_000 * NANOS_PER_SECOND;
        assert!(rates.take(1, later).is_ok());
        assert_eq!(rates.take(1, 0), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(1, NANOS_PER_SECOND), Ok(()));
        let highest = Rate { calls_per_second: u32::MAX, burst: u32::MAX };
        assert!(Rates::new(highest, 1).take(1, later).is_ok(), "no arithmetic overflows");
    }
}
