//! How far usage has been read: the text that the storage role keeps for us.
//!
//! A pass reads the usage log hour by hour up to the current one, and begins some hours before
//! that, since what was not yet written then belongs to hours that were read. Now and then a sweep
//! follows it, which looks at what every bucket stores.

use serde::{Deserialize, Serialize};
use stowage_engine::{Error, UsageCursor};
use time::{Duration, OffsetDateTime};

/// Metering takes facts for so long; older hours would be dropped.
const HISTORY: Duration = Duration::days(35);
/// Hours before the current one that are read again by each pass.
pub(crate) const AGAIN: i64 = 3;
const VERSION: u32 = 1;

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// Wait until a pass or a sweep is due.
    Wait,
    /// Read an hour, its start in seconds since 1970, from behind an account and bucket.
    Traffic { hour: i64, after: Option<(String, String)> },
    /// Look at a page of accounts. `marker` is RGW's; empty: from the beginning.
    Stored { marker: String },
}

/// How far usage has been read. All times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    version: u32,
    pub(crate) work: Work,
    /// When the last pass has ended; 0: none has.
    passed: i64,
    /// When the last sweep has begun.
    swept: i64,
    /// Whether this sweep looks for buckets that are gone of every account.
    pub(crate) is_deep: bool,
}

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) usage_every: std::time::Duration,
    pub(crate) stored_every: std::time::Duration,
}

impl Place {
    /// Reads a cursor; an empty one begins with what metering still takes.
    pub(crate) fn of(cursor: &UsageCursor, now: OffsetDateTime) -> Result<Self, Error> {
        if cursor.as_str().is_empty() {
            let hour = hour_of(now - HISTORY);
            let work = Work::Traffic { hour, after: None };
            return Ok(Self { version: VERSION, work, passed: 0, swept: 0, is_deep: false });
        }
        match serde_json::from_str(cursor.as_str()) {
            Ok(place @ Self { version: VERSION, .. }) => Ok(place),
            _ => Err(Error::Invalid { why: "the usage cursor is not of this engine".to_owned() }),
        }
    }

    pub(crate) fn cursor(&self) -> Result<UsageCursor, Error> {
        let text = serde_json::to_string(self).map_err(Error::unavailable)?;
        Ok(UsageCursor::from_text(text))
    }

    /// Begins what is due, if nothing is under way.
    pub(crate) fn wake(&mut self, now: OffsetDateTime, pace: Pace) {
        if self.work != Work::Wait {
            return;
        }
        if is_due(self.passed, now, pace.usage_every) {
            // The hours since the last pass, if there was none for long.
            let hour = hour_of_second(self.passed).min(hour_of(now)) - AGAIN * 3600;
            self.work = Work::Traffic { hour, after: None };
        } else if is_due(self.swept, now, pace.stored_every) {
            self.begin_sweep(now);
        }
    }

    /// The current hour was read.
    pub(crate) fn end_pass(&mut self, now: OffsetDateTime, pace: Pace) {
        self.passed = now.unix_timestamp();
        self.work = Work::Wait;
        if is_due(self.swept, now, pace.stored_every) {
            self.begin_sweep(now);
        }
    }

    fn begin_sweep(&mut self, now: OffsetDateTime) {
        let day = |second: i64| second.div_euclid(86400);
        self.is_deep = day(self.swept) != day(now.unix_timestamp());
        self.swept = now.unix_timestamp();
        self.work = Work::Stored { marker: String::new() };
    }
}

/// A clock that was set back makes it due.
fn is_due(last: i64, now: OffsetDateTime, every: std::time::Duration) -> bool {
    let passed = now.unix_timestamp() - last;
    u64::try_from(passed).map_or(true, |passed| passed >= every.as_secs())
}

/// The start of the hour, in seconds since 1970.
pub(crate) fn hour_of(time: OffsetDateTime) -> i64 {
    hour_of_second(time.unix_timestamp())
}

fn hour_of_second(second: i64) -> i64 {
    second.div_euclid(3600) * 3600
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const PACE: Pace = Pace {
        usage_every: std::time::Duration::from_secs(60),
        stored_every: std::time::Duration::from_secs(900),
    };

    fn seconds(time: OffsetDateTime) -> i64 {
        time.unix_timestamp()
    }

    #[test]
    fn the_first_pass_begins_with_what_metering_takes() {
        let now = datetime!(2026-11-25 16:44:05 UTC);
        let place = Place::of(&UsageCursor::default(), now).unwrap();
        let hour = seconds(datetime!(2026-10-21 16:00 UTC));
        assert_eq!(place.work, Work::Traffic { hour, after: None });
        assert_eq!(Place::of(&place.cursor().unwrap(), now).unwrap(), place);
    }

    #[test]
    fn passes_read_the_last_hours_again_and_sweeps_follow_when_they_are_due() {
        let mut now = datetime!(2026-11-25 23:50 UTC);
        let mut place = Place::of(&UsageCursor::default(), now).unwrap();
        place.end_pass(now, PACE);
        assert_eq!((&place.work, place.is_deep), (&Work::Stored { marker: String::new() }, true));
        place.work = Work::Wait;
        place.wake(now, PACE);
        assert_eq!(place.work, Work::Wait);
        now += Duration::minutes(1);
        place.wake(now, PACE);
        let hour = seconds(datetime!(2026-11-25 20:00 UTC));
        assert_eq!(place.work, Work::Traffic { hour, after: None });
        place.end_pass(now, PACE);
        assert_eq!(place.work, Work::Wait);
        // Down for five hours: none of these is left out.
        now += Duration::hours(5);
        place.wake(now, PACE);
        assert_eq!(place.work, Work::Traffic { hour, after: None });
        place.end_pass(now, PACE);
        assert!(place.is_deep, "another day");
        place.work = Work::Wait;
        now += Duration::minutes(20);
        place.end_pass(now, PACE);
        assert_eq!((&place.work, place.is_deep), (&Work::Stored { marker: String::new() }, false));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let now = datetime!(2026-11-25 12:30 UTC);
        let mut place = Place::of(&UsageCursor::default(), now).unwrap();
        place.end_pass(now, PACE);
        place.work = Work::Wait;
        place.wake(now - Duration::days(1), PACE);
        let hour = seconds(datetime!(2026-11-24 09:00 UTC));
        assert_eq!(place.work, Work::Traffic { hour, after: None });
    }

    #[test]
    fn cursors_of_others_are_refused() {
        for text in ["x", "12", "{}", r#"{"version":2,"work":"wait","passed":0,"swept":0}"#] {
            let place = Place::of(&UsageCursor::from_text(text), OffsetDateTime::UNIX_EPOCH);
            assert!(matches!(place, Err(Error::Invalid { .. })), "{text}");
        }
    }
}
