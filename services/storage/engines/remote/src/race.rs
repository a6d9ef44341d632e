//! Order among changes of one account, and what is done about races that are lost all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::Duration;

use stowage_engine::Error;
use stowage_types::{Random, S3uid};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Attempts of one call, the first included. Other processes lose their races too, so that each
/// round has a winner.
const ATTEMPTS_MAX: u32 = 8;
/// The first pause; each further one is twice as long, up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One lock for each account that is being changed. An account whose purge takes minutes holds up
/// no other, which a table of fewer locks than accounts would do.
#[derive(Debug, Default)]
pub struct Locks(StdMutex<HashMap<S3uid, Weak<Mutex<()>>>>);

impl Locks {
    /// Waits for those who change the account already.
    pub async fn hold(&self, uid: &S3uid) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // As many are left as calls are under way.
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(uid).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::default();
                    locks.insert(uid.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
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

/// Makes attempts, each after a fresh look, until one does not lose its race or there have been
/// enough.
///
/// # Errors
/// Those of the last attempt; [`Error::Conflict`]: all have lost.
pub async fn until_won<T, F>(random: &Arc<dyn Random>, attempt: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut back_off = BackOff::new(random);
    loop {
        let done = attempt().await;
        if !matches!(done, Err(Error::Conflict)) || !back_off.pause().await {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use stowage_types::SystemRandom;

    use super::*;

    #[tokio::test]
    async fn one_account_waits_for_itself_alone_and_leaves_nothing() {
        let locks = Locks::default();
        let [one, two] = [1, 2].map(|n| S3uid::parse(&format!("{n:032x}")).unwrap());
        let held = locks.hold(&one).await;
        drop(locks.hold(&two).await);
        let again = tokio::time::timeout(Duration::from_millis(10), locks.hold(&one)).await;
        assert!(again.is_err());
        drop(held);
        drop(locks.hold(&one).await);
        drop(locks.hold(&two).await);
        assert_eq!(locks.0.lock().unwrap().len(), 1, "the last that was asked for");
    }

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
