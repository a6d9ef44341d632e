//! Events that this role sends.

use stowage_engine::StorageFigures;
use stowage_proto::storage as pb;
use stowage_types::{S3uid, timestamp};

use crate::domain::change::{Change, Told};
use crate::domain::usage::{Collected, Increment};

/// Type of [`pb::UsageCollected`].
pub const USAGE_COLLECTED: &str = "stowage.storage.usage.collected.v1";

/// Type of [`pb::ContentChanged`].
pub(crate) const CONTENT_CHANGED: &str = "stowage.storage.content.changed.v1";

/// Type of [`pb::LocationChanged`].
pub(crate) const LOCATION_CHANGED: &str = "stowage.storage.location.changed.v1";

/// Name of this role as a source of events.
pub(crate) const SOURCE: &str = "stowage/storage";

pub(crate) fn usage_collected(uid: &S3uid, collected: Collected) -> pb::UsageCollected {
    pb::UsageCollected {
        s3uid: uid.as_str().to_owned(),
        samples: collected.samples.into_iter().map(sample).collect(),
        traffic: collected.traffic.into_iter().map(traffic).collect(),
    }
}

pub(crate) fn content_changed(told: &Told, change: &Change<'_>) -> pb::ContentChanged {
    pb::ContentChanged {
        s3uid: change.uid.to_string(),
        event: change.what.text().to_owned(),
        actor: told.actor.clone(),
        bucket: change.bucket.as_str().to_owned(),
        key: change.key.to_owned(),
        request_id: told.request_id.clone(),
    }
}

fn sample(figures: StorageFigures) -> pb::StorageSample {
    pb::StorageSample {
        bucket: figures.bucket,
        stored_bytes: i64::try_from(figures.stored_bytes).unwrap_or(i64::MAX),
        object_count: i64::try_from(figures.object_count).unwrap_or(i64::MAX),
        sample_time: Some(timestamp(figures.sample_time)),
        deleted: figures.deleted,
    }
}

fn traffic(increment: Increment) -> pb::Traffic {
    pb::Traffic {
        bucket: increment.bucket,
        hour: Some(timestamp(increment.hour)),
        received_bytes: increment.moved.received_bytes,
        sent_bytes: increment.moved.sent_bytes,
        read_requests: increment.moved.read_requests,
        write_requests: increment.moved.write_requests,
        refused_requests: increment.moved.refused_requests,
        // No engine tells them apart.
        refused_bytes: 0,
    }
}
