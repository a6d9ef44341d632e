//! What is metered of many accounts, on the wire.

use stowage_proto::metering as pb;
use stowage_types::timestamp;
use time::OffsetDateTime;

use crate::domain::{MeteredHour, MeteredUsage};

pub(super) fn wire(usage: MeteredUsage) -> pb::MeteredUsage {
    let hour = |(hour, of): (OffsetDateTime, MeteredHour)| pb::MeteredHour {
        hour: Some(timestamp(hour)),
        received_bytes: of.moved.received_bytes,
        sent_bytes: of.moved.sent_bytes,
        read_requests: of.moved.read_requests,
        write_requests: of.moved.write_requests,
        sampled_buckets: of.sampled_buckets,
        sampled_bytes: of.sampled_bytes,
    };
    pb::MeteredUsage {
        received_bytes: usage.moved.received_bytes,
        sent_bytes: usage.moved.sent_bytes,
        read_requests: usage.moved.read_requests,
        write_requests: usage.moved.write_requests,
        hours: usage.hours.into_iter().map(hour).collect(),
        stored_bytes: usage.stored_bytes,
        sample_time: usage.sample_time.map(timestamp),
        as_of_time: usage.as_of.map(timestamp),
    }
}
