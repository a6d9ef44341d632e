//! Takes storage's usage events from the bus: proto to domain.

use async_trait::async_trait;
use stowage_bus::{BoxError, Event, Handler, Refused};
use stowage_proto::storage as pb;
use stowage_types::{Malformed, S3uid, from_timestamp};
use time::OffsetDateTime;

use crate::domain::{Facts, Metering, Moved, Refusal, Sample, Traffic};

/// Type of the event that carries usage facts.
pub const USAGE_COLLECTED: &str = "stowage.storage.usage.collected.v1";

pub(crate) struct Consumer(pub(crate) Metering);

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let message: pb::UsageCollected = event.message()?;
        let s3uid = S3uid::parse(&message.s3uid)
            .map_err(|bad| Refused { why: format!("s3uid {}", bad.why) })?;
        Ok(self.0.take(event, facts(s3uid, message)).await?)
    }
}

/// Reads the facts. One that is malformed is refused alone: its neighbours are still true.
fn facts(s3uid: S3uid, message: pb::UsageCollected) -> Facts {
    let mut facts = Facts::of(s3uid);
    for sample in message.samples {
        match read_sample(sample) {
            Ok(sample) => facts.samples.push(sample),
            Err(bad) => facts.refuse(Refusal::Malformed, &bad.why),
        }
    }
    for traffic in message.traffic {
        match read_traffic(traffic) {
            Ok(traffic) => facts.traffic.push(traffic),
            Err(bad) => facts.refuse(Refusal::Malformed, &bad.why),
        }
    }
    facts
}

fn read_sample(sample: pb::StorageSample) -> Result<Sample, Malformed> {
    let time = read_time(sample.sample_time.as_ref())?;
    let (stored_bytes, object_count) =
        if sample.deleted { (0, 0) } else { (sample.stored_bytes, sample.object_count) };
    let is_deleted = sample.deleted;
    let sample = Sample { bucket: sample.bucket, time, stored_bytes, object_count, is_deleted };
    sample.check()?;
    Ok(sample)
}

fn read_traffic(traffic: pb::Traffic) -> Result<Traffic, Malformed> {
    let moved = Moved {
        received_bytes: traffic.received_bytes,
        sent_bytes: traffic.sent_bytes,
        read_requests: traffic.read_requests,
        write_requests: traffic.write_requests,
    };
    let time = read_time(traffic.hour.as_ref())?;
    let traffic = Traffic { bucket: traffic.bucket, time, moved };
    traffic.check()?;
    Ok(traffic)
}

fn read_time(wire: Option<&prost_types::Timestamp>) -> Result<OffsetDateTime, Malformed> {
    from_timestamp(wire.ok_or_else(|| Malformed::new("has no time"))?)
}
