//! A board: the figures of all open meters in one period, and their orders.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use time::OffsetDateTime;

use super::roster::{Places, Roster, key_of};
use super::{RankField, Ranked};

/// Traffic and peak of accounts, in the order of their places; those behind the end have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) traffic: Vec<i64>,
    pub(crate) peaks: Vec<i64>,
}

impl Figures {
    pub(crate) fn none_of(count: usize) -> Self {
        Self { traffic: vec![0; count], peaks: vec![0; count] }
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        (self.traffic.len() + self.peaks.len()) * size_of::<i64>()
    }

    /// The same where nothing moves.
    pub(crate) fn peaks_of(count: usize) -> Self {
        Self { traffic: Vec::new(), peaks: vec![0; count] }
    }

    /// Adds what there is of an account in a further month or stretch of days.
    pub(crate) fn add(&mut self, place: usize, traffic: i64, peak: i64) {
        if let Some(sum) = self.traffic.get_mut(place) {
            *sum = sum.saturating_add(traffic);
        }
        if let Some(highest) = self.peaks.get_mut(place) {
            *highest = peak.max(*highest);
        }
    }

    /// Adds the figures of another part of the period.
    fn join(&mut self, part: &Self) {
        for (sum, traffic) in self.traffic.iter_mut().zip(&part.traffic) {
            *sum = sum.saturating_add(*traffic);
        }
        for (peak, other) in self.peaks.iter_mut().zip(&part.peaks) {
            *peak = (*peak).max(*other);
        }
    }

    fn of(&self, field: RankField) -> &[i64] {
        match field {
            RankField::Traffic => &self.traffic,
            RankField::StoragePeak => &self.peaks,
        }
    }
}

/// See above.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) roster: Arc<Roster>,
    figures: Figures,
    by_traffic: Vec<u32>,
    by_peak: Vec<u32>,
    /// What it is made of; only to be told from others.
    parts: Vec<Weak<Figures>>,
    /// When it was made, when it should be made anew, and when it is too old to be answered.
    times: Mutex<[OffsetDateTime; 3]>,
}

/// What is asked of a board.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) field: RankField,
    pub(crate) ascending: bool,
    pub(crate) skip: usize,
    pub(crate) max: usize,
}

/// One row of a page, but for what is to be read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Kept {
        key: u128,
        traffic_bytes: i64,
        stored_bytes_peak: i64,
    },
    /// An account that has changed since the board was made.
    Anew(Ranked),
}

impl Board {
    /// Adds up parts and puts the accounts in order. `times`: when it is made, due and overdue.
    pub(crate) fn new(
        roster: Arc<Roster>,
        parts: &[Arc<Figures>],
        times: [OffsetDateTime; 3],
    ) -> Self {
        let mut figures = Figures::none_of(roster.place_count());
        for part in parts {
            figures.join(part);
        }
        let by_traffic = in_order(&roster, &figures.traffic);
        let by_peak = in_order(&roster, &figures.peaks);
        let parts = parts.iter().map(Arc::downgrade).collect();
        Self { roster, figures, by_traffic, by_peak, parts, times: Mutex::new(times) }
    }

    /// Whether it would be the same if it were made anew of these.
    pub(crate) fn is_of(&self, roster: &Arc<Roster>, parts: &[Arc<Figures>]) -> bool {
        let is_same = |(own, part): (&Weak<Figures>, &Arc<Figures>)| {
            std::ptr::eq(own.as_ptr(), Arc::as_ptr(part))
        };
        Arc::ptr_eq(&self.roster, roster)
            && self.parts.len() == parts.len()
            && self.parts.iter().zip(parts).all(is_same)
    }

    /// It was looked at anew, and nothing had changed.
    pub(crate) fn stays_until(&self, times: [OffsetDateTime; 3]) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
    }

    fn times(&self) -> [OffsetDateTime; 3] {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it was made, or found to be right.
    pub(crate) fn made(&self) -> OffsetDateTime {
        self.times()[0]
    }

    /// When it should be made anew.
    pub(crate) fn due(&self) -> OffsetDateTime {
        self.times()[1]
    }

    /// From when on it is too old to be answered.
    pub(crate) fn overdue(&self) -> OffsetDateTime {
        self.times()[2]
    }

    /// Bytes that it takes, without the roster.
    pub(crate) fn bytes(&self) -> usize {
        self.figures.bytes() + (self.by_traffic.len() + self.by_peak.len()) * size_of::<u32>()
    }

    /// A page of the places, and of accounts that are read anew, which come in the same order.
    /// Returns the lines, and how many there are in all.
    pub(crate) fn page(
        &self,
        places: &Places,
        anew: Vec<Ranked>,
        wanted: Wanted,
    ) -> (Vec<Line>, usize) {
        let total = places.count + anew.len();
        let order = match wanted.field {
            RankField::Traffic => &self.by_traffic,
            RankField::StoragePeak => &self.by_peak,
        };
        let of = self.figures.of(wanted.field);
        let has = |place: &u32| places.has(*place as usize);
        let (order, skip) = match anew.is_empty() {
            true => behind(order, of, places, wanted),
            false => (&order[..], wanted.skip),
        };
        let wanted = Wanted { skip, ..wanted };
        let lines = match wanted.ascending {
            false => self.lines(order.iter().copied().filter(has), anew, wanted),
            true => {
                // The order of accounts with equal figures is the same both ways.
                let runs = order.chunk_by(|a, b| of[*a as usize] == of[*b as usize]).rev();
                self.lines(runs.flatten().copied().filter(has), anew, wanted)
            }
        };
        (lines, total)
    }

    fn lines(
        &self,
        kept: impl Iterator<Item = u32>,
        anew: Vec<Ranked>,
        wanted: Wanted,
    ) -> Vec<Line> {
        if anew.is_empty() {
            let page = kept.skip(wanted.skip).take(wanted.max);
            return page.map(|place| self.line(place)).collect();
        }
        let (mut kept, mut anew) = (kept.peekable(), anew.into_iter().peekable());
        let merged = std::iter::from_fn(|| match (kept.peek(), anew.peek()) {
            (Some(place), Some(row)) if self.is_behind(*place, row, wanted) => {
                anew.next().map(Line::Anew)
            }
            (None, _) => anew.next().map(Line::Anew),
            (Some(_), _) => kept.next().map(|place| self.line(place)),
        });
        merged.skip(wanted.skip).take(wanted.max).collect()
    }

    fn line(&self, place: u32) -> Line {
        let place = place as usize;
        Line::Kept {
            key: self.roster.tie(place).1,
            traffic_bytes: self.figures.traffic[place],
            stored_bytes_peak: self.figures.peaks[place],
        }
    }

    /// Whether an account of the board comes behind another.
    fn is_behind(&self, place: u32, row: &Ranked, wanted: Wanted) -> bool {
        let figure = self.figures.of(wanted.field)[place as usize];
        let other = match wanted.field {
            RankField::Traffic => row.traffic_bytes,
            RankField::StoragePeak => row.stored_bytes_peak,
        };
        let tie = (row.dimensions.account_id, key_of(row.dimensions.s3uid.as_str()));
        let is_behind = if wanted.ascending { figure > other } else { figure < other };
        is_behind || figure == other && self.roster.tie(place as usize) > tie
    }
}

/// What of an order is left behind the places that are skipped, and how many are to be skipped of
/// that: of equal figures that are turned around, those before the page.
fn behind<'a>(
    order: &'a [u32],
    figures: &[i64],
    places: &Places,
    Wanted { ascending, skip, .. }: Wanted,
) -> (&'a [u32], usize) {
    let has = |place: &u32| places.has(*place as usize);
    // Where all are wanted none needs to be looked at.
    let is_whole = places.count == order.len();
    if !ascending {
        let first = match is_whole {
            true => skip.min(order.len()),
            false => nth_of(order.iter().map(has), skip),
        };
        return (&order[first..], 0);
    }
    let skipped = match is_whole {
        true => skip.min(order.len()),
        false => nth_of(order.iter().rev().map(has), skip),
    };
    let (rest, behind) = order.split_at(order.len() - skipped);
    let Some(next) = rest.last() else { return (rest, 0) };
    let is_equal = |place: &&u32| figures[**place as usize] == figures[*next as usize];
    let equal = behind.iter().take_while(is_equal).count();
    (&order[..rest.len() + equal], behind[..equal].iter().filter(|place| has(place)).count())
}

/// How many flags there are before the one that follows `skip` set ones.
fn nth_of(flags: impl ExactSizeIterator<Item = bool>, skip: usize) -> usize {
    let (count, mut left) = (flags.len(), skip);
    for (index, is_set) in flags.enumerate() {
        if is_set && left == 0 {
            return index;
        }
        left -= usize::from(is_set);
    }
    count
}

/// Open meters, the largest figure first.
fn in_order(roster: &Roster, figures: &[i64]) -> Vec<u32> {
    let open = figures.iter().enumerate().filter(|(place, _)| roster.is_open(*place));
    let mut order: Vec<_> = open
        .map(|(place, figure)| (Reverse(*figure), roster.tie(place), place))
        .map(|(figure, (id, key), place)| (figure, id, key, u32::try_from(place).unwrap_or(0)))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(.., place)| place).collect()
}

/// The places without those of some accounts.
pub(crate) fn without(roster: &Roster, places: &Places, keys: &HashSet<u128>) -> Places {
    let mut rest = places.clone();
    for place in keys.iter().filter_map(|key| roster.place_of(*key)) {
        rest.unset(place);
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use stowage_types::{CustomerId, PlanId};

    use super::*;
    use crate::domain::Dimensions;
    use crate::domain::roster::{Filter, Reading, s3uid_of};

    /// Accounts whose ids and s3uids are in different orders.
    fn roster(count: usize) -> Roster {
        let mut reading = Reading::of(None, 0);
        for (key, id) in (0..count).zip(0_i64..) {
            reading.add(&Dimensions {
                s3uid: s3uid_of(key as u128).unwrap(),
                account_id: id * 7 % 41,
                customer: CustomerId(1),
                email: "ann@example.com".to_owned(),
                plan: PlanId(1),
                location: "DE".to_owned(),
                storage_type: "ssd".to_owned(),
                billing: "ledger".to_owned(),
                gb_bytes: 1 << 30,
            });
        }
        reading.done(None)
    }

    proptest! {
        #[test]
        fn pages_are_parts_of_the_whole_order(
            meters in vec((0..4_i64, any::<bool>()), 0..40),
            skip in 0..50_usize,
            max in 0..50_usize,
        ) {
            let roster = Arc::new(roster(meters.len()));
            let mut figures = Figures::none_of(meters.len());
            for (place, (figure, _)) in meters.iter().enumerate() {
                figures.add(place, *figure, 3 - *figure);
            }
            let time = OffsetDateTime::UNIX_EPOCH;
            let board = Board::new(Arc::clone(&roster), &[Arc::new(figures)], [time; 3]);
            let all = roster.matching(&Filter::default());
            let left_out = meters.iter().zip(0..).filter(|((_, is_in), _)| !is_in);
            let left_out = left_out.map(|(_, place)| roster.tie(place).1).collect();
            for places in [(*all).clone(), without(&roster, &all, &left_out)] {
                for field in [RankField::Traffic, RankField::StoragePeak] {
                    for ascending in [false, true] {
                        let of = |skip, max| {
                            let wanted = Wanted { field, ascending, skip, max };
                            board.page(&places, Vec::new(), wanted)
                        };
                        let (whole, total) = of(0, usize::MAX);
                        prop_assert_eq!(whole.len(), places.count);
                        prop_assert!(is_in_order(&board, &whole, field, ascending));
                        let page: Vec<Line> = whole.into_iter().skip(skip).take(max).collect();
                        prop_assert_eq!(of(skip, max), (page, total));
                    }
                }
            }
        }
    }

    /// By the figure, and accounts of the same figure one way only.
    fn is_in_order(board: &Board, lines: &[Line], field: RankField, ascending: bool) -> bool {
        let sorted = |line: &Line| {
            let Line::Kept { key, traffic_bytes, stored_bytes_peak } = line else { return None };
            let figure = match field {
                RankField::Traffic => *traffic_bytes,
                RankField::StoragePeak => *stored_bytes_peak,
            };
            let place = board.roster.place_of(*key)?;
            Some((if ascending { figure } else { -figure }, board.roster.tie(place)))
        };
        lines.is_sorted_by_key(sorted)
    }
}
