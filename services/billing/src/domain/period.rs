//! Periods of subscriptions, counted from the day of purchase.

use stowage_provider::Period;
pub(crate) use stowage_types::Span;
use stowage_types::{nth_span, span_number_at};
use time::OffsetDateTime;

/// Months in a period.
pub(crate) const fn months_in(period: Period) -> i64 {
    match period {
        Period::Monthly => 1,
        Period::Yearly => 12,
    }
}

/// The period that `at` lies in; the first one if `at` is before the anchor. `None` past the
/// year 9999.
pub(crate) fn span_at(anchor: OffsetDateTime, period: Period, at: OffsetDateTime) -> Option<Span> {
    stowage_types::span_at(anchor, months_in(period), at)
}

/// The `number`-th period, from 1. `None` past the year 9999.
pub(crate) fn nth(anchor: OffsetDateTime, period: Period, number: i64) -> Option<Span> {
    nth_span(anchor, months_in(period), number)
}

/// The number of the period that `at` lies in, from 1.
pub(crate) fn number_at(anchor: OffsetDateTime, period: Period, at: OffsetDateTime) -> Option<i64> {
    span_number_at(anchor, months_in(period), at)
}
