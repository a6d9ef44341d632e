//! What metering says of caps: an account that has come to one can only be read.

use async_trait::async_trait;
use stowage_auth::RequestContext;
use stowage_bus::{BoxError, Event, Handler, Refused, first_time};
use stowage_proto::metering::{CapChanged, LimitKind};
use stowage_types::S3uid;

use crate::domain::Domain;
use crate::domain::cap::{Cap, CapWord, Capped};
use crate::error::Error;

/// Type of [`CapChanged`].
pub(crate) const CAP_CHANGED: &str = "stowage.metering.cap.changed.v1";
/// Names the consumer in the inbox.
pub(crate) const CAPS_CONSUMER: &str = "accounts.caps";

/// Takes the event.
pub(crate) struct Caps(pub(crate) Domain);

#[async_trait]
impl Handler for Caps {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let shared = &self.0.shared;
        let word = read(&event.message()?)?;
        let cx = RequestContext::background(format!("cap-{}", event.id));
        // Words are numbered: one that comes again changes nothing.
        match self.0.take_cap(&cx, &word).await {
            // One account that somebody must look at does not hold up what is said of the others.
            Err(error @ (Error::AccountBusy | Error::ChangeFailed { .. })) => {
                return Err(Box::new(Refused { why: error.to_string() }));
            }
            taken => taken?,
        }
        let mut tx = shared.db.begin().await?;
        first_time(&mut tx, CAPS_CONSUMER, event, &*shared.clock).await?;
        Ok(tx.commit().await?)
    }
}

fn read(wire: &CapChanged) -> Result<CapWord, Refused> {
    let refused = |why: &str| Refused { why: why.to_owned() };
    let s3uid = S3uid::parse(&wire.s3uid).map_err(|_| refused("it names no account"))?;
    let cap = match LimitKind::try_from(wire.cap) {
        Ok(LimitKind::Unspecified) => None,
        Ok(LimitKind::StorageCap) => Some(Cap::Storage),
        Ok(LimitKind::TrafficCap) => Some(Cap::Traffic),
        _ => return Err(refused("it names a cap that is not known here")),
    };
    let capped = Capped { cap, sequence: wire.sequence };
    let (limit_bytes, used_bytes) = (wire.limit_bytes, wire.used_bytes);
    Ok(CapWord { s3uid, capped, limit_bytes, used_bytes })
}
