//! What is stored of a closed period.

use stowage_types::{PlanId, hour_of};
use time::OffsetDateTime;

use crate::domain::period::Span;
use crate::rating::{Segment, Snapshot, hours};

/// A move to another plan or version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanChange {
    pub(crate) from: (PlanId, i32),
    pub(crate) to: (PlanId, i32),
    pub(crate) time: OffsetDateTime,
}

/// The period behind a closed one, as it is charged in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextPeriod {
    pub(crate) plan: PlanId,
    pub(crate) version: i32,
    pub(crate) end: OffsetDateTime,
}

/// A period that is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedPeriod {
    pub(crate) number: i64,
    pub(crate) span: Span,
    pub(crate) next: Option<NextPeriod>,
    pub(crate) bill_key: String,
    pub(crate) is_sealed: bool,
}

impl ClosedPeriod {
    /// Whole hours of it.
    pub(crate) fn hours(&self) -> i128 {
        hours(hour_of(self.span.start), hour_of(self.span.end))
    }
}

/// What was used in a segment, as it was known when it was rated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrozenSegment {
    /// The period it is of.
    pub(crate) number: i64,
    /// Counts the segments of a period, from 0.
    pub(crate) index: i64,
    /// 0: as the period was closed; each correction makes one more.
    pub(crate) revision: i64,
    pub(crate) segment: Segment,
    pub(crate) snapshot: Snapshot,
    /// The bill it was rated for.
    pub(crate) bill_key: String,
}
