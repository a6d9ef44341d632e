//! Places for calls in flight: so many in all, and so many of them for one address.
//!
//! Without the second bound one caller who sends his requests slowly could sit on every place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places taken, by address; none is no entry, so that there are no more entries than places.
type Taken = Arc<Mutex<HashMap<u128, usize>>>;

#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// 0: no limit of its own.
    address_max: usize,
    taken: Taken,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// None for anybody.
    Everywhere,
    /// None for that address.
    Here,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Taking {
    address: u128,
    taken: Taken,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(max: usize, address_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), address_max, taken: Taken::default() }
    }

    pub(super) fn take(&self, address: u128) -> Result<Taking, Full> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| Full::Everywhere)?;
        let mut taken = lock(&self.taken);
        let count = taken.get(&address).map_or(0, |count| *count);
        if self.address_max > 0 && count >= self.address_max {
            return Err(Full::Here);
        }
        taken.insert(address, count + 1);
        Ok(Taking { address, taken: Arc::clone(&self.taken), _permit: permit })
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.address);
            }
        }
    }
}

fn lock(taken: &Taken) -> MutexGuard<'_, HashMap<u128, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others_and_nothing_is_lost() {
        let places = Places::new(3, 2);
        for _ in 0..3 {
            let first = places.take(1).unwrap();
            let second = places.take(1).unwrap();
            assert_eq!(places.take(1).unwrap_err(), Full::Here);
            let third = places.take(2).unwrap();
            assert_eq!(places.take(2).unwrap_err(), Full::Everywhere);
            drop(first);
            let again = places.take(1).unwrap();
            assert_eq!(places.take(1).unwrap_err(), Full::Everywhere);
            drop((second, third, again));
            assert!(lock(&places.taken).is_empty());
        }
    }

    #[test]
    fn one_address_may_have_all_places_where_that_is_set() {
        let places = Places::new(3, 0);
        let taken: Vec<_> = (0..3).map(|_| places.take(1).unwrap()).collect();
        assert_eq!(places.take(1).unwrap_err(), Full::Everywhere);
        drop(taken);
        assert!(places.take(1).is_ok());
    }
}
