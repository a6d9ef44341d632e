//! The envelope.

use stowage_trace::Trace;
use time::OffsetDateTime;
use uuid::Uuid;

/// One event, in the terms of CloudEvents 1.0. `source` and `id` together are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// UUIDv7, made when the event was pushed.
    pub id: Uuid,
    /// Role that made it: `stowage/storage`.
    pub source: String,
    /// What happened, CloudEvents' `type`: `stowage.storage.usage.collected.v1`.
    pub kind: String,
    /// What it happened to: `accounts/2f6c…`. Events of one subject keep their order.
    pub subject: String,
    /// When it became true.
    pub time: OffsetDateTime,
    /// The payload, an encoded protobuf message.
    pub data: Vec<u8>,
    /// What it is part of: CloudEvents' extension for distributed tracing.
    pub trace: Trace,
}

impl Event {
    /// Decodes the payload.
    ///
    /// # Errors
    /// The payload is not such a message. Returned from a handler as it is, it counts as
    /// [`Refused`](crate::Refused): bytes do not mend themselves.
    pub fn message<M: prost::Message + Default>(&self) -> Result<M, prost::DecodeError> {
        M::decode(self.data.as_slice())
    }
}
