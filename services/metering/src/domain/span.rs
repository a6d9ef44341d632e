//! A period of whole days as rankings add it up: months of the calendar, and the days beside them.

use time::{Duration, OffsetDateTime};

use super::fact::AHEAD_MAX;
use super::{Every, Period, Step};

/// A month of the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Month(OffsetDateTime);

impl Month {
    /// The month that `time` is in.
    pub(crate) fn of(time: OffsetDateTime) -> Self {
        Self(Every::Month.start_of(time))
    }

    pub(crate) fn start(self) -> OffsetDateTime {
        self.0
    }

    /// Not included.
    pub(crate) fn end(self) -> OffsetDateTime {
        Every::add_months(self.0, 1)
    }

    /// The months in which a period has a part, oldest first.
    pub(crate) fn all_of(period: Period) -> impl Iterator<Item = Self> {
        let first = Some(Self::of(period.from)).filter(|_| period.from < period.to);
        std::iter::successors(first, move |month| {
            let next = Self(month.end());
            (next.0 < period.to && next > *month).then_some(next)
        })
    }
}

/// What a period is made of. Periods that are made of the same are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    /// The start, if what the days before it left counts.
    pub(crate) carried_at: Option<OffsetDateTime>,
    /// Whole ones, one after the other.
    pub(crate) months: Vec<Month>,
    /// Days before and behind the months.
    pub(crate) days: Vec<Period>,
}

impl Span {
    /// Cuts `days`. `known`: the first and the last month in which there is anything.
    pub(crate) fn cut(days: Period, known: Option<(Month, Month)>, now: OffsetDateTime) -> Self {
        // Nothing is carried into what has not begun.
        let carried_at = (days.from <= now).then_some(days.from);
        let nothing = Self { carried_at: None, months: Vec::new(), days: Vec::new() };
        let Some((first, last)) = known else { return nothing };
        let carried_at = carried_at.filter(|from| *from >= first.start());
        // There are no facts of any later day.
        let end = Step::Day.start_of(now + AHEAD_MAX) + Duration::DAY;
        let from = days.from.max(first.start());
        let to = days.to.min(end).min(last.end());
        if from >= to {
            return Self { carried_at, ..nothing };
        }
        let begin = match Month::of(from) {
            month if month.start() == from => from,
            month => month.end(),
        };
        // The month that is not over is whole, too, if all of it that there is was asked for.
        let over = match Month::of(to) {
            month if month.start() == to => to,
            month if to == end => month.end(),
            month => month.start(),
        };
        if begin >= over {
            return Self { carried_at, days: vec![Period { from, to }], ..nothing };
        }
        let sides = [Period { from, to: begin }, Period { from: over, to }];
        let days = sides.into_iter().filter(|side| side.from < side.to).collect();
        let months = Month::all_of(Period { from: begin, to: over }).collect();
        Self { carried_at, months, days }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-23 15:30 UTC);
    const KNOWN: Option<(Month, Month)> =
        Some((Month(datetime!(2025-10-01 0:00 UTC)), Month(datetime!(2026-11-01 0:00 UTC))));

    fn cut(from: OffsetDateTime, to: OffsetDateTime) -> (bool, usize, Vec<Period>) {
        let span = Span::cut(Period { from, to }, KNOWN, NOW);
        (span.carried_at.is_some(), span.months.len(), span.days)
    }

    #[test]
    fn a_period_is_cut_into_whole_months_and_the_days_beside_them() {
        let day = |from, to| Period { from, to };
        for (from, to, expected) in [
            // This month, whatever end is named.
            (datetime!(2026-11-01 0:00 UTC), datetime!(2026-12-01 0:00 UTC), (true, 1, vec![])),
            (datetime!(2026-11-01 0:00 UTC), datetime!(2026-11-24 0:00 UTC), (true, 1, vec![])),
            (
                datetime!(2026-11-01 0:00 UTC),
                datetime!(2026-11-23 0:00 UTC),
                (
                    true,
                    0,
                    vec![day(datetime!(2026-11-01 0:00 UTC), datetime!(2026-11-23 0:00 UTC))],
                ),
            ),
            (datetime!(2025-11-01 0:00 UTC), datetime!(2026-12-01 0:00 UTC), (true, 13, vec![])),
            (
                datetime!(2025-11-15 0:00 UTC),
                datetime!(2026-11-20 0:00 UTC),
                (
                    true,
                    11,
                    vec![
                        day(datetime!(2025-11-15 0:00 UTC), datetime!(2025-12-01 0:00 UTC)),
                        day(datetime!(2026-11-01 0:00 UTC), datetime!(2026-11-20 0:00 UTC)),
                    ],
                ),
            ),
            // Before anything was, and after all there is.
            (datetime!(1970-01-01 0:00 UTC), datetime!(2025-10-01 0:00 UTC), (false, 0, vec![])),
            (datetime!(1970-01-01 0:00 UTC), datetime!(2030-01-01 0:00 UTC), (false, 14, vec![])),
            (datetime!(2026-12-05 0:00 UTC), datetime!(2026-12-06 0:00 UTC), (false, 0, vec![])),
        ] {
            assert_eq!(cut(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn an_empty_period_still_carries_what_was_left() {
        let start = datetime!(2026-11-01 0:00 UTC);
        assert_eq!(cut(start, start), (true, 0, vec![]));
        let span = Span::cut(Period { from: start, to: start }, None, NOW);
        assert_eq!(span.carried_at, None);
    }
}
