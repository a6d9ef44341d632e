//! Figures of many accounts, as engines, metering and billing have them.

use std::collections::BTreeMap;

use stowage_auth::RequestContext;
use stowage_proto::{billing, metering, storage};
use stowage_types::{S3uid, from_timestamp, name, timestamp};
use time::OffsetDateTime;
use tonic::Code;

use super::{CallError, Roles};
use crate::domain::drift_side::{
    Billed, BilledPart, Engine, EngineStored, Flows, Meter, MeterPart, Span,
};

/// Accounts, or windows, of one call.
const AT_ONCE: usize = 500;
/// Hours of one call, where they are told one by one.
const HOURS_AT_ONCE: i64 = 40_000;

/// What storage is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) with_hours: bool,
    pub(crate) with_stored: bool,
    /// Whether what waits at engines is collected first.
    pub(crate) collect_first: bool,
}

/// As many windows as a call takes.
fn at_once(windows: &[(S3uid, Span)], with_hours: bool) -> usize {
    let longest = windows.iter().map(|(_, span)| span.hours()).max().unwrap_or(0).max(1);
    let by_hours = usize::try_from(HOURS_AT_ONCE / longest).unwrap_or(AT_ONCE);
    if with_hours { by_hours.clamp(1, AT_ONCE) } else { AT_ONCE }
}

fn time_of(wire: Option<prost_types::Timestamp>) -> Option<OffsetDateTime> {
    from_timestamp(&wire?).ok()
}

/// An answer that cannot be understood: as good as none, and worth asking again.
fn garbled(what: &str) -> CallError {
    CallError {
        code: Code::Unavailable,
        reason: Default::default(),
        message: format!("{what} cannot be understood"),
        is_unclear: true,
    }
}

impl Roles {
    /// What engines report of each window, in their order.
    pub(crate) async fn engine_usage(
        &self,
        cx: &RequestContext,
        windows: &[(S3uid, Span)],
        ask: Ask,
    ) -> Result<Vec<Engine>, CallError> {
        let mut sides = Vec::with_capacity(windows.len());
        for part in windows.chunks(at_once(windows, ask.with_hours)) {
            let window = |(s3uid, span): &(S3uid, Span)| storage::EngineWindow {
                name: name::account(s3uid),
                from_time: Some(timestamp(span.from)),
                to_time: Some(timestamp(span.to)),
            };
            let message = storage::SumEngineUsageRequest {
                windows: part.iter().map(window).collect(),
                with_hours: ask.with_hours,
                with_stored: ask.with_stored,
                collect_first: ask.collect_first,
            };
            let answer = self.usage.clone().sum_engine_usage(cx.outgoing(message)).await?;
            let usages = answer.into_inner().usages;
            if usages.len() != part.len() {
                return Err(garbled("what storage says of engines"));
            }
            sides.extend(usages.into_iter().map(Engine::from));
        }
        Ok(sides)
    }

    /// What metering has of each window, in their order.
    pub(crate) async fn metered_usage(
        &self,
        cx: &RequestContext,
        windows: &[(S3uid, Span)],
    ) -> Result<Vec<Meter>, CallError> {
        let mut sides = Vec::with_capacity(windows.len());
        for part in windows.chunks(at_once(windows, true)) {
            let windows = part.iter().map(account_window).collect();
            let message = metering::SumMeteredUsageRequest { windows, with_hours: true };
            let answer = self.metered.clone().sum_metered_usage(cx.outgoing(message)).await?;
            let usages = answer.into_inner().usages;
            if usages.len() != part.len() {
                return Err(garbled("what metering has"));
            }
            sides.extend(usages.into_iter().map(Meter::from));
        }
        Ok(sides)
    }

    /// What metering has of parts of billed periods, in their order.
    pub(crate) async fn metered_parts(
        &self,
        cx: &RequestContext,
        windows: &[(S3uid, Span)],
    ) -> Result<Vec<MeterPart>, CallError> {
        let mut parts = Vec::with_capacity(windows.len());
        for part in windows.chunks(AT_ONCE) {
            let windows = part.iter().map(account_window).collect();
            let message = metering::SummarizeUsageRequest { windows };
            let answer = self.metered.clone().summarize_usage(cx.outgoing(message)).await?;
            let summaries = answer.into_inner().summaries;
            if summaries.len() != part.len() {
                return Err(garbled("what metering sums up"));
            }
            for summary in summaries {
                parts.push(part_of(summary).ok_or_else(|| garbled("what metering sums up"))?);
            }
        }
        Ok(parts)
    }

    /// What the last closed periods of accounts were billed by, by s3uid.
    pub(crate) async fn billed_usage(
        &self,
        cx: &RequestContext,
        s3uids: &[S3uid],
    ) -> Result<BTreeMap<String, Billed>, CallError> {
        let mut sides = BTreeMap::new();
        for part in s3uids.chunks(AT_ONCE) {
            let s3uids = part.iter().map(S3uid::to_string).collect();
            let message = billing::ListBilledUsageRequest { s3uids };
            let answer = self.invoices.clone().list_billed_usage(cx.outgoing(message)).await?;
            for usage in answer.into_inner().usages {
                let s3uid = usage.s3uid.clone();
                let billed = billed_of(usage).ok_or_else(|| garbled("what billing has"))?;
                sides.insert(s3uid, billed);
            }
        }
        Ok(sides)
    }
}

fn account_window((s3uid, span): &(S3uid, Span)) -> metering::AccountWindow {
    metering::AccountWindow {
        s3uid: s3uid.to_string(),
        from_time: Some(timestamp(span.from)),
        to_time: Some(timestamp(span.to)),
    }
}

impl From<storage::EngineUsage> for Engine {
    fn from(wire: storage::EngineUsage) -> Self {
        let hour = |hour: storage::EngineHour| {
            let moved = Flows {
                received_bytes: hour.received_bytes,
                sent_bytes: hour.sent_bytes,
                read_requests: hour.read_requests,
                write_requests: hour.write_requests,
                sampled_buckets: hour.sampled_buckets,
                sampled_bytes: hour.sampled_bytes,
            };
            Some((time_of(hour.hour)?, moved))
        };
        let stored = wire.stored.map(|stored| EngineStored {
            bytes: stored.stored_bytes,
            time: time_of(stored.time),
            is_told_late: stored.is_told_late,
        });
        Self {
            moved: Flows {
                received_bytes: wire.received_bytes,
                sent_bytes: wire.sent_bytes,
                read_requests: wire.read_requests,
                write_requests: wire.write_requests,
                ..Flows::default()
            },
            hours: wire.hours.into_iter().filter_map(hour).collect(),
            counted_from: time_of(wire.counted_from_time),
            sampled_from: time_of(wire.sampled_from_time),
            report_time: time_of(wire.report_time),
            stored: stored.ok_or(wire.stored_unknown),
            is_waiting: wire.is_waiting,
        }
    }
}

impl From<metering::MeteredUsage> for Meter {
    fn from(wire: metering::MeteredUsage) -> Self {
        let hour = |hour: metering::MeteredHour| {
            let moved = Flows {
                received_bytes: hour.received_bytes,
                sent_bytes: hour.sent_bytes,
                read_requests: hour.read_requests,
                write_requests: hour.write_requests,
                sampled_buckets: hour.sampled_buckets,
                sampled_bytes: hour.sampled_bytes,
            };
            Some((time_of(hour.hour)?, moved))
        };
        Self {
            hours: wire.hours.into_iter().filter_map(hour).collect(),
            stored_bytes: wire.stored_bytes,
            sample_time: time_of(wire.sample_time),
            as_of: time_of(wire.as_of_time),
        }
    }
}

fn part_of(wire: metering::UsageSummary) -> Option<MeterPart> {
    Some(MeterPart {
        moved_bytes: i128::from(wire.received_bytes) + i128::from(wire.sent_bytes),
        stored_bytes_peak: wire.stored_bytes_peak,
        byte_seconds: wire.stored_byte_seconds.parse().ok()?,
        as_of: time_of(wire.as_of_time),
    })
}

fn billed_of(wire: billing::BilledUsage) -> Option<Billed> {
    let part = |wire: billing::BilledSegment| {
        Some(BilledPart {
            span: Span { from: time_of(wire.from_time)?, to: time_of(wire.to_time)? },
            moved_bytes: i128::from(wire.received_bytes) + i128::from(wire.sent_bytes),
            stored_bytes_peak: wire.stored_bytes_peak,
            byte_seconds: wire.stored_byte_seconds.parse().ok()?,
        })
    };
    Some(Billed {
        bill_time: time_of(wire.bill_time),
        is_corrected_later: wire.is_corrected_later,
        parts: wire.segments.into_iter().map(part).collect::<Option<_>>()?,
    })
}
