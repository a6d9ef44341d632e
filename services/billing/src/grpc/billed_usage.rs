//! Figures that were billed, on the wire.

use stowage_proto::billing as pb;
use stowage_types::{S3uid, Violations, timestamp};

use crate::domain::billed_usage::{BilledSegment, BilledUsage};

/// Accounts of one call.
const ACCOUNTS_MAX: usize = 500;

pub(super) fn read(wire: pb::ListBilledUsageRequest) -> Result<Vec<S3uid>, Violations> {
    if wire.s3uids.len() > ACCOUNTS_MAX {
        return Err(Violations::of("s3uids", format!("has more than {ACCOUNTS_MAX}")));
    }
    let mut violations = Violations::default();
    let read = |(index, text): (usize, &String)| {
        violations.check(&format!("s3uids[{index}]"), S3uid::parse(text))
    };
    let s3uids = wire.s3uids.iter().enumerate().filter_map(read).collect();
    violations.finish()?;
    Ok(s3uids)
}

impl From<BilledUsage> for pb::BilledUsage {
    fn from(usage: BilledUsage) -> Self {
        Self {
            s3uid: usage.s3uid,
            period_start_time: Some(timestamp(usage.period.start)),
            period_end_time: Some(timestamp(usage.period.end)),
            bill_time: Some(timestamp(usage.bill_time)),
            is_corrected_later: usage.is_corrected_later,
            segments: usage.segments.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<BilledSegment> for pb::BilledSegment {
    fn from(segment: BilledSegment) -> Self {
        Self {
            from_time: Some(timestamp(segment.span.start)),
            to_time: Some(timestamp(segment.span.end)),
            received_bytes: segment.received_bytes,
            sent_bytes: segment.sent_bytes,
            stored_bytes_peak: segment.stored_peak_bytes,
            stored_byte_seconds: segment.stored_byte_seconds,
        }
    }
}
