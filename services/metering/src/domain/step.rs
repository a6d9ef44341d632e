//! Steps of time: hours and days, UTC.

use stowage_types::Violations;
use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// Length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Hour,
    Day,
}

impl Step {
    pub(crate) const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub(crate) fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::HOUR,
            Self::Day => Duration::DAY,
        }
    }

    /// Start of the window that `time` is in.
    pub(crate) fn start_of(self, time: OffsetDateTime) -> OffsetDateTime {
        let time = time.to_offset(UtcOffset::UTC);
        let midnight = time.replace_time(Time::MIDNIGHT);
        match self {
            Self::Day => midnight,
            Self::Hour => midnight + Duration::hours(time.hour().into()),
        }
    }

    /// End of the last window of a period that ends at `time`, not included.
    pub(crate) fn end_of(self, time: OffsetDateTime) -> OffsetDateTime {
        let start = self.start_of(time);
        if start == time { time } else { start + self.length() }
    }
}

/// Length of a step of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Every {
    Step(Step),
    /// A month of the calendar.
    Month,
}

impl Every {
    /// The rollups that it is made of.
    pub(crate) fn rows(self) -> Step {
        match self {
            Self::Step(step) => step,
            Self::Month => Step::Day,
        }
    }

    pub(crate) fn start_of(self, time: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Step(step) => step.start_of(time),
            Self::Month => {
                let midnight = Step::Day.start_of(time);
                midnight - Duration::days(i64::from(midnight.day()) - 1)
            }
        }
    }

    pub(crate) fn end_of(self, time: OffsetDateTime) -> OffsetDateTime {
        let start = self.start_of(time);
        match self {
            Self::Step(step) => step.end_of(time),
            Self::Month if start == time => time,
            Self::Month => Self::add_months(start, 1),
        }
    }

    /// The start of the month so many after that which `start` begins. At the end of time it is
    /// that.
    pub(crate) fn add_months(start: OffsetDateTime, count: i32) -> OffsetDateTime {
        let months = start.year() * 12 + i32::from(u8::from(start.month())) - 1 + count;
        let month = u8::try_from(months.rem_euclid(12) + 1).ok();
        let month = month.and_then(|month| Month::try_from(month).ok());
        let date =
            month.and_then(|month| Date::from_calendar_date(months.div_euclid(12), month, 1).ok());
        date.map_or(start + Duration::days(31), |date| date.midnight().assume_utc())
    }

    /// The period, widened to whole steps.
    pub(crate) fn widened(self, period: Period) -> Period {
        Period { from: self.start_of(period.from), to: self.end_of(period.to) }
    }
}

/// From–to, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Period {
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
}

impl Period {
    /// The period asked for; by default this month until now, UTC.
    pub(crate) fn of(
        from: Option<OffsetDateTime>,
        to: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<Self, Violations> {
        let month = Step::Day.start_of(now) - Duration::days(i64::from(now.day()) - 1);
        let (from, to) = (from.unwrap_or(month), to.unwrap_or(now));
        // At the very start of a month the default period is empty, which is no mistake.
        if from > to || from == to && to != now {
            return Err(Violations::of("to_time", "is not after from_time"));
        }
        Ok(Self { from, to })
    }

    /// The same, widened to whole windows.
    pub(crate) fn widened(self, step: Step) -> Self {
        Self { from: step.start_of(self.from), to: step.end_of(self.to) }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn windows_begin_and_end_where_the_clock_says() {
        let time = datetime!(2026-11-23 15:44:19.5 UTC);
        for (step, start, end) in [
            (Step::Hour, datetime!(2026-11-23 15:00 UTC), datetime!(2026-11-23 16:00 UTC)),
            (Step::Day, datetime!(2026-11-23 0:00 UTC), datetime!(2026-11-24 0:00 UTC)),
        ] {
            assert_eq!((step.start_of(time), step.end_of(time)), (start, end), "{step:?}");
            assert_eq!((step.start_of(start), step.end_of(end)), (start, end), "{step:?}");
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let january = datetime!(2026-01-01 0:00 UTC);
        let february = datetime!(2026-02-01 0:00 UTC);
        for (time, start, end) in [
            (datetime!(2026-01-31 23:59 UTC), january, february),
            (datetime!(2026-01-01 0:00:00.1 UTC), january, february),
            (february, february, february),
            (
                datetime!(2028-02-29 1:00 UTC),
                datetime!(2028-02-01 0:00 UTC),
                datetime!(2028-03-01 0:00 UTC),
            ),
        ] {
            let of = (Every::Month.start_of(time), Every::Month.end_of(time));
            assert_eq!(of, (start, end), "{time}");
        }
        assert_eq!(Every::add_months(january, 24), datetime!(2028-01-01 0:00 UTC));
        assert_eq!(Every::add_months(february, 11), datetime!(2027-01-01 0:00 UTC));
    }

    #[test]
    fn the_default_period_is_this_month_until_now() {
        let now = datetime!(2026-11-23 15:44 UTC);
        let period = Period::of(None, None, now).unwrap();
        assert_eq!(period, Period { from: datetime!(2026-11-01 0:00 UTC), to: now });
        let first = datetime!(2026-11-01 0:00 UTC);
        assert!(Period::of(None, None, first).is_ok());
        assert!(Period::of(Some(now), Some(first), now).is_err());
        assert!(Period::of(Some(first), Some(first), now).is_err());
    }
}
