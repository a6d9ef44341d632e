//! Takes what billing tells of limits from the bus: proto to domain.

use async_trait::async_trait;
use stowage_bus::{BoxError, Event, Handler, Refused};
use stowage_proto::billing as pb;
use stowage_types::{CustomerId, S3uid, from_timestamp};

use crate::domain::{Limits, Metering};

/// Type of the event that tells what an account may use.
pub(crate) const LIMITS_CHANGED: &str = "stowage.billing.limits.changed.v1";

pub(crate) struct LimitsConsumer(pub(crate) Metering);

#[async_trait]
impl Handler for LimitsConsumer {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        Ok(self.0.take_limits(event, &read(&event.message()?)?).await?)
    }
}

fn read(wire: &pb::LimitsChanged) -> Result<Limits, Refused> {
    let refused = |why: String| Refused { why };
    let s3uid = S3uid::parse(&wire.s3uid).map_err(|bad| refused(format!("s3uid {}", bad.why)))?;
    let all = [
        wire.quota_bytes,
        wire.included_storage_bytes,
        wire.included_traffic_bytes,
        wire.storage_cap_bytes,
        wire.traffic_cap_bytes,
    ];
    if all.iter().any(|bytes| *bytes < 0) {
        return Err(refused("a limit is negative".to_owned()));
    }
    if wire.period_months < 1 {
        return Err(refused("its period has no length".to_owned()));
    }
    let anchor = wire.anchor_time.as_ref().map(from_timestamp).transpose();
    let anchor = anchor.map_err(|bad| refused(format!("anchor_time {}", bad.why)))?;
    Ok(Limits {
        s3uid,
        customer: CustomerId(wire.customer_id),
        sequence: wire.sequence,
        quota_bytes: wire.quota_bytes,
        included_storage_bytes: wire.included_storage_bytes,
        included_traffic_bytes: wire.included_traffic_bytes,
        storage_cap_bytes: wire.storage_cap_bytes,
        traffic_cap_bytes: wire.traffic_cap_bytes,
        anchor_time: anchor.filter(|_| !wire.ended),
        period_months: wire.period_months.into(),
    })
}
