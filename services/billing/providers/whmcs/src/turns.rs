//! One change at a time for each client. It closes the gap between looking for an order and
//! placing it, since WHMCS has nothing that would.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use stowage_provider::Error;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// A lock for each client that is being changed.
#[derive(Debug)]
pub(crate) struct Turns {
    locks: StdMutex<HashMap<i64, Weak<Mutex<()>>>>,
    places: Arc<Semaphore>,
}

/// A client that nobody else changes, and a place among those that do.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    /// At most so many at once, those that wait included.
    pub(crate) fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { locks: StdMutex::default(), places }
    }

    /// Waits for those who change the client already.
    pub(crate) async fn hold(&self, client: i64) -> Result<Turn, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Error::unavailable("too many calls wait for WHMCS"))?;
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // As many are left as calls are under way.
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&client).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::default();
                    locks.insert(client, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        Ok(Turn { _lock: lock.lock_owned().await, _place: place })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_client_waits_for_itself_alone_and_too_many_are_turned_away() {
        let turns = Turns::new(3);
        let held = turns.hold(1).await.unwrap();
        drop(turns.hold(2).await.unwrap());
        let again = tokio::time::timeout(Duration::from_millis(10), turns.hold(1)).await;
        assert!(again.is_err());
        let others = (turns.hold(2).await.unwrap(), turns.hold(3).await.unwrap());
        let refused = turns.hold(4).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable { .. }));
        drop((held, others));
        drop(turns.hold(1).await.unwrap());
        assert_eq!(turns.locks.lock().unwrap().len(), 1, "the last that was asked for");
    }
}
