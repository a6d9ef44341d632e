//! Time is taken from a [`Clock`] that is handed in, so that tests decide what time it is.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;

use crate::Malformed;

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now, in UTC, whole microseconds.
    fn now(&self) -> OffsetDateTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock the others are told to use")]
    fn now(&self) -> OffsetDateTime {
        whole_micros(OffsetDateTime::now_utc())
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct FakeClock(Mutex<OffsetDateTime>);

impl FakeClock {
    /// Starts at `start`.
    #[must_use]
    pub fn at(start: OffsetDateTime) -> Self {
        Self(Mutex::new(whole_micros(start)))
    }

    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder of this lock panics");
        *now += by;
    }

    /// Jumps to `to`, forward or back.
    pub fn set(&self, to: OffsetDateTime) {
        *self.0.lock().expect("no holder of this lock panics") = whole_micros(to);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().expect("no holder of this lock panics")
    }
}

/// The databases keep microseconds: what is finer would come back changed.
fn whole_micros(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(time.nanosecond() / 1_000 * 1_000).unwrap_or(time)
}

/// The wire form of a time.
#[must_use]
pub fn timestamp(time: OffsetDateTime) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.nanosecond()).unwrap_or(0);
    prost_types::Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// Reads the wire form of a time.
///
/// # Errors
/// `Malformed` if it lies outside the years 0 to 9999 or its nanos outside a second.
pub fn from_timestamp(wire: &prost_types::Timestamp) -> Result<OffsetDateTime, Malformed> {
    let outside = || Malformed::new("is not a time");
    let seconds = OffsetDateTime::from_unix_timestamp(wire.seconds).map_err(|_| outside())?;
    let nanos = u32::try_from(wire.nanos).map_err(|_| outside())?;
    let time = seconds.replace_nanosecond(nanos).map_err(|_| outside())?;
    if time.year() < 0 { Err(outside()) } else { Ok(whole_micros(time)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_from_the_wire() {
        let now = SystemClock.now();
        assert_eq!(from_timestamp(&timestamp(now)), Ok(now));
        for bad in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000)] {
            let wire = prost_types::Timestamp { seconds: bad.0, nanos: bad.1 };
            assert!(from_timestamp(&wire).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_fake_clock_moves_when_told() {
        let clock = FakeClock::at(OffsetDateTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().unix_timestamp(), 5);
    }
}
