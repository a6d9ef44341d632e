//! Events that this role sends.

use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_types::{Span, timestamp};

use crate::domain::{Alert, Batch, Fact, LimitKind, Limits, Used};

/// Type of [`pb::UsageCorrected`].
pub(crate) const USAGE_CORRECTED: &str = "stowage.metering.usage.corrected.v1";
/// Type of [`pb::AlertRaised`].
pub(crate) const ALERT_RAISED: &str = "stowage.metering.alert.raised.v1";
/// Type of [`pb::CapChanged`].
pub(crate) const CAP_CHANGED: &str = "stowage.metering.cap.changed.v1";

/// Name of this role as a source of events.
pub(crate) const SOURCE: &str = "stowage/metering";

/// Tells that an administrator booked facts whatever their time.
pub(crate) fn usage_corrected<'a>(
    cx: &RequestContext,
    (batch, reason): (&Batch, &str),
    facts: impl Iterator<Item = &'a Fact> + Clone,
    stored: usize,
) -> pb::UsageCorrected {
    let mut accounts: Vec<&str> = facts.clone().map(|fact| fact.s3uid.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let times = facts.map(|fact| fact.time);
    pb::UsageCorrected {
        source: batch.source.clone(),
        reason: reason.to_owned(),
        actor: cx.actor(),
        request_id: cx.request_id.clone(),
        fact_count: i64::try_from(stored).unwrap_or(i64::MAX),
        account_count: i64::try_from(accounts.len()).unwrap_or(i64::MAX),
        s3uid: if accounts.len() == 1 { accounts[0].to_owned() } else { String::new() },
        from_time: times.clone().min().map(timestamp),
        to_time: times.max().map(timestamp),
    }
}

impl From<LimitKind> for pb::LimitKind {
    fn from(kind: LimitKind) -> Self {
        match kind {
            LimitKind::Quota => Self::Quota,
            LimitKind::IncludedStorage => Self::IncludedStorage,
            LimitKind::IncludedTraffic => Self::IncludedTraffic,
            LimitKind::StorageCap => Self::StorageCap,
            LimitKind::TrafficCap => Self::TrafficCap,
        }
    }
}

/// Tells that an account has come to a share of a limit.
pub(crate) fn alert_raised(alert: &Alert) -> pb::AlertRaised {
    pb::AlertRaised {
        s3uid: alert.s3uid.to_string(),
        customer_id: alert.customer.0,
        kind: pb::LimitKind::from(alert.kind).into(),
        percent: i32::try_from(alert.percent).unwrap_or(i32::MAX),
        limit_bytes: alert.limit_bytes,
        used_bytes: alert.used_bytes,
        period_start_time: Some(timestamp(alert.period.start)),
        period_end_time: Some(timestamp(alert.period.end)),
    }
}

/// Tells which cap an account has come to; `None`: it is below all of them.
pub(crate) fn cap_changed(
    limits: &Limits,
    (sequence, reached): (i64, Option<(LimitKind, i64)>),
    used: Used,
    period: Option<Span>,
) -> pb::CapChanged {
    let cap = reached.map_or(pb::LimitKind::Unspecified, |(kind, _)| kind.into());
    pb::CapChanged {
        s3uid: limits.s3uid.to_string(),
        customer_id: limits.customer.0,
        sequence,
        cap: cap.into(),
        limit_bytes: reached.map_or(0, |(_, bytes)| bytes),
        used_bytes: reached.map_or(0, |(kind, _)| used.of(kind)),
        period_end_time: period.map(|span| timestamp(span.end)),
    }
}
