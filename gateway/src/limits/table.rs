//! A table that is bounded, since strangers choose its keys.
//!
//! Every entry says no more than its absence does from some time on. When the table is full, those
//! go that have come to this; if too many are left, the half that would come to it first. So what
//! is kept longest is what weighs most, and the work of making room is spread over many entries.

use std::collections::HashMap;
use std::hash::Hash;

use super::Nanos;

/// An entry that means nothing from some time on.
pub(super) trait Fades {
    /// From when on it says no more than its absence.
    fn fades_at(&self) -> Nanos;
}

/// At most so many entries, by key.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: HashMap<K, V>,
    entries_max: usize,
}

impl<K: Eq + Hash, V: Fades + Copy> Table<K, V> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), entries_max: entries_max.max(1) }
    }

    /// The entry of a key, unless it has faded.
    pub(super) fn get(&self, key: &K, now: Nanos) -> Option<V> {
        self.entries.get(key).filter(|entry| entry.fades_at() > now).copied()
    }

    pub(super) fn put(&mut self, key: K, entry: V, now: Nanos) {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn make_room(&mut self, now: Nanos) {
        self.entries.retain(|_, entry| entry.fades_at() > now);
        let mut surplus = self.entries.len().saturating_sub(self.entries_max / 2);
        if surplus == 0 {
            return;
        }
        let mut ends: Vec<Nanos> = self.entries.values().map(Fades::fades_at).collect();
        let (_, last_to_go, _) = ends.select_nth_unstable(surplus - 1);
        let last_to_go = *last_to_go;
        self.entries.retain(|_, entry| {
            let goes = surplus > 0 && entry.fades_at() <= last_to_go;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Until(Nanos);

    impl Fades for Until {
        fn fades_at(&self) -> Nanos {
            self.0
        }
    }

    #[test]
    fn what_has_faded_is_not_there() {
        let mut table = Table::new(10);
        table.put("a", Until(5), 0);
        assert_eq!(table.get(&"a", 4), Some(Until(5)));
        assert_eq!(table.get(&"a", 5), None);
        table.remove(&"a");
        assert_eq!(table.get(&"a", 0), None);
    }

    #[test]
    fn it_stays_below_its_bound_and_keeps_what_weighs_most() {
        let mut table = Table::new(10);
        table.put(1_000, Until(Nanos::MAX), 0);
        for key in 0..500 {
            table.put(key, Until(100 + key), 0);
            assert!(table.entries.len() <= 10, "{key}");
        }
        assert!(table.get(&1_000, 0).is_some(), "the heaviest is still there");
        assert!(table.get(&499, 0).is_some(), "so is the newest");
    }

    #[test]
    fn what_has_faded_goes_before_anything_else() {
        let mut table = Table::new(10);
        for key in 0..10 {
            table.put(key, Until(if key < 6 { 5 } else { 50 }), 0);
        }
        table.put(10, Until(60), 10);
        assert_eq!(table.entries.len(), 5);
        assert!((6..=10).all(|key| table.get(&key, 10).is_some()));
    }

    #[test]
    fn equal_entries_and_the_smallest_table_make_room_too() {
        for entries_max in [0, 1, 2, 3] {
            let mut table = Table::new(entries_max);
            for key in 0..10 {
                table.put(key, Until(5), 0);
                assert!(table.entries.len() <= entries_max.max(1), "{entries_max}");
                assert!(table.get(&key, 0).is_some(), "{entries_max}: the newest is there");
            }
        }
    }
}
