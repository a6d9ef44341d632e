//! The 95th percentile of what is stored in a step.
//!
//! It is of the averages of the step's hours that have begun, by nearest rank: the smallest that at
//! least 95 in 100 of them do not exceed. So a peak of a few minutes weighs what it weighs in its
//! hour, and what is stored for 5 in 100 of the hours may be left out of account.

use std::collections::VecDeque;

use stowage_db::Db;
use time::OffsetDateTime;

use super::history::average;
use super::{Period, Step, UsageStep, Window};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Rows that are read at a time.
const ROWS_MAX: i64 = 1000;

/// Averages, and how many hours had each.
type Hours = Vec<(i64, i64)>;

/// Works the percentiles of steps out, which are in order, from the rollups of their hours.
pub(super) async fn fill(
    db: &Db,
    of: Of<'_>,
    steps: &mut [UsageStep],
    now: OffsetDateTime,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return Ok(()) };
    let of = Of { step: Step::Hour, ..of };
    let period = Period { from: first.start, to: last.end };
    let mut carried = store::stored::last_before(db, of, period.from).await?;
    let mut rows = Rows { db, of, period, read: VecDeque::new() };
    for step in steps {
        let (mut hours, mut at) = (Hours::new(), step.start);
        while let Some(window) = rows.next_before(step.end).await? {
            if window.start >= step.start {
                quiet(&mut hours, carried, (at, window.start.min(end_of_begun(now))));
                if window.start <= now {
                    let span = (window.start, window.end());
                    hours.push((average(window.byte_micros_until(now), span, now), 1));
                }
                at = window.end();
            }
            carried = window.last_bytes;
        }
        quiet(&mut hours, carried, (at, step.end.min(end_of_begun(now))));
        step.stored_bytes_p95 = nearest_rank(hours);
    }
    Ok(())
}

/// The end of the hour that it is.
fn end_of_begun(now: OffsetDateTime) -> OffsetDateTime {
    Step::Hour.start_of(now) + Step::Hour.length()
}

/// Adds hours in which nothing changed.
fn quiet(hours: &mut Hours, bytes: i64, (from, to): (OffsetDateTime, OffsetDateTime)) {
    let count = (to - from).whole_hours();
    if count > 0 {
        hours.push((bytes, count));
    }
}

fn nearest_rank(mut hours: Hours) -> i64 {
    hours.sort_unstable();
    let all: i64 = hours.iter().map(|(_, count)| count).sum();
    // The rank of the hour, rounded up.
    let rank = (all * 95 + 99) / 100;
    let mut met = 0;
    let found = hours.into_iter().find(|(_, count)| {
        met += count;
        met >= rank
    });
    found.map_or(0, |(bytes, _)| bytes)
}

/// Rows of hours, one after the other.
struct Rows<'a> {
    db: &'a Db,
    of: Of<'a>,
    /// What is not read yet.
    period: Period,
    read: VecDeque<Window>,
}

impl Rows<'_> {
    /// The next row, if it starts before `end`.
    async fn next_before(&mut self, end: OffsetDateTime) -> Result<Option<Window>, Error> {
        if self.read.is_empty() && self.period.from < self.period.to {
            let rows = store::stored::list(self.db, self.of, self.period, ROWS_MAX).await?;
            let is_end = i64::try_from(rows.len()).unwrap_or(i64::MAX) < ROWS_MAX;
            let next = rows.last().filter(|_| !is_end).map(Window::end);
            self.period.from = next.unwrap_or(self.period.to);
            self.read = rows.into();
        }
        Ok(self.read.pop_front_if(|window| window.start < end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rank_is_a_value_that_was() {
        let ones = |values: &[i64]| values.iter().map(|value| (*value, 1)).collect::<Hours>();
        for (hours, expected) in [
            (ones(&[]), 0),
            (ones(&[7]), 7),
            (ones(&[9, 1]), 9),
            // 19 of 20 are 95 in 100.
            (vec![(100, 1), (5, 19)], 5),
            (vec![(100, 2), (5, 19)], 100),
            (ones(&(1..=100).collect::<Vec<_>>()), 95),
            (vec![(0, 700), (8, 44)], 8),
            (vec![(0, 720), (8, 24)], 0),
        ] {
            assert_eq!(nearest_rank(hours.clone()), expected, "{hours:?}");
        }
    }
}
