//! How far usage has been read: the text that the storage role keeps for us.

use serde::{Deserialize, Serialize};
use stowage_engine::{Error, UsageCursor};
use time::OffsetDateTime;

use crate::count::Part;

const VERSION: u32 = 1;

/// A sweep counts every bucket; then none is made until the next is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Version of this text; named so that no other engine takes it for its own.
    aws: u32,
    /// The bucket behind which the sweep goes on; `None`: no sweep is under way.
    pub(crate) after: Option<String>,
    /// The bucket that is being counted, and how far.
    part: Option<(String, Part)>,
    /// When the last sweep was begun, in seconds since 1970; 0: none was.
    began: i64,
}

impl Place {
    pub(crate) fn of(cursor: &UsageCursor) -> Result<Self, Error> {
        if cursor.as_str().is_empty() {
            return Ok(Self { aws: VERSION, after: None, part: None, began: 0 });
        }
        match serde_json::from_str(cursor.as_str()) {
            Ok(place @ Self { aws: VERSION, .. }) => Ok(place),
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
            self.part = None;
            self.began = now.unix_timestamp();
        }
    }

    /// Whether a bucket is one that the sweep has yet to see.
    pub(crate) fn is_behind(&self, bucket: &str) -> bool {
        self.after.as_ref().is_some_and(|after| bucket > after.as_str())
    }

    /// How far a bucket is counted.
    pub(crate) fn part_of(&mut self, bucket: &str) -> Part {
        let part = self.part.take().filter(|(name, _)| name == bucket);
        part.map_or_else(Part::default, |(_, part)| part)
    }

    /// A bucket is counted to its end, or none to be counted.
    pub(crate) fn pass(&mut self, bucket: &str) {
        self.after = Some(bucket.to_owned());
    }

    /// The next batch goes on within a bucket.
    pub(crate) fn stop_at(&mut self, bucket: &str, part: Part) {
        self.part = Some((bucket.to_owned(), part));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::count::Amount;

    #[test]
    fn a_sweep_goes_on_within_a_bucket_and_begins_when_it_is_due() {
        let (start, every) = (datetime!(2026-11-25 12:00 UTC), Duration::from_secs(3600));
        let mut place = Place::of(&UsageCursor::default()).unwrap();
        place.wake(start, every);
        assert!(place.is_behind("a"));
        place.pass("a");
        let part = Part { amount: Amount { objects: 7, bytes: 9 }, after: Some("k".to_owned()) };
        place.stop_at("b", part.clone());
        let mut place = Place::of(&place.cursor().unwrap()).unwrap();
        place.wake(start + Duration::from_secs(9000), every);
        assert!(!place.is_behind("a") && place.is_behind("b"), "one that is under way goes on");
        assert_eq!(place.part_of("b"), part);
        assert_eq!(place.part_of("c"), Part::default());
        place.after = None;
        for (minutes, begins) in [(59, false), (60, true), (-60, true)] {
            place.after = None;
            place.wake(start + time::Duration::minutes(minutes), every);
            assert_eq!(place.after.is_some(), begins, "{minutes}");
        }
    }

    #[test]
    fn cursors_of_others_are_refused() {
        for text in ["x", "12", "{}", r#"{"aws":2,"after":null,"part":null,"began":0}"#] {
            let place = Place::of(&UsageCursor::from_text(text));
            assert!(matches!(place, Err(Error::Invalid { .. })), "{text}");
        }
    }
}
