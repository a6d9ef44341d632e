//! A circuit breaker: what has not answered for a while is left alone for a while, so that nobody
//! waits half a minute for it, and it can come back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets calls through, or not.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many failures in a row.
    Closed(u32),
    /// Nothing goes through until then.
    Open(Instant),
    /// One call tries whether it is back.
    Probing,
}

/// A call that was let through; one that is dropped without a word has failed.
#[derive(Debug)]
pub(crate) struct Pass<'b> {
    breaker: &'b Breaker,
    is_told: bool,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: Mutex::new(State::Closed(0)) }
    }

    /// `None`: it is left alone.
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        self.enter_at(Instant::now())
    }

    fn enter_at(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state();
        match *state {
            State::Closed(_) => {}
            State::Open(until) if now >= until => *state = State::Probing,
            State::Open(_) | State::Probing => return None,
        }
        Some(Pass { breaker: self, is_told: false })
    }

    fn tell(&self, is_good: bool) {
        let mut state = self.state();
        *state = match (*state, is_good) {
            (State::Closed(_) | State::Probing, true) => State::Closed(0),
            (State::Closed(failures), false) if failures + 1 < self.failures_max => {
                State::Closed(failures + 1)
            }
            (State::Closed(_) | State::Probing, false) => {
                tracing::warn!(pause_s = self.pause.as_secs(), "WHMCS does not answer; it is left");
                State::Open(Instant::now() + self.pause)
            }
            // One that began before it was opened.
            (State::Open(until), _) => State::Open(until),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// How it went.
    pub(crate) fn tell(mut self, is_good: bool) {
        self.is_told = true;
        self.breaker.tell(is_good);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.breaker.tell(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_call_tries_whether_all_is_well() {
        let breaker = Breaker::new(3, PAUSE);
        // It is opened a moment from now.
        let later = |pauses| Instant::now() + PAUSE * pauses;
        for is_good in [false, false, true, false, false, false] {
            breaker.enter().unwrap().tell(is_good);
        }
        assert!(breaker.enter().is_none(), "three in a row");
        let probe = breaker.enter_at(later(1)).unwrap();
        assert!(breaker.enter_at(later(2)).is_none(), "one is enough");
        probe.tell(false);
        assert!(breaker.enter().is_none(), "it is not back");
        drop(breaker.enter_at(later(1)).unwrap());
        assert!(breaker.enter().is_none(), "a probe that was given up has failed");
        breaker.enter_at(later(1)).unwrap().tell(true);
        breaker.enter().unwrap().tell(false);
        assert!(breaker.enter().is_some());
    }
}
