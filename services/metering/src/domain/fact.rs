//! Facts, and which of them are taken.

use sha2::{Digest as _, Sha256};
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
/// Longest id of a fact.
const ID_CHARS_MAX: usize = 128;
/// Bytes of a digest that are kept.
const DIGEST_BYTES: usize = 16;

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
    /// Not among those above.
    pub(crate) refused_requests: i64,
    /// Both ways; not among those above.
    pub(crate) refused_bytes: i64,
}

impl Moved {
    /// The sum, as far as 64 bits go.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for flow in Flow::ALL {
            let sum = other.of(flow).saturating_add(self.of(flow));
            *self.of_mut(flow) = sum;
        }
        self
    }

    /// Whether none of its figures is further from 0 than `max`.
    pub(crate) fn is_within(self, max: i64) -> bool {
        Flow::ALL.into_iter().all(|flow| (-max..=max).contains(&self.of(flow)))
    }

    pub(crate) fn of(mut self, flow: Flow) -> i64 {
        *self.of_mut(flow)
    }

    fn of_mut(&mut self, flow: Flow) -> &mut i64 {
        match flow {
            Flow::ReceivedBytes => &mut self.received_bytes,
            Flow::SentBytes => &mut self.sent_bytes,
            Flow::ReadRequests => &mut self.read_requests,
            Flow::WriteRequests => &mut self.write_requests,
            Flow::RefusedRequests => &mut self.refused_requests,
            Flow::RefusedBytes => &mut self.refused_bytes,
        }
    }

    fn one(flow: Flow, value: i64) -> Self {
        let mut moved = Self::default();
        *moved.of_mut(flow) = value;
        moved
    }
}

/// What can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    ReceivedBytes,
    SentBytes,
    ReadRequests,
    WriteRequests,
    RefusedRequests,
    RefusedBytes,
}

impl Flow {
    pub(crate) const ALL: [Self; 6] = [
        Self::ReceivedBytes,
        Self::SentBytes,
        Self::ReadRequests,
        Self::WriteRequests,
        Self::RefusedRequests,
        Self::RefusedBytes,
    ];

    /// Its column in the rollups, and what facts of events are called by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReceivedBytes => "received_bytes",
            Self::SentBytes => "sent_bytes",
            Self::ReadRequests => "read_requests",
            Self::WriteRequests => "write_requests",
            Self::RefusedRequests => "refused_requests",
            Self::RefusedBytes => "refused_bytes",
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

/// What a fact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Stored { bytes: i64, objects: i64 },
    Deleted,
    Moved(Flow, i64),
}

/// A fact. With its source it is an event that happened once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) s3uid: S3uid,
    /// Empty for calls that name none.
    pub(crate) bucket: String,
    pub(crate) time: OffsetDateTime,
    pub(crate) what: What,
}

impl Fact {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        if self.id.is_empty() || self.id.chars().count() > ID_CHARS_MAX {
            return Err(Malformed::new("has no id of 1 to 128 characters"));
        }
        if self.bucket.chars().count() > BUCKET_CHARS_MAX {
            return Err(Malformed::new("names too long a bucket"));
        }
        if self.id.contains('\0') || self.bucket.contains('\0') {
            return Err(Malformed::new("has a text with a NUL"));
        }
        let is_sample = !matches!(self.what, What::Moved(..));
        if is_sample && self.bucket == WHOLE_ACCOUNT {
            return Err(Malformed::new("names no bucket"));
        }
        // Negative figures of what moved take back what was told too much.
        let is_in_range = match self.what {
            What::Stored { bytes, objects } => {
                [bytes, objects].iter().all(|figure| (0..=FIGURE_MAX).contains(figure))
            }
            What::Deleted => true,
            What::Moved(_, value) => (-FIGURE_MAX..=FIGURE_MAX).contains(&value),
        };
        if !is_in_range {
            return Err(Malformed::new("has a figure that is out of range"));
        }
        Ok(())
    }

    /// What tells whether another fact of the same id is the same fact.
    pub(crate) fn digest(&self) -> [u8; DIGEST_BYTES] {
        let (kind, value, objects) = self.code();
        let mut hash = Sha256::new();
        for text in [self.s3uid.as_str(), &self.bucket] {
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text);
        }
        // The database keeps microseconds.
        let micros = self.time.unix_timestamp_nanos().div_euclid(1000);
        hash.update(micros.to_be_bytes());
        for number in [kind, value, objects] {
            hash.update(number.to_be_bytes());
        }
        let whole: [u8; 32] = hash.finalize().into();
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&whole[..DIGEST_BYTES]);
        digest
    }

    /// Its kind as it is stored and told, its value, and its objects.
    pub(crate) fn code(&self) -> (i64, i64, i64) {
        match self.what {
            What::Stored { bytes, objects } => (1, bytes, objects),
            What::Deleted => (2, 0, 0),
            What::Moved(flow, value) => {
                let place = (3_i64..).zip(Flow::ALL).find(|(_, known)| *known == flow);
                (place.map_or(0, |(code, _)| code), value, 0)
            }
        }
    }

    /// The contrary of [`Self::code`].
    pub(crate) fn decode((kind, value, objects): (i64, i64, i64)) -> Option<What> {
        match kind {
            1 => Some(What::Stored { bytes: value, objects }),
            2 => Some(What::Deleted),
            _ => {
                let place = usize::try_from(kind).ok()?.checked_sub(3)?;
                Flow::ALL.get(place).map(|flow| What::Moved(*flow, value))
            }
        }
    }

    /// Why it is not taken now, if it is not.
    pub(crate) fn refusal(&self, now: OffsetDateTime, is_correction: bool) -> Option<Refused> {
        let (from, to) = match self.what {
            What::Moved(..) => {
                let hour = Step::Hour.start_of(self.time);
                (hour, hour + Step::Hour.length())
            }
            _ => (self.time, self.time),
        };
        let is_moved = matches!(self.what, What::Moved(..));
        if from > now + AHEAD_MAX {
            return Some(Refused::new(Refusal::TooNew, format!("is of {from}")));
        }
        if to >= now - LATE_MAX || (is_correction && is_moved) {
            return None;
        }
        let why = match is_correction {
            true => "is of what was stored too long ago: the samples beside it are gone".to_owned(),
            false => format!("is of {from}"),
        };
        Some(Refused::new(Refusal::TooOld, why))
    }

    /// When this was true. What moved was known when it was told, at the latest at the end of its
    /// hour.
    pub(crate) fn as_of(&self, told: OffsetDateTime) -> OffsetDateTime {
        match self.what {
            What::Moved(..) => {
                let hour = Step::Hour.start_of(self.time);
                told.clamp(hour, hour + Step::Hour.length())
            }
            _ => self.time,
        }
    }

    /// What it says of what is stored.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let (stored_bytes, object_count, is_deleted) = match self.what {
            What::Stored { bytes, objects } => (bytes, objects, false),
            What::Deleted => (0, 0, true),
            What::Moved(..) => return None,
        };
        let (bucket, time) = (self.bucket.clone(), self.time);
        Some(Sample { bucket, time, stored_bytes, object_count, is_deleted })
    }

    /// What it says of what moved.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        let What::Moved(flow, value) = self.what else { return None };
        let moved = Moved::one(flow, value);
        Some(Traffic { bucket: self.bucket.clone(), time: self.time, moved })
    }
}

/// Why a fact is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooOld,
    TooNew,
    Malformed,
    /// Its id is that of another fact.
    Conflict,
}

impl Refusal {
    /// For metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Malformed => "malformed",
            Self::Conflict => "conflict",
        }
    }
}

/// That a fact is not taken, and why, in words that follow on "it".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) why: String,
}

impl Refused {
    pub(crate) fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self { refusal, why: why.into() }
    }

    pub(crate) fn conflict() -> Self {
        Self::new(Refusal::Conflict, "id used for another payload")
    }
}

impl From<Malformed> for Refused {
    fn from(bad: Malformed) -> Self {
        Self::new(Refusal::Malformed, bad.why)
    }
}

/// What became of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    Duplicate,
    Refused(Refused),
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn fact(bucket: &str, time: OffsetDateTime, what: What) -> Fact {
        let s3uid = S3uid::parse("0123456789abcdef0123456789abcdef").unwrap();
        Fact { id: "1".to_owned(), s3uid, bucket: bucket.to_owned(), time, what }
    }

    const ONE: What = What::Stored { bytes: 1, objects: 1 };

    #[test]
    fn facts_outside_the_window_are_refused() {
        let now = datetime!(2026-11-23 15:44 UTC);
        let second = Duration::SECOND;
        let moved = What::Moved(Flow::SentBytes, 1);
        use Refusal::{TooNew, TooOld};
        for (what, time, expected, corrected) in [
            (ONE, now - LATE_MAX - second, Some(TooOld), Some(TooOld)),
            (ONE, now - LATE_MAX, None, None),
            (ONE, now, None, None),
            (ONE, now + AHEAD_MAX, None, None),
            (ONE, now + AHEAD_MAX + second, Some(TooNew), Some(TooNew)),
            (moved, now - LATE_MAX - Duration::HOUR, Some(TooOld), None),
            (moved, now - LATE_MAX, None, None),
            (moved, now, None, None),
            (moved, now + Duration::HOUR, Some(TooNew), Some(TooNew)),
        ] {
            let fact = fact("photos", time, what);
            let of = |is_correction| fact.refusal(now, is_correction).map(|r| r.refusal);
            assert_eq!((of(false), of(true)), (expected, corrected), "{fact:?}");
        }
    }

    #[test]
    fn figures_out_of_range_are_malformed() {
        let stored = |bytes| What::Stored { bytes, objects: 0 };
        let moved = |value| What::Moved(Flow::SentBytes, value);
        let long = "x".repeat(256);
        for (bucket, what, good) in [
            ("photos", stored(0), true),
            ("photos", stored(FIGURE_MAX), true),
            ("photos", stored(FIGURE_MAX + 1), false),
            ("photos", stored(-1), false),
            ("", stored(1), false),
            ("", What::Deleted, false),
            (long.as_str(), stored(1), false),
            ("pho\0tos", stored(1), false),
            ("", moved(-FIGURE_MAX), true),
            ("", moved(-FIGURE_MAX - 1), false),
        ] {
            let fact = fact(bucket, OffsetDateTime::UNIX_EPOCH, what);
            assert_eq!(fact.check().is_ok(), good, "{fact:?}");
        }
        let long = Fact { id: "x".repeat(129), ..fact("a", OffsetDateTime::UNIX_EPOCH, ONE) };
        assert!(long.check().is_err());
    }

    #[test]
    fn what_a_fact_says_is_stored_as_numbers_and_told_apart_by_its_digest() {
        let now = datetime!(2026-11-23 15:44 UTC);
        let flows = Flow::ALL.map(|flow| What::Moved(flow, -7));
        let whats = [ONE, What::Stored { bytes: 1, objects: 2 }, What::Deleted];
        let mut facts: Vec<Fact> =
            whats.into_iter().chain(flows).map(|what| fact("a", now, what)).collect();
        facts.push(fact("b", now, ONE));
        facts.push(fact("a", now + Duration::MICROSECOND, ONE));
        for (place, fact) in facts.iter().enumerate() {
            assert_eq!(Fact::decode(fact.code()), Some(fact.what));
            let same = facts.iter().position(|other| other.digest() == fact.digest());
            assert_eq!(same, Some(place), "{fact:?}");
        }
        assert_eq!(Fact::decode((0, 1, 1)), None);
        assert_eq!(Fact::decode((9, 1, 1)), None);
    }
}
