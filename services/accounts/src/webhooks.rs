//! Events that webhooks are told of: from the bus to JSON.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value as Field,
};
use serde_json::{Map, Value, json};
use stowage_bus::{BoxError, Event, Handler, Refused, first_time};
use stowage_types::from_timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::domain::Domain;
use crate::domain::webhook::Message;

/// Names the consumer in the inbox.
pub(crate) const WEBHOOKS_CONSUMER: &str = "accounts.webhooks";
/// Events, in the order in which the table of consumers has them, and the messages they carry.
const MESSAGES: [(&str, &str); 11] = [
    ("stowage.accounts.account.activated.v1", "stowage.accounts.v1.AccountActivated"),
    ("stowage.accounts.account.deleted.v1", "stowage.accounts.v1.AccountDeleted"),
    ("stowage.accounts.drift.found.v1", "stowage.accounts.v1.DriftFound"),
    ("stowage.billing.invoice.overdue.v1", "stowage.billing.v1.InvoiceOverdue"),
    ("stowage.billing.invoice.eased.v1", "stowage.billing.v1.InvoiceEased"),
    ("stowage.billing.invoice.settled.v1", "stowage.billing.v1.InvoiceSettled"),
    ("stowage.billing.payment.recorded.v1", "stowage.billing.v1.PaymentRecorded"),
    ("stowage.billing.standing.changed.v1", "stowage.billing.v1.StandingChanged"),
    ("stowage.billing.plan.changed.v1", "stowage.billing.v1.PlanChanged"),
    ("stowage.metering.alert.raised.v1", "stowage.metering.v1.AlertRaised"),
    ("stowage.metering.cap.changed.v1", "stowage.metering.v1.CapChanged"),
];
/// Their types.
pub(crate) const KINDS: &[&str] = &{
    let mut kinds = [""; MESSAGES.len()];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = MESSAGES[at].0;
        at += 1;
    }
    kinds
};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(stowage_proto::DESCRIPTORS).expect("the build has written it")
});

/// Types as settings name them: `billing.invoice.overdue`.
pub(crate) fn short_names() -> impl Iterator<Item = &'static str> {
    let short = |kind: &'static str| kind.strip_prefix("stowage.")?.strip_suffix(".v1");
    KINDS.iter().copied().filter_map(short)
}

/// Keeps events for the receivers that want them.
pub(crate) struct Webhooks(pub(crate) Domain);

#[async_trait]
impl Handler for Webhooks {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let shared = &self.0.shared;
        let head = (event.id, event.source.as_str(), event.kind.as_str(), event.subject.as_str());
        let message = Message {
            event_id: event.id,
            event_type: event.kind.clone(),
            subject: event.subject.clone(),
            body: envelope(head, event.time, data_of(event)?),
        };
        let mut tx = shared.db.begin().await?;
        if first_time(&mut tx, WEBHOOKS_CONSUMER, event, &*shared.clock).await? {
            self.0.webhooks.keep(&mut tx, &message).await?;
            tx.commit().await?;
            self.0.webhooks.wake();
        }
        Ok(())
    }
}

/// An event in the structured form. Source: CloudEvents 1.0, JSON event format.
pub(crate) fn envelope(
    (id, source, kind, subject): (Uuid, &str, &str, &str),
    time: OffsetDateTime,
    data: Value,
) -> String {
    let event = json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time.format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": data,
    });
    event.to_string()
}

/// What an event says, by the names of its contract. Numbers are numbers, and what is JSON in a
/// text is that JSON, under a name without `_json`.
fn data_of(event: &Event) -> Result<Value, BoxError> {
    let known = MESSAGES.iter().find(|(kind, _)| *kind == event.kind);
    let descriptor = known.and_then(|(_, name)| POOL.get_message_by_name(name));
    let unknown = || Refused { why: format!("events of type {} are not known here", event.kind) };
    let message = DynamicMessage::decode(descriptor.ok_or_else(unknown)?, event.data.as_slice())
        .map_err(|error| Refused { why: error.to_string() })?;
    let unpacked = |(name, value): (String, Value)| match name.strip_suffix("_json") {
        Some(inner) => {
            let text = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            (inner.to_owned(), text.unwrap_or(Value::Null))
        }
        None => (name, value),
    };
    Ok(Value::Object(fields_of(&message).into_iter().map(unpacked).collect()))
}

/// The fields of a message by their names, those that are not set with their defaults, but for
/// messages, which are null then.
fn fields_of(message: &DynamicMessage) -> Map<String, Value> {
    let field = |field: FieldDescriptor| {
        let is_absent = field.supports_presence() && !message.has_field(&field);
        let value = message.get_field(&field);
        let value = if is_absent { Value::Null } else { json_of(&value, &field.kind()) };
        (field.name().to_owned(), value)
    };
    message.descriptor().fields().map(field).collect()
}

/// A value of a contract: enumerations are names, moments are texts, bytes are hexadecimal.
fn json_of(value: &Field, kind: &Kind) -> Value {
    match value {
        Field::Bool(flag) => (*flag).into(),
        Field::I32(number) => (*number).into(),
        Field::I64(number) => (*number).into(),
        Field::U32(number) => (*number).into(),
        Field::U64(number) => (*number).into(),
        Field::String(text) => text.as_str().into(),
        Field::Bytes(bytes) => hex::encode(bytes).into(),
        Field::EnumNumber(number) => match kind {
            Kind::Enum(names) => names.get_value(*number).map(|value| value.name().into()),
            _ => None,
        }
        .unwrap_or_else(|| (*number).into()),
        Field::List(all) => all.iter().map(|one| json_of(one, kind)).collect(),
        Field::Message(inner) => match moment_of(inner) {
            Some(moment) => moment.format(&Rfc3339).unwrap_or_default().into(),
            None => Value::Object(fields_of(inner)),
        },
        // Contracts have no floats for money or bytes, and no maps in events.
        Field::F32(_) | Field::F64(_) | Field::Map(_) => Value::Null,
    }
}

fn moment_of(message: &DynamicMessage) -> Option<OffsetDateTime> {
    let wire = message.transcode_to::<prost_types::Timestamp>().ok();
    let is_moment = message.descriptor().full_name() == "google.protobuf.Timestamp";
    from_timestamp(&wire.filter(|_| is_moment)?).ok()
}

/// The domain, where events come to it.
pub(crate) fn handler(domain: &Domain) -> Arc<dyn Handler> {
    Arc::new(Webhooks(domain.clone()))
}
