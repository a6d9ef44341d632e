//! Notices that RGW keeps no usage log: Ceph's default, and nothing in its API says so.
//!
//! An empty log may be that of a quiet night. So when nothing is in it, somebody without a name
//! asks S3 for his buckets, which RGW writes down like any other call. If that does not show up
//! either, the log is off.

use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

/// Ten times of what RGW takes by default to write the log.
const WRITTEN_WITHIN: Duration = Duration::minutes(5);

/// What has been noticed so far.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Calm,
    Asked(OffsetDateTime),
    Warned,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    Nothing,
    /// Make a call that must show up.
    Ask,
    /// Say that the log is off.
    Warn,
    /// Say that it is on again.
    Calm,
}

impl Watch {
    /// The last hours were read, and had something in them or not.
    pub(crate) fn read(&self, is_empty: bool, now: OffsetDateTime) -> Notice {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, notice) = match *state {
            State::Calm if is_empty => (State::Asked(now), Notice::Ask),
            State::Asked(time) if is_empty && now - time < WRITTEN_WITHIN => {
                (State::Asked(time), Notice::Nothing)
            }
            State::Asked(_) if is_empty => (State::Warned, Notice::Warn),
            // Once is enough; but the next call that is made must be known to be missing.
            State::Warned if is_empty => (State::Warned, Notice::Nothing),
            State::Warned => (State::Calm, Notice::Calm),
            State::Calm | State::Asked(_) => (State::Calm, Notice::Nothing),
        };
        *state = next;
        notice
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_log_is_off_when_even_our_own_call_is_not_in_it() {
        let start = datetime!(2026-11-25 10:00 UTC);
        let watch = Watch::default();
        let minute = Duration::MINUTE;
        for (minutes, is_empty, expected) in [
            (0, false, Notice::Nothing),
            (1, true, Notice::Ask),
            (2, true, Notice::Nothing),
            (3, false, Notice::Nothing),
            (4, true, Notice::Ask),
            (8, true, Notice::Nothing),
            (9, true, Notice::Warn),
            (10, true, Notice::Nothing),
            (11, false, Notice::Calm),
            (12, true, Notice::Ask),
        ] {
            assert_eq!(watch.read(is_empty, start + minute * minutes), expected, "{minutes}");
        }
    }
}
