//! Facts, and which of them are taken.

use stowage_types::{Malformed, S3uid};
use time::{Duration, OffsetDateTime};

use super::{Step, WHOLE_ACCOUNT};

/// How late a fact may come.
pub(crate) const LATE_MAX: Duration = Duration::days(35);
/// How far ahead of our clock another's may run.
pub(crate) const AHEAD_MAX: Duration = Duration::minutes(5);
/// Most bytes or requests of one fact: 9 PB. A thousand buckets of it still add up in 64 bits.
const FIGURE_MAX: i64 = 1 << 53;
/// Longest name of a bucket: engines have older ones than S3's rules allow today.
const BUCKET_CHARS_MAX: usize = 255;

/// What a bucket stored at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) bucket: String,
    pub(crate) time: OffsetDateTime,
    pub(crate) stored_bytes: i64,
    pub(crate) object_count: i64,
    pub(crate) is_deleted: bool,
}

impl Sample {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        if self.bucket == WHOLE_ACCOUNT {
            return Err(Malformed::new("names no bucket"));
        }
        check_bucket(&self.bucket)?;
        check_figures(0, [self.stored_bytes, self.object_count])
    }

    /// Whether this one is kept when another says something else of the same moment. Any rule
    /// does that does not depend on which came first.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        let rank = |s: &Self| (s.is_deleted, s.stored_bytes, s.object_count);
        rank(self) > rank(other)
    }
}

/// What moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) read_requests: i64,
    pub(crate) write_requests: i64,
}

impl Moved {
    /// The sum. Figures of facts are bounded, so only sums over hundreds could saturate.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            received_bytes: self.received_bytes.saturating_add(other.received_bytes),
            sent_bytes: self.sent_bytes.saturating_add(other.sent_bytes),
            read_requests: self.read_requests.saturating_add(other.read_requests),
            write_requests: self.write_requests.saturating_add(other.write_requests),
        }
    }
}

/// What moved into and out of a bucket, or with calls that name none, within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bucket: String,
    /// Within the hour.
    pub(crate) time: OffsetDateTime,
    pub(crate) moved: Moved,
}

impl Traffic {
    /// Negative figures are corrections of earlier facts, and taken.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let Moved { received_bytes, sent_bytes, read_requests, write_requests } = self.moved;
        check_bucket(&self.bucket)?;
        check_figures(-FIGURE_MAX, [received_bytes, sent_bytes, read_requests, write_requests])
    }
}

fn check_bucket(bucket: &str) -> Result<(), Malformed> {
    if bucket.chars().count() > BUCKET_CHARS_MAX {
        return Err(Malformed::new("names too long a bucket"));
    }
    Ok(())
}

fn check_figures<const N: usize>(min: i64, figures: [i64; N]) -> Result<(), Malformed> {
    if figures.iter().all(|figure| (min..=FIGURE_MAX).contains(figure)) {
        return Ok(());
    }
    Err(Malformed::new("has a figure that is out of range"))
}

/// Why a fact is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooOld,
    TooNew,
    Malformed,
}

impl Refusal {
    /// For metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Malformed => "malformed",
        }
    }
}

/// Facts of one account.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) s3uid: S3uid,
    pub(crate) samples: Vec<Sample>,
    pub(crate) traffic: Vec<Traffic>,
    /// Those that are not taken, with what is wrong.
    pub(crate) refused: Vec<(Refusal, String)>,
}

impl Facts {
    pub(crate) fn of(s3uid: S3uid) -> Self {
        Self { s3uid, samples: Vec::new(), traffic: Vec::new(), refused: Vec::new() }
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal, why: &str) {
        self.refused.push((refusal, why.to_owned()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.traffic.is_empty()
    }

    /// Refuses what lies outside of the window that is taken.
    pub(crate) fn within_window(mut self, now: OffsetDateTime) -> Self {
        let mut refused = std::mem::take(&mut self.refused);
        let mut check = |from: OffsetDateTime, to: OffsetDateTime| {
            let refusal = if to < now - LATE_MAX {
                Refusal::TooOld
            } else if from > now + AHEAD_MAX {
                Refusal::TooNew
            } else {
                return true;
            };
            refused.push((refusal, format!("is of {from}")));
            false
        };
        self.samples.retain(|sample| check(sample.time, sample.time));
        self.traffic.retain(|traffic| {
            let hour = Step::Hour.start_of(traffic.time);
            check(hour, hour + Step::Hour.length())
        });
        self.refused = refused;
        self
    }

    /// When the newest of them was true. What moved was known when the event was made, at the
    /// latest at the end of its hour.
    pub(crate) fn newest(&self, event_time: OffsetDateTime) -> Option<OffsetDateTime> {
        let traffic = self.traffic.iter().map(|traffic| traffic.as_of(event_time));
        self.samples.iter().map(|sample| sample.time).chain(traffic).max()
    }
}

impl Traffic {
    /// When this was true, in an event of that time.
    pub(crate) fn as_of(&self, event_time: OffsetDateTime) -> OffsetDateTime {
        let hour = Step::Hour.start_of(self.time);
        event_time.clamp(hour, hour + Step::Hour.length())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn facts_outside_the_window_are_refused_and_their_neighbours_taken() {
        let now = datetime!(2026-11-23 15:44 UTC);
        let uid = S3uid::parse("0123456789abcdef0123456789abcdef").unwrap();
        let mut facts = Facts::of(uid);
        let second = Duration::SECOND;
        for time in [
            now - LATE_MAX - second,
            now - LATE_MAX,
            now,
            now + AHEAD_MAX,
            now + AHEAD_MAX + second,
        ] {
            let bucket = "photos".to_owned();
            let sample =
                Sample { bucket, time, stored_bytes: 1, object_count: 1, is_deleted: false };
            facts.samples.push(sample);
        }
        for time in [now - LATE_MAX - Duration::HOUR, now - LATE_MAX, now, now + Duration::HOUR] {
            facts.traffic.push(Traffic { bucket: String::new(), time, moved: Moved::default() });
        }
        let facts = facts.within_window(now);
        assert_eq!((facts.samples.len(), facts.traffic.len()), (3, 2));
        let refused: Vec<_> = facts.refused.iter().map(|(refusal, _)| *refusal).collect();
        use Refusal::{TooNew, TooOld};
        assert_eq!(refused, [TooOld, TooNew, TooOld, TooNew]);
    }

    #[test]
    fn figures_out_of_range_are_malformed() {
        let sample = |bucket: &str, stored_bytes| Sample {
            bucket: bucket.to_owned(),
            time: OffsetDateTime::UNIX_EPOCH,
            stored_bytes,
            object_count: 0,
            is_deleted: false,
        };
        for (sample, good) in [
            (sample("photos", 0), true),
            (sample("photos", FIGURE_MAX), true),
            (sample("photos", FIGURE_MAX + 1), false),
            (sample("photos", -1), false),
            (sample("", 1), false),
            (sample(&"x".repeat(256), 1), false),
        ] {
            assert_eq!(sample.check().is_ok(), good, "{sample:?}");
        }
    }
}
