//! Orders that a call may still be placing which nobody waits for: it took too long, or whoever
//! waited went away. They are not placed again before it must have ended, or they would be twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stowage_provider::Error;

/// Attempts that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Until when each order may still arrive, by domain.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, Instant>>);

/// An order that is being placed. Dropped, it may still arrive.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    domain: String,
}

impl Attempts {
    /// Notes that an order is placed by a call of at most `call_max`, after which PHP has as long
    /// again.
    pub(crate) fn begin(&self, domain: &str, call_max: Duration) -> Result<Attempt<'_>, Error> {
        self.begin_at(domain, call_max, Instant::now())
    }

    fn begin_at(
        &self,
        domain: &str,
        call_max: Duration,
        now: Instant,
    ) -> Result<Attempt<'_>, Error> {
        let mut all = self.all();
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, until| *until > now);
        }
        if all.get(domain).is_some_and(|until| *until > now) {
            return Err(Error::pending("the order may still be on its way"));
        }
        if all.len() >= REMEMBERED_MAX {
            return Err(Error::unavailable("too many orders were given up on"));
        }
        all.insert(domain.to_owned(), now + call_max * 2);
        Ok(Attempt { attempts: self, domain: domain.to_owned() })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The call has ended; `is_given_up`: for us alone.
    pub(crate) fn end(self, is_given_up: bool) {
        if !is_given_up {
            self.attempts.all().remove(&self.domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_may_still_arrive_is_not_placed_again() {
        let (attempts, call_max) = (Attempts::default(), Duration::from_secs(30));
        let now = Instant::now();
        let begin = |after: u64| attempts.begin_at("a", call_max, now + Duration::from_secs(after));
        begin(0).unwrap().end(false);
        begin(0).unwrap().end(true);
        assert!(matches!(begin(59), Err(Error::Pending { .. })), "it may arrive");
        attempts.begin("b", call_max).unwrap().end(false);
        drop(begin(60).unwrap());
        assert!(begin(119).is_err(), "whoever waited went away");
        begin(120).unwrap().end(false);
        assert!(attempts.all().is_empty());
    }
}
