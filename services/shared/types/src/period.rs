//! Periods, counted from the day of purchase.
//!
//! The n-th boundary is the anchor moved by n months (or years) of the calendar, on the anchor's
//! day or, in a shorter month, its last: 31 January, 28 February, 31 March. Each is computed from
//! the anchor itself: a chain of months would stay on the 28th for good. All in UTC.

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// The start of the hour that `time` is in, UTC.
#[must_use]
pub fn hour_of(time: OffsetDateTime) -> OffsetDateTime {
    let time = time.to_offset(UtcOffset::UTC);
    time.replace_time(Time::MIDNIGHT) + Duration::hours(time.hour().into())
}

/// From–to, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start: OffsetDateTime,
    /// Its end, not included.
    pub end: OffsetDateTime,
}

/// The period of so many `months`, at least 1, that `at` lies in; the first one if `at` is before
/// the anchor. `None` past the year 9999.
#[must_use]
pub fn span_at(anchor: OffsetDateTime, months: i64, at: OffsetDateTime) -> Option<Span> {
    let passed = (month_number(at) - month_number(anchor)).max(0) / months;
    // The boundary in the month of `at` itself may still lie ahead.
    let count = match boundary(anchor, passed * months)? {
        start if start > at && passed > 0 => passed - 1,
        _ => passed,
    };
    let start = boundary(anchor, count * months)?;
    let end = boundary(anchor, (count + 1) * months)?;
    Some(Span { start, end })
}

/// The `number`-th period, from 1. `None` past the year 9999.
#[must_use]
pub fn nth_span(anchor: OffsetDateTime, months: i64, number: i64) -> Option<Span> {
    let start = boundary(anchor, number.checked_sub(1)?.checked_mul(months)?)?;
    let end = boundary(anchor, number.checked_mul(months)?)?;
    Some(Span { start, end })
}

/// The number of the period that `at` lies in, from 1.
#[must_use]
pub fn span_number_at(anchor: OffsetDateTime, months: i64, at: OffsetDateTime) -> Option<i64> {
    let span = span_at(anchor, months, at)?;
    Some((month_number(span.start) - month_number(anchor)) / months + 1)
}

/// Months since the year 0.
fn month_number(time: OffsetDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(u8::from(time.month())) - 1
}

/// The anchor moved by `months` of the calendar.
fn boundary(anchor: OffsetDateTime, months: i64) -> Option<OffsetDateTime> {
    let number = month_number(anchor).checked_add(months)?;
    let year = i32::try_from(number.div_euclid(12)).ok()?;
    let month = Month::try_from(u8::try_from(number.rem_euclid(12) + 1).ok()?).ok()?;
    let day = anchor.day().min(month.length(year));
    Some(anchor.replace_date(Date::from_calendar_date(year, month, day).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const MONTH: i64 = 1;
    const YEAR: i64 = 12;

    #[test]
    fn hours_begin_at_whole_hours_utc() {
        let hour = datetime!(2026-11-23 15:00 UTC);
        let within = [datetime!(2026-11-23 15:59:59.999999 UTC), datetime!(2026-11-23 21:15 +5:30)];
        for time in [hour].into_iter().chain(within) {
            assert_eq!(hour_of(time), hour, "{time}");
        }
    }

    #[test]
    fn a_month_from_the_31st_ends_on_the_last_day() {
        let anchor = datetime!(2023-01-31 12:30:00 UTC);
        for (at, start, end) in [
            (anchor, anchor, datetime!(2023-02-28 12:30:00 UTC)),
            (datetime!(2023-02-28 12:29:59.999999 UTC), anchor, datetime!(2023-02-28 12:30:00 UTC)),
            (
                datetime!(2023-02-28 12:30:00 UTC),
                datetime!(2023-02-28 12:30:00 UTC),
                datetime!(2023-03-31 12:30:00 UTC),
            ),
            (
                datetime!(2024-02-29 23:00:00 UTC),
                datetime!(2024-02-29 12:30:00 UTC),
                datetime!(2024-03-31 12:30:00 UTC),
            ),
            (
                datetime!(2023-04-30 00:00:00 UTC),
                datetime!(2023-03-31 12:30:00 UTC),
                datetime!(2023-04-30 12:30:00 UTC),
            ),
        ] {
            assert_eq!(span_at(anchor, MONTH, at), Some(Span { start, end }), "{at}");
        }
    }

    #[test]
    fn a_year_from_a_leap_day_ends_on_28_february() {
        let anchor = datetime!(2024-02-29 00:00:00 UTC);
        for (at, start, end) in [
            (anchor, anchor, datetime!(2025-02-28 00:00:00 UTC)),
            (
                datetime!(2028-02-28 23:59:59 UTC),
                datetime!(2027-02-28 00:00:00 UTC),
                datetime!(2028-02-29 00:00:00 UTC),
            ),
            (
                datetime!(2028-02-29 00:00:00 UTC),
                datetime!(2028-02-29 00:00:00 UTC),
                datetime!(2029-02-28 00:00:00 UTC),
            ),
        ] {
            assert_eq!(span_at(anchor, YEAR, at), Some(Span { start, end }), "{at}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_no_panic() {
        let last = datetime!(9999-12-31 23:59:59 UTC);
        assert_eq!(span_at(last, MONTH, last), None);
        assert_eq!(span_at(last, YEAR, last), None);
    }

    proptest! {
        /// From 1970 to 2100, and up to 100 years on.
        #[test]
        fn every_moment_lies_in_one_period_and_periods_touch(
            anchor in 0_i64..4_102_444_800,
            ahead in 0_i64..3_155_760_000,
            yearly: bool,
        ) {
            let anchor = OffsetDateTime::from_unix_timestamp(anchor).unwrap();
            let at = anchor + Duration::seconds(ahead);
            let months = if yearly { YEAR } else { MONTH };
            let span = span_at(anchor, months, at).unwrap();
            prop_assert!(span.start <= at && at < span.end);
            prop_assert!(span.start >= anchor);

            let next = span_at(anchor, months, span.end).unwrap();
            prop_assert_eq!(next.start, span.end);
            let tick = Duration::microseconds(1);
            prop_assert_eq!(span_at(anchor, months, span.end - tick), Some(span));

            for edge in [span.start, span.end] {
                let last = edge.month().length(edge.year());
                prop_assert_eq!(edge.day(), anchor.day().min(last));
                prop_assert_eq!(edge.time(), anchor.time());
            }
            let number = span_number_at(anchor, months, at).unwrap();
            prop_assert_eq!(nth_span(anchor, months, number), Some(span));
            prop_assert_eq!(nth_span(anchor, months, number + 1), Some(next));
            let beyond = (month_number(span.start) - month_number(anchor)) % months;
            prop_assert_eq!(beyond, 0);
        }
    }
}
