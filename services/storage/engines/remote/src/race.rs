//! Order among changes of one account, and what is done about races that are lost all the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use stowage_types::{Random, S3uid};
use tokio::sync::{Mutex, MutexGuard};

/// Accounts that share a lock wait for each other now and then, which is better than a table that
/// grows with the accounts.
const LOCKS: usize = 256;
/// Attempts of one call, the first included. Other processes lose their races too, so that each
/// round has a winner.
const ATTEMPTS_MAX: u32 = 8;
/// The first pause; each further one is twice as long, up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One lock for each account, of a table that does not grow.
#[derive(Debug)]
pub struct Locks([Mutex<()>; LOCKS]);

impl Default for Locks {
    fn default() -> Self {
        Self::new()
    }
}

impl Locks {
    /// Locks that nobody holds.
    #[must_use]
    pub fn new() -> Self {
        Self([const { Mutex::const_new(()) }; LOCKS])
    }

    /// Waits for those who change the account already.
    pub async fn hold(&self, uid: &S3uid) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        self.0[at].lock().await
    }
}

/// Counts attempts, and waits between them.
#[derive(Debug)]
pub struct BackOff {
    random: Arc<dyn Random>,
    attempts: u32,
}

impl BackOff {
    /// The first attempt is about to be made.
    #[must_use]
    pub fn new(random: &Arc<dyn Random>) -> Self {
        Self { random: Arc::clone(random), attempts: 1 }
    }

    /// Waits before another attempt; `false` at once if there have been enough.
    pub async fn pause(&mut self) -> bool {
        if self.attempts >= ATTEMPTS_MAX {
            return false;
        }
        tokio::time::sleep(self.next_pause()).await;
        true
    }

    /// Between half and all of what is due: those who lost together shall not meet again.
    fn next_pause(&mut self) -> Duration {
        let due = PAUSE_MIN.saturating_mul(1 << (self.attempts - 1)).min(PAUSE_MAX);
        self.attempts += 1;
        let mut byte = [0];
        self.random.fill(&mut byte);
        due / 2 + due / 2 * u32::from(byte[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use stowage_types::SystemRandom;

    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_their_bound() {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let mut back_off = BackOff::new(&random);
        for round in 0..ATTEMPTS_MAX {
            let due = PAUSE_MIN.saturating_mul(1 << round).min(PAUSE_MAX);
            let pause = back_off.next_pause();
            assert!(pause >= due / 2 && pause <= due, "{round}: {pause:?}");
        }
    }
}
