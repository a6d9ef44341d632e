//! The parts that rankings of a period are made of, as they are kept.

use time::{Duration, OffsetDateTime};

use super::fact::LATE_MAX;
use super::{Month, Period, Span};

/// How soon what facts of these days change is read anew.
pub(super) const SOON: Duration = Duration::seconds(5);
/// The same of what only late facts change.
const SELDOM: Duration = Duration::minutes(1);
/// The same of what only corrections change.
const RARELY: Duration = Duration::minutes(10);

/// A part of a period.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Months that are read and kept as one: what only corrections change needs no more.
    Months(Vec<Month>),
    Days(Period),
    /// What was left when a day began.
    Left(OffsetDateTime),
}

/// What one query after the other reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    Month(Month),
    Days(Period),
    Left(OffsetDateTime),
}

/// Whether facts may still come of what is before: a correction may be of any day.
fn may_change(end: OffsetDateTime, now: OffsetDateTime) -> bool {
    end > now - LATE_MAX - Duration::DAY
}

/// How soon a part is read anew if that takes no time.
pub(super) fn base_of(part: &Part, now: OffsetDateTime) -> Duration {
    let end = match part {
        Part::Months(months) => months.last().map_or(now, |last| last.end()),
        Part::Days(days) => days.to,
        // What was left when a day began follows from facts of the days before.
        Part::Left(from) => *from,
    };
    // Facts of a day that is over come for some minutes more.
    match end {
        end if end > now - Duration::HOUR => SOON,
        end if may_change(end, now) => SELDOM,
        _ => RARELY,
    }
}

pub(super) fn parts_of(span: &Span, now: OffsetDateTime) -> impl Iterator<Item = Part> {
    let (new, old): (Vec<Month>, Vec<Month>) =
        span.months.iter().partition(|month| may_change(month.end(), now));
    let old = Some(old).filter(|old| !old.is_empty()).map(Part::Months);
    let new = new.into_iter().map(|month| Part::Months(vec![month]));
    let days = span.days.clone().into_iter().map(Part::Days);
    old.into_iter().chain(new).chain(days).chain(span.carried_at.map(Part::Left))
}
