//! Events that this role sends.

use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_types::timestamp;

use crate::domain::{Batch, Fact};

/// Type of [`pb::UsageCorrected`].
pub(crate) const USAGE_CORRECTED: &str = "stowage.metering.usage.corrected.v1";

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
