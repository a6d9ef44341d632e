//! What engine, meter and bill say of an account, each by itself.

use std::collections::BTreeMap;

use time::OffsetDateTime;

/// From–to, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
}

impl Span {
    pub(crate) fn hours(self) -> i64 {
        (self.to - self.from).whole_hours()
    }

    /// What of it is not before a moment; `None`: nothing.
    pub(crate) fn since(self, from: OffsetDateTime) -> Option<Self> {
        let span = Self { from: self.from.max(from), to: self.to };
        (span.from < span.to).then_some(span)
    }
}

/// What is counted by the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flows {
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) read_requests: i64,
    pub(crate) write_requests: i64,
    /// Buckets sampled in the hour, and what they stored by the last sample of each.
    pub(crate) sampled_buckets: i64,
    pub(crate) sampled_bytes: i64,
}

/// What was counted, by the hour.
pub(crate) type Hours = BTreeMap<OffsetDateTime, Flows>;

/// What an engine says it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineStored {
    pub(crate) bytes: i64,
    pub(crate) time: Option<OffsetDateTime>,
    /// Whether it tells changes minutes later only.
    pub(crate) is_told_late: bool,
}

/// What engines and fronts report of an account.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    /// In the window.
    pub(crate) moved: Flows,
    /// The same by the hour, where it was asked for.
    pub(crate) hours: Hours,
    /// `None`: nobody counts where it is.
    pub(crate) counted_from: Option<OffsetDateTime>,
    /// From when on it is known what samples were sent; `None`: none was yet.
    pub(crate) sampled_from: Option<OffsetDateTime>,
    pub(crate) report_time: Option<OffsetDateTime>,
    /// Or why it is not known; nothing, where it was not asked for.
    pub(crate) stored: Result<EngineStored, String>,
    pub(crate) is_waiting: bool,
}

/// What metering has of an account.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) hours: Hours,
    pub(crate) stored_bytes: i64,
    pub(crate) sample_time: Option<OffsetDateTime>,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// What metering has of a part of a billed period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeterPart {
    pub(crate) moved_bytes: i128,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) byte_seconds: i128,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// What a part of a period was billed by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BilledPart {
    pub(crate) span: Span,
    pub(crate) moved_bytes: i128,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) byte_seconds: i128,
}

/// What the last closed period of an account was billed by.
#[derive(Debug, Clone)]
pub(crate) struct Billed {
    pub(crate) bill_time: Option<OffsetDateTime>,
    pub(crate) is_corrected_later: bool,
    /// In the order of their times.
    pub(crate) parts: Vec<BilledPart>,
}

impl Billed {
    /// All of its parts; `None`: it was never rated.
    pub(crate) fn span(&self) -> Option<Span> {
        Some(Span { from: self.parts.first()?.span.from, to: self.parts.last()?.span.to })
    }
}

/// The last closed period of an account, as all three have it.
#[derive(Debug, Clone)]
pub(crate) struct Period {
    pub(crate) span: Span,
    pub(crate) billed: Billed,
    /// One for each part.
    pub(crate) meter: Vec<MeterPart>,
    pub(crate) engine: Option<Engine>,
}

/// An account, looked at once.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) engine: Engine,
    pub(crate) meter: Meter,
    pub(crate) period: Option<Period>,
}
