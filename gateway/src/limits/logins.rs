//! Failed logins slow down: by API key and by address.
//!
//! - From the nth failure on (`login_failures_max` with one key, `login_address_failures_max` from
//!   one address) each failure is followed by a wait: 1 s, 2 s, 4 s … up to `login_wait_ms_max`.
//! - A login during the wait is refused unseen: accounts is not asked, right keys are not told
//!   from wrong ones, and the wait does not grow. Who fails during the wait prolongs nothing.
//! - Failures are forgotten once `login_window_ms` went by without another.
//! - A success forgets the failures of its key. Those of its address stay, or whoever holds one
//!   key could go on guessing others.
//!
//! **Nobody locks a customer out.** Only accounts' word that a key is not valid counts as a failure
//! of that key, so a valid key has none, whoever fails with whatever elsewhere: from another
//! address it is never refused. From the same address (an office, a reseller's panel) it is
//! refused for one wait at a time, and not even that if it was good from there during the last
//! day.
//!
//! Logins that run at the same time are all let through before the first of them has failed; the
//! limits of rate and of calls in flight bound how many those are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::table::{Fades, Table};
use super::{NANOS_PER_SECOND, Nanos};

/// How long a key is remembered as good from an address.
const GOOD_FOR: Nanos = 86_400 * NANOS_PER_SECOND;

/// The first wait.
const WAIT_MIN: Nanos = NANOS_PER_SECOND;

/// When failed logins slow down, and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginRules {
    /// Failures with one key before the first wait; 0: no limit.
    pub(crate) failures_max: u32,
    /// Failures from one address before the first wait; 0: no limit.
    pub(crate) address_failures_max: u32,
    /// Time without a failure after which the earlier ones are forgotten.
    pub(crate) window: Duration,
    /// The longest wait.
    pub(crate) wait_max: Duration,
}

/// A login that was let through. Its outcome is to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(super) key: u128,
    pub(super) address: u128,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// No login before then.
    until: Nanos,
    forgotten_at: Nanos,
}

impl Fades for Failures {
    fn fades_at(&self) -> Nanos {
        self.forgotten_at
    }
}

#[derive(Debug, Clone, Copy)]
struct GoodUntil(Nanos);

impl Fades for GoodUntil {
    fn fades_at(&self) -> Nanos {
        self.0
    }
}

#[derive(Debug)]
struct State {
    by_key: Table<u128, Failures>,
    by_address: Table<u128, Failures>,
    /// Keys that were good, with the address they came from.
    good: Table<(u128, u128), GoodUntil>,
}

/// The failures of late.
#[derive(Debug)]
pub(super) struct Logins {
    failures_max: u32,
    address_failures_max: u32,
    window: Nanos,
    wait_max: Nanos,
    state: Mutex<State>,
}

impl Logins {
    pub(super) fn new(rules: LoginRules, entries_max: usize) -> Self {
        let nanos = |time: Duration| Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX);
        let state = State {
            by_key: Table::new(entries_max),
            by_address: Table::new(entries_max),
            good: Table::new(entries_max),
        };
        Self {
            failures_max: rules.failures_max,
            address_failures_max: rules.address_failures_max,
            window: nanos(rules.window),
            wait_max: nanos(rules.wait_max),
            state: Mutex::new(state),
        }
    }

    /// Lets a login through, or says how long to wait.
    pub(super) fn begin(&self, attempt: Attempt, now: Nanos) -> Result<(), Duration> {
        let state = self.lock();
        let is_good = state.good.get(&(attempt.key, attempt.address), now).is_some();
        let of_key = state.by_key.get(&attempt.key, now);
        let of_address = state.by_address.get(&attempt.address, now).filter(|_| !is_good);
        let waits = of_key.into_iter().chain(of_address).map(|f| f.until.saturating_sub(now));
        // No wait is longer than that but by a clock that was set back.
        let wait = waits.filter(|wait| *wait <= self.wait_max).max().unwrap_or(0);
        if wait > 0 { Err(Duration::from_nanos(wait.unsigned_abs())) } else { Ok(()) }
    }

    pub(super) fn succeeded(&self, attempt: Attempt, now: Nanos) {
        let mut state = self.lock();
        state.by_key.remove(&attempt.key);
        let good_until = GoodUntil(now.saturating_add(GOOD_FOR));
        state.good.put((attempt.key, attempt.address), good_until, now);
    }

    pub(super) fn failed(&self, attempt: Attempt, now: Nanos) {
        let mut state = self.lock();
        state.good.remove(&(attempt.key, attempt.address));
        let State { by_key, by_address, .. } = &mut *state;
        for (table, id, failures_max) in [
            (by_key, attempt.key, self.failures_max),
            (by_address, attempt.address, self.address_failures_max),
        ] {
            if failures_max > 0 {
                let count = table.get(&id, now).map_or(0, |failures| failures.count);
                table.put(id, self.failures(count.saturating_add(1), failures_max, now), now);
            }
        }
    }

    fn failures(&self, count: u32, failures_max: u32, now: Nanos) -> Failures {
        let wait = match count.checked_sub(failures_max) {
            None => 0,
            // Doubled 30 times, it is longer than any wait can be set to.
            Some(doublings) => (WAIT_MIN << doublings.min(30)).min(self.wait_max),
        };
        let until = now.saturating_add(wait);
        Failures { count, until, forgotten_at: until.saturating_add(self.window) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = NANOS_PER_SECOND;

    fn logins() -> Logins {
        let rules = LoginRules {
            failures_max: 3,
            address_failures_max: 6,
            window: Duration::from_secs(300),
            wait_max: Duration::from_secs(60),
        };
        Logins::new(rules, 1_000)
    }

    fn at(key: u128, address: u128) -> Attempt {
        Attempt { key, address }
    }

    fn wait_seconds(logins: &Logins, attempt: Attempt, now: Nanos) -> u64 {
        logins.begin(attempt, now).map_or_else(|wait| wait.as_secs(), |()| 0)
    }

    #[test]
    fn the_wait_grows_with_each_failure_up_to_its_bound() {
        let logins = logins();
        let mut now: Nanos = 0;
        for expected in [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60] {
            logins.failed(at(1, now.unsigned_abs().into()), now);
            let wait = wait_seconds(&logins, at(1, 7), now);
            assert_eq!(wait, expected);
            now += Nanos::try_from(wait).unwrap() * SECOND;
            assert_eq!(wait_seconds(&logins, at(1, 7), now), 0, "once it is over");
        }
    }

    #[test]
    fn failures_are_forgotten_after_a_while_without_one() {
        let logins = logins();
        (0..3).for_each(|_| logins.failed(at(1, 1), 0));
        let forgotten = 301 * SECOND;
        logins.failed(at(1, 1), forgotten);
        assert_eq!(wait_seconds(&logins, at(1, 1), forgotten), 0);
        assert_eq!(wait_seconds(&logins, at(1, 1), 0), 0, "and not for ever if time goes back");
    }

    #[test]
    fn a_success_clears_its_key_and_not_its_address() {
        let logins = logins();
        (0..2).for_each(|_| logins.failed(at(1, 1), 0));
        logins.succeeded(at(1, 1), 0);
        (0..2).for_each(|_| logins.failed(at(1, 1), 0));
        assert_eq!(wait_seconds(&logins, at(1, 2), 0), 0, "two failures of the key since");
        (0..2).for_each(|n| logins.failed(at(10 + n, 1), 0));
        assert_eq!(wait_seconds(&logins, at(9, 1), 0), 1, "six of the address");
    }

    #[test]
    fn failures_elsewhere_do_not_touch_a_right_key() {
        let logins = logins();
        for n in 0..500_u128 {
            logins.failed(at(100 + n, 1), 0);
        }
        assert_eq!(wait_seconds(&logins, at(1, 1), 0), 60, "from there it waits, at most so long");
        assert_eq!(wait_seconds(&logins, at(1, 2), 0), 0, "from elsewhere it does not");
    }

    #[test]
    fn a_key_that_was_good_from_an_address_does_not_wait_there() {
        let logins = logins();
        logins.succeeded(at(1, 1), 0);
        for n in 0..500_u128 {
            logins.failed(at(100 + n, 1), 0);
        }
        assert_eq!(wait_seconds(&logins, at(1, 1), 0), 0);
        assert_eq!(wait_seconds(&logins, at(2, 1), 0), 60);
        // Revoked since: it is as any other.
        logins.failed(at(1, 1), 0);
        assert_eq!(wait_seconds(&logins, at(1, 1), 0), 60);
    }

    #[test]
    fn each_rule_can_be_off() {
        let rules = LoginRules {
            failures_max: 0,
            address_failures_max: 0,
            window: Duration::MAX,
            wait_max: Duration::MAX,
        };
        let logins = Logins::new(rules, 10);
        (0..100).for_each(|_| logins.failed(at(1, 1), 0));
        assert_eq!(wait_seconds(&logins, at(1, 1), 0), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_worst_is_kept() {
        let rules = LoginRules {
            failures_max: 1,
            address_failures_max: 1,
            window: Duration::from_secs(300),
            wait_max: Duration::from_secs(3_600),
        };
        let logins = Logins::new(rules, 10);
        (0..12).for_each(|_| logins.failed(at(1, 1), 0));
        for n in 0..1_000 {
            logins.failed(at(2 + n, 2 + n), 0);
        }
        assert_eq!(wait_seconds(&logins, at(1, 5_000), 0), 2_048);
    }
}
