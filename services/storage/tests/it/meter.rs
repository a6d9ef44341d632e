//! What metering would be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stowage_bus::{Audience, Bus, Event, Handler, Subscription};
use stowage_proto::storage as pb;
use stowage_storage::USAGE_COLLECTED;
use stowage_types::S3uid;

/// Where a figure belongs: account, bucket, hour.
pub(crate) type Place = (String, String, i64);

/// Stands for metering: sums what it is told once per event.
#[derive(Default)]
pub(crate) struct Meter(Mutex<Told>);

#[derive(Default)]
struct Told {
    seen: BTreeSet<uuid::Uuid>,
    /// Received bytes, sent bytes, reads, writes.
    traffic: BTreeMap<Place, [i64; 4]>,
    samples: Vec<(String, pb::StorageSample)>,
}

impl Meter {
    pub(crate) fn traffic(&self) -> BTreeMap<Place, [i64; 4]> {
        self.0.lock().unwrap().traffic.clone()
    }

    pub(crate) fn events(&self) -> usize {
        self.0.lock().unwrap().seen.len()
    }

    /// The last sample of a bucket: bytes and objects.
    pub(crate) fn last(&self, uid: &S3uid, bucket: &str) -> Option<(i64, i64)> {
        let told = self.0.lock().unwrap();
        let of_bucket = |(of, sample): &&(String, pb::StorageSample)| {
            of == uid.as_str() && sample.bucket == bucket
        };
        let last = told.samples.iter().rev().find(of_bucket)?;
        Some((last.1.stored_bytes, last.1.object_count))
    }
}

#[async_trait]
impl Handler for Meter {
    async fn handle(&self, event: &Event) -> Result<(), stowage_bus::BoxError> {
        let message: pb::UsageCollected = event.message()?;
        assert_eq!(event.subject, format!("accounts/{}", message.s3uid));
        let mut told = self.0.lock().unwrap();
        if !told.seen.insert(event.id) {
            return Ok(());
        }
        for row in message.traffic {
            let place = (message.s3uid.clone(), row.bucket, row.hour.unwrap().seconds);
            let sums = told.traffic.entry(place).or_default();
            let moved = [row.received_bytes, row.sent_bytes, row.read_requests, row.write_requests];
            for (sum, moved) in sums.iter_mut().zip(moved) {
                *sum += moved;
            }
        }
        let uid = message.s3uid;
        told.samples.extend(message.samples.into_iter().map(|sample| (uid.clone(), sample)));
        Ok(())
    }
}

pub(crate) fn metered_bus() -> (Bus, Arc<Meter>) {
    let (bus, meter) = (Bus::in_process(), Arc::new(Meter::default()));
    let handler = Arc::<Meter>::clone(&meter);
    let (kinds, audience) = (&[USAGE_COLLECTED], Audience::OneReplica);
    bus.subscribe(Subscription { consumer: "metering", kinds, audience, handler });
    (bus, meter)
}
