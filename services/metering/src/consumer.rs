//! Takes storage's usage events from the bus: proto to domain.

use async_trait::async_trait;
use stowage_bus::{BoxError, Event, Handler, Refused};
use stowage_proto::storage as pb;
use stowage_types::{Malformed, S3uid, from_timestamp};
use time::OffsetDateTime;

use crate::domain::{Fact, Flow, Item, Metering, What};
use crate::error::Error;

/// Type of the event that carries usage facts.
pub const USAGE_COLLECTED: &str = "stowage.storage.usage.collected.v1";

pub(crate) struct Consumer(pub(crate) Metering);

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let message: pb::UsageCollected = event.message()?;
        let s3uid = S3uid::parse(&message.s3uid)
            .map_err(|bad| Refused { why: format!("s3uid {}", bad.why) })?;
        match self.0.take(event, &facts(event, &s3uid, &message)).await {
            // It will not be taken as it is.
            Err(Error::Invalid(bad)) => Err(Box::new(Refused { why: bad.to_string() })),
            taken => Ok(taken?),
        }
    }
}

/// Reads the facts. One that is malformed is refused alone: its neighbours are still true. Their
/// ids follow from their places in the event.
fn facts(event: &Event, s3uid: &S3uid, message: &pb::UsageCollected) -> Vec<Item> {
    let mut items = Vec::new();
    for (place, sample) in message.samples.iter().enumerate() {
        items.push(read_sample(sample).map(|(time, what)| Fact {
            id: format!("{}/s{place}", event.id),
            s3uid: s3uid.clone(),
            bucket: sample.bucket.clone(),
            time,
            what,
        }));
    }
    for (place, traffic) in message.traffic.iter().enumerate() {
        let time = match read_time(traffic.hour.as_ref()) {
            Ok(time) => time,
            Err(bad) => {
                items.push(Err(bad));
                continue;
            }
        };
        for (flow, value) in flows(traffic) {
            items.push(Ok(Fact {
                id: format!("{}/t{place}.{}", event.id, flow.name()),
                s3uid: s3uid.clone(),
                bucket: traffic.bucket.clone(),
                time,
                what: What::Moved(flow, value),
            }));
        }
    }
    items
}

/// What moved, without what did not.
fn flows(traffic: &pb::Traffic) -> impl Iterator<Item = (Flow, i64)> {
    let value = |flow| match flow {
        Flow::ReceivedBytes => traffic.received_bytes,
        Flow::SentBytes => traffic.sent_bytes,
        Flow::ReadRequests => traffic.read_requests,
        Flow::WriteRequests => traffic.write_requests,
        Flow::RefusedRequests => traffic.refused_requests,
        Flow::RefusedBytes => traffic.refused_bytes,
    };
    Flow::ALL.map(|flow| (flow, value(flow))).into_iter().filter(|(_, value)| *value != 0)
}

fn read_sample(sample: &pb::StorageSample) -> Result<(OffsetDateTime, What), Malformed> {
    let time = read_time(sample.sample_time.as_ref())?;
    let (bytes, objects) = (sample.stored_bytes, sample.object_count);
    Ok((time, if sample.deleted { What::Deleted } else { What::Stored { bytes, objects } }))
}

fn read_time(wire: Option<&prost_types::Timestamp>) -> Result<OffsetDateTime, Malformed> {
    let time = from_timestamp(wire.ok_or_else(|| Malformed::new("has no time"))?)?;
    // As exact as a database keeps it: what is read again is the same.
    Ok(time.truncate_to_microsecond())
}
