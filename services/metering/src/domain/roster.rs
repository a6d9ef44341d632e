//! The open meters as rankings keep them: what filters ask about, in few bytes each.
//!
//! A meter keeps its place for as long as the roster is gone on with, so that figures which are
//! lists in the order of places stay right when meters come and go.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use stowage_types::S3uid;

use super::{Dimensions, Meter, Month, RankBy, Ranking};

/// Answers to filters that are kept; more begin anew.
const MATCHES_MAX: usize = 64;
/// Meters that rosters share or not.
const CHUNK: usize = 1024;
/// Places of closed meters that are kept for each open one, and a few more.
const CLOSED_FOR_OPEN: usize = 1;
const CLOSED_MORE: usize = 1000;

/// An s3uid as the number that it is.
pub(crate) fn key_of(s3uid: &str) -> u128 {
    u128::from_str_radix(s3uid, 16).unwrap_or_default()
}

/// The contrary of [`key_of`].
pub(crate) fn s3uid_of(key: u128) -> Option<S3uid> {
    S3uid::parse(&format!("{key:032x}")).ok()
}

/// One meter. Texts are told apart by hashes: what is answered is compared with the texts again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: u128,
    account_id: i64,
    customer: i64,
    plan: i64,
    email: u64,
    location: u64,
    storage_type: u64,
    billing: u64,
    is_open: bool,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Entry {
    fn of(dimensions: &Dimensions) -> Self {
        Self {
            key: key_of(dimensions.s3uid.as_str()),
            account_id: dimensions.account_id,
            customer: dimensions.customer.0,
            plan: dimensions.plan.0,
            email: hash(&dimensions.email.to_lowercase()),
            location: hash(&dimensions.location),
            storage_type: hash(&dimensions.storage_type),
            billing: hash(&dimensions.billing),
            is_open: true,
        }
    }
}

/// Filters but for the bucket, which is looked for in the database. Those that are `None` match
/// all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Filter {
    /// The customer whose meters alone are seen.
    visible_to: Option<i64>,
    key: Option<u128>,
    account_id: Option<i64>,
    customer: Option<i64>,
    plan: Option<i64>,
    email: Option<u64>,
    location: Option<u64>,
    storage_type: Option<u64>,
    billing: Option<u64>,
}

impl Filter {
    pub(crate) fn of(ranking: &Ranking) -> Self {
        let RankBy { s3uid, account_id, customer, email, plan, .. } = &ranking.by;
        let text = |text: &Option<String>| text.as_deref().map(hash);
        Self {
            visible_to: ranking.visible_to.map(|id| id.0),
            key: s3uid.as_ref().map(|uid| key_of(uid.as_str())),
            account_id: *account_id,
            customer: customer.map(|id| id.0),
            plan: plan.map(|id| id.0),
            email: email.as_ref().map(|email| hash(&email.to_lowercase())),
            location: text(&ranking.by.location),
            storage_type: text(&ranking.by.storage_type),
            billing: text(&ranking.by.billing),
        }
    }

    fn matches(&self, entry: &Entry) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        entry.is_open
            && is(self.visible_to, entry.customer)
            && is(self.key, entry.key)
            && is(self.account_id, entry.account_id)
            && is(self.customer, entry.customer)
            && is(self.plan, entry.plan)
            && is(self.email, entry.email)
            && is(self.location, entry.location)
            && is(self.storage_type, entry.storage_type)
            && is(self.billing, entry.billing)
    }
}

/// Places, a bit for each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    bits: Vec<u64>,
    pub(crate) count: usize,
}

impl Places {
    fn none_of(count: usize) -> Self {
        Self { bits: vec![0; count.div_ceil(64)], count: 0 }
    }

    pub(crate) fn has(&self, place: usize) -> bool {
        self.bits.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    fn set(&mut self, place: usize) {
        if let Some(bits) = self.bits.get_mut(place / 64)
            && *bits >> (place % 64) & 1 == 0
        {
            *bits |= 1 << (place % 64);
            self.count += 1;
        }
    }

    pub(crate) fn unset(&mut self, place: usize) {
        if self.has(place) {
            self.bits[place / 64] &= !(1 << (place % 64));
            self.count -= 1;
        }
    }
}

/// Meters by their places. What has not changed is shared by the rosters that follow each other.
#[derive(Debug, Clone, Default)]
struct Entries(Vec<Arc<Vec<Entry>>>);

impl Entries {
    fn len(&self) -> usize {
        let last = self.0.last().map_or(0, |chunk| chunk.len());
        self.0.len().saturating_sub(1) * CHUNK + last
    }

    fn get(&self, place: usize) -> Option<&Entry> {
        self.0.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn key(&self, place: u32) -> u128 {
        self.get(place as usize).map_or(0, |entry| entry.key)
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if self.get(place) == Some(&entry) {
            return;
        }
        if self.0.len() <= place / CHUNK {
            self.0.push(Arc::default());
        }
        let chunk = Arc::make_mut(&mut self.0[place / CHUNK]);
        match chunk.get_mut(place % CHUNK) {
            Some(there) => *there = entry,
            None => chunk.push(entry),
        }
    }

    /// Compares what they do not share.
    fn is_same_as(&self, other: &Self) -> bool {
        let mut both = self.0.iter().zip(&other.0);
        self.len() == other.len() && both.all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }

    fn close(&mut self, place: usize) {
        if let Some(entry) = self.get(place).filter(|entry| entry.is_open) {
            self.put(place, Entry { is_open: false, ..entry.clone() });
        }
    }
}

/// All open meters.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    entries: Entries,
    /// Places in the order of s3uids.
    by_key: Vec<u32>,
    pub(crate) open_count: usize,
    /// The first and the last month in which there is anything.
    pub(crate) known: Option<(Month, Month)>,
    /// Another number: places are others.
    pub(crate) generation: u64,
    /// Changes of meters by this process that are in it.
    pub(crate) changes: u64,
    matches: Mutex<HashMap<Filter, Arc<Places>>>,
}

impl Roster {
    pub(crate) fn place_count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + size_of::<u32>())
            + MATCHES_MAX * self.entries.len() / 8
    }

    pub(crate) fn is_open(&self, place: usize) -> bool {
        self.entries.get(place).is_some_and(|entry| entry.is_open)
    }

    /// What decides between accounts with equal figures: id, then s3uid.
    pub(crate) fn tie(&self, place: usize) -> (i64, u128) {
        self.entries.get(place).map_or((0, 0), |entry| (entry.account_id, entry.key))
    }

    pub(crate) fn place_of(&self, key: u128) -> Option<usize> {
        let found =
            self.by_key.binary_search_by_key(&key, |place| self.entries.key(*place)).ok()?;
        Some(self.by_key[found] as usize)
    }

    /// Goes along the s3uids in order; for whoever has rows in that order.
    pub(crate) fn walk(&self) -> impl FnMut(u128) -> Option<usize> {
        let mut next = 0;
        move |key| {
            while let Some(place) = self.by_key.get(next) {
                match self.entries.key(*place).cmp(&key) {
                    Ordering::Less => next += 1,
                    Ordering::Equal => return Some(*place as usize),
                    Ordering::Greater => return None,
                }
            }
            None
        }
    }

    /// The places that match.
    pub(crate) fn matching(&self, filter: &Filter) -> Arc<Places> {
        let known =
            self.matches.lock().unwrap_or_else(PoisonError::into_inner).get(filter).cloned();
        if let Some(known) = known {
            return known;
        }
        let mut places = Places::none_of(self.entries.len());
        for (place, entry) in self.entries.iter().enumerate() {
            if filter.matches(entry) {
                places.set(place);
            }
        }
        let places = Arc::new(places);
        let mut matches = self.matches.lock().unwrap_or_else(PoisonError::into_inner);
        if matches.len() >= MATCHES_MAX {
            matches.clear();
        }
        matches.insert(filter.clone(), Arc::clone(&places));
        places
    }

    /// The same with meters that have changed.
    pub(crate) fn with(
        &self,
        meters: &[Meter],
        known: Option<(Month, Month)>,
        changes: u64,
    ) -> Self {
        let Self { open_count, generation, .. } = *self;
        let (mut entries, mut by_key) = (self.entries.clone(), self.by_key.clone());
        let mut open_count = open_count;
        let mut is_same = true;
        for Meter { dimensions, closed } in meters {
            let entry = Entry { is_open: closed.is_none(), ..Entry::of(dimensions) };
            let place = self.place_of(entry.key);
            let before = place.and_then(|place| entries.get(place));
            if before == Some(&entry) || before.is_none() && !entry.is_open {
                continue;
            }
            is_same = false;
            open_count -= usize::from(before.is_some_and(|before| before.is_open));
            open_count += usize::from(entry.is_open);
            if place.is_none() {
                by_key.push(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            }
            entries.put(place.unwrap_or(entries.len()), entry);
        }
        if by_key.len() > self.by_key.len() {
            by_key.sort_by_key(|place| entries.key(*place));
        }
        let matches = match is_same {
            true => self.matches.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            false => HashMap::new(),
        };
        let matches = Mutex::new(matches);
        Self { entries, by_key, open_count, known, generation, changes, matches }
    }

    /// Whether another says the same of the same places.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let facts = |of: &Self| (of.generation, of.known, of.changes, of.open_count);
        facts(self) == facts(other)
            && self.by_key == other.by_key
            && self.entries.is_same_as(&other.entries)
    }

    /// Whether most of its places are of closed meters.
    pub(crate) fn is_worn(&self) -> bool {
        let closed = self.entries.len() - self.open_count;
        closed > self.open_count * CLOSED_FOR_OPEN + CLOSED_MORE
    }

    /// Those of `places` that are of these accounts.
    pub(crate) fn among(&self, places: &Places, s3uids: impl Iterator<Item = String>) -> Places {
        let mut found = Places::none_of(self.entries.len());
        for place in s3uids.filter_map(|s3uid| self.place_of(key_of(&s3uid))) {
            if places.has(place) {
                found.set(place);
            }
        }
        found
    }
}

/// A roster that is being read anew; meters come in the order of their s3uids.
pub(crate) struct Reading {
    old: Arc<Roster>,
    /// How far in the order of the old one it has come.
    reached: usize,
    new: Roster,
}

impl Reading {
    /// Goes on from a roster. Where most of its places are of closed meters, it begins anew.
    pub(crate) fn of(old: Option<Arc<Roster>>, changes: u64) -> Self {
        let old = old.unwrap_or_default();
        let is_worn = old.is_worn();
        let generation = old.generation + u64::from(is_worn);
        let old = if is_worn { Arc::default() } else { old };
        let entries = old.entries.clone();
        let new = Roster { entries, generation, changes, ..Roster::default() };
        Self { old, reached: 0, new }
    }

    pub(crate) fn add(&mut self, dimensions: &Dimensions) {
        let entry = Entry::of(dimensions);
        self.pass(Some(entry.key));
        let same = self.old.by_key.get(self.reached).copied();
        let same = same.filter(|place| self.new.entries.key(*place) == entry.key);
        self.reached += usize::from(same.is_some());
        let place = same.map_or(self.new.entries.len(), |place| place as usize);
        self.new.entries.put(place, entry);
        self.new.by_key.push(u32::try_from(place).unwrap_or(u32::MAX));
        self.new.open_count += 1;
    }

    /// Meters that were not met are closed.
    fn pass(&mut self, until: Option<u128>) {
        while let Some(place) = self.old.by_key.get(self.reached).copied() {
            if until.is_some_and(|key| self.new.entries.key(place) >= key) {
                break;
            }
            self.new.entries.close(place as usize);
            self.new.by_key.push(place);
            self.reached += 1;
        }
    }

    pub(crate) fn done(mut self, known: Option<(Month, Month)>) -> Roster {
        self.pass(None);
        Roster { known, ..self.new }
    }
}
