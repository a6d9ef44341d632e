//! Figures for metering: absolute, in the order in which they changed.

use serde::{Deserialize, Serialize};
use stowage_types::S3uid;
use time::OffsetDateTime;

/// How far usage has been read. Opaque text of the engine; empty: from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UsageCursor(String);

impl UsageCursor {
    /// Takes text that `as_str` gave.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Text to keep.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a bucket stores at this moment.
///
/// A name deleted and made again gives two rows in the order of events; the later holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFigures {
    /// Account that owns, or owned, the bucket.
    pub uid: S3uid,
    /// Name of the bucket.
    pub bucket: String,
    /// Bytes of its objects.
    pub stored_bytes: u64,
    /// Its objects.
    pub object_count: u64,
    /// When this was so.
    pub sample_time: OffsetDateTime,
    /// The bucket is gone and both figures are zero.
    pub deleted: bool,
}

/// What has moved so far within one hour. Totals, which grow while the hour lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Account that is charged.
    pub uid: S3uid,
    /// Name of the bucket; empty for calls that name none.
    pub bucket: String,
    /// Start of the hour, UTC.
    pub hour: OffsetDateTime,
    /// Bytes of request bodies.
    pub received_bytes: u64,
    /// Bytes of answer bodies.
    pub sent_bytes: u64,
    /// Calls that read.
    pub read_requests: u64,
    /// Calls that write.
    pub write_requests: u64,
    /// Calls that were refused, of whoever sent them; not among those above, and charged to
    /// nobody. 0 where an engine does not tell.
    pub refused_requests: u64,
}

/// What changed since a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageBatch {
    /// Buckets whose figures changed, in the order of their last change.
    pub storage: Vec<StorageFigures>,
    /// Hours whose totals changed. At most one row per (account, bucket, hour).
    pub traffic: Vec<TrafficTotals>,
    /// Where the next read goes on.
    pub next: UsageCursor,
    /// More is waiting behind `next`.
    pub more: bool,
}
