//! What is metered of many accounts, on the wire.

use stowage_proto::metering as pb;
use stowage_types::timestamp;
use time::OffsetDateTime;

use crate::domain::{MeteredUsage, Moved};

pub(super) fn wire(usage: MeteredUsage) -> pb::MeteredUsage {
    let hour = |(hour, moved): (OffsetDateTime, Moved)| pb::MeteredHour {
        hour: Some(timestamp(hour)),
        received_bytes: moved.received_bytes,
        sent_bytes: moved.sent_bytes,
        read_requests: moved.read_requests,
        write_requests: moved.write_requests,
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
