//! How far usage has been read: the text that the storage role keeps for us.

use serde::{Deserialize, Serialize};
use stowage_engine::{Error, UsageCursor};
use stowage_types::S3uid;
use time::OffsetDateTime;

const VERSION: u32 = 1;
/// Clocks of machines differ, and what is told twice counts once.
const TOLD_AGAIN: i64 = 3600;

/// A sweep looks at every account; then none is made until the next is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Version of this text; named so that no other engine takes it for its own.
    garage: u32,
    /// The account behind which the sweep goes on; `None`: no sweep is under way.
    pub(crate) after: Option<String>,
    /// When the last sweep was begun, in seconds since 1970; 0: none was.
    began: i64,
    /// When the one before it was.
    before: i64,
}

impl Place {
    pub(crate) fn of(cursor: &UsageCursor) -> Result<Self, Error> {
        if cursor.as_str().is_empty() {
            return Ok(Self { garage: VERSION, after: None, began: 0, before: 0 });
        }
        match serde_json::from_str(cursor.as_str()) {
            Ok(place @ Self { garage: VERSION, .. }) => Ok(place),
            _ => Err(Error::Invalid { why: "the usage cursor is not of this engine".to_owned() }),
        }
    }

    pub(crate) fn cursor(&self) -> Result<UsageCursor, Error> {
        let text = serde_json::to_string(self).map_err(Error::unavailable)?;
        Ok(UsageCursor::from_text(text))
    }

    /// Begins a sweep, if none is under way and one is due. A clock that was set back makes it so.
    pub(crate) fn wake(&mut self, now: OffsetDateTime, every: std::time::Duration) {
        let passed = u64::try_from(now.unix_timestamp() - self.began);
        if self.after.is_none() && passed.map_or(true, |passed| passed >= every.as_secs()) {
            self.after = Some(String::new());
            self.before = self.began;
            self.began = now.unix_timestamp();
        }
    }

    /// The account behind which a sweep goes on.
    pub(crate) fn is_behind(&self, uid: &S3uid) -> bool {
        self.after.as_ref().is_some_and(|after| uid.as_str() > after.as_str())
    }

    /// Deletions since then are told.
    pub(crate) fn since(&self) -> i64 {
        self.before.min(self.began) - TOLD_AGAIN
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_sweep_begins_when_it_is_due_and_tells_since_the_one_before() {
        let start = datetime!(2026-11-25 12:00 UTC);
        let every = Duration::from_secs(300);
        let mut place = Place::of(&UsageCursor::default()).unwrap();
        for (minutes, begins) in [(0, true), (4, false), (5, true), (-60, true)] {
            let now = start + time::Duration::minutes(minutes);
            place.after = None;
            place.wake(now, every);
            assert_eq!(place.after.is_some(), begins, "{minutes}");
            assert_eq!(Place::of(&place.cursor().unwrap()).unwrap(), place);
        }
        let earliest = (start - time::Duration::hours(2)).unix_timestamp();
        assert_eq!(place.since(), earliest, "a clock that was set back leaves nothing out");
    }

    #[test]
    fn cursors_of_others_are_refused() {
        for text in ["x", "12", "{}", r#"{"garage":2,"after":null,"began":0,"before":0}"#] {
            let place = Place::of(&UsageCursor::from_text(text));
            assert!(matches!(place, Err(Error::Invalid { .. })), "{text}");
        }
    }
}
