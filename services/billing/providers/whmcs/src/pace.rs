//! At most so many calls a second: an installation that is asked more often may shut us out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Spreads calls out. A second's worth may go at once.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    burst: Duration,
    /// When the next call would be due if they were evenly spread.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(calls_per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / calls_per_second.max(1);
        let burst = Duration::from_secs(1).saturating_sub(interval);
        Self { interval, burst, next: Mutex::new(None) }
    }

    /// Waits for its turn; `false` at once if that is further off than `max`.
    pub(crate) async fn wait(&self, max: Duration) -> bool {
        let Some(at) = self.take(Instant::now(), max) else { return false };
        tokio::time::sleep_until(at).await;
        true
    }

    /// The next turn; `None`, and it is not taken, if it is further off than `max`.
    fn take(&self, now: Instant, max: Duration) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.map_or(now, |due| due.max(now));
        let at = due.checked_sub(self.burst).map_or(now, |at| at.max(now));
        if at.duration_since(now) > max {
            return None;
        }
        *next = Some(due + self.interval);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_calls_as_it_may() {
        let pace = Pace::new(10);
        let now = Instant::now();
        let after = |millis| now + Duration::from_millis(millis);
        for _ in 0..10 {
            assert_eq!(pace.take(now, Duration::ZERO), Some(now), "a second's worth at once");
        }
        assert_eq!(pace.take(now, Duration::from_millis(99)), None, "it would wait too long");
        let max = Duration::from_secs(9);
        for n in 1..=20 {
            assert_eq!(pace.take(now, max), Some(after(n * 100)));
        }
        assert_eq!(pace.take(after(60_000), Duration::ZERO), Some(after(60_000)));
    }
}
