//! An event as a message: CloudEvents 1.0, AMQP protocol binding, binary mode.
//!
//! The payload is the body, `datacontenttype` is the content type, every other attribute a header
//! whose name begins with `cloudEvents:`. The binding is written for AMQP 1.0, where those are
//! application properties; in AMQP 0-9-1 they are headers, and RabbitMQ turns one into the other.
//! Times are texts of RFC 3339, since timestamps of 0-9-1 have whole seconds only.
//!
//! Source: CloudEvents, "AMQP Protocol Binding for CloudEvents" 1.0.2, section 3.1.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::{BoxError, Event};

const CONTENT_TYPE: &str = "application/protobuf";
const SPEC_VERSION: &str = "1.0";
/// Longest reason of a dead letter: all headers of a message share one frame.
const REASON_CHARS_MAX: usize = 1000;
/// Delivery mode of a message that is written to disk.
const PERSISTENT: u8 = 2;

/// Properties of the message that carries `event`, whose body is `event.data`.
pub(super) fn properties(event: &Event) -> Result<BasicProperties, BoxError> {
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("cloudEvents:specversion", SPEC_VERSION),
        ("cloudEvents:id", &event.id.to_string()),
        ("cloudEvents:source", &event.source),
        ("cloudEvents:type", &event.kind),
        ("cloudEvents:subject", &event.subject),
        ("cloudEvents:time", &event.time.format(&Rfc3339)?),
    ] {
        headers.insert(name.into(), text(value));
    }
    Ok(BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(event.id.to_string().into())
        .with_headers(headers))
}

/// Properties of the dead letter of `event`: its own, and why it is one.
pub(super) fn dead_letter(
    event: &Event,
    consumer: &str,
    (reason, attempts): (&str, u32),
) -> Result<BasicProperties, BoxError> {
    let properties = properties(event)?;
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert("stowage:consumer".into(), text(consumer));
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    headers.insert("stowage:reason".into(), text(&reason));
    headers.insert("stowage:attempts".into(), AMQPValue::LongLongInt(attempts.into()));
    Ok(properties.with_headers(headers))
}

/// The event that a message carries.
///
/// # Errors
/// It carries none; what is missing or malformed.
pub(super) fn read(delivery: &Delivery) -> Result<Event, BoxError> {
    let headers = delivery.properties.headers().as_ref().ok_or("it has no headers")?;
    let version = header(headers, "cloudEvents:specversion")?;
    if version != SPEC_VERSION {
        return Err(format!("its CloudEvents version is {version:?}").into());
    }
    Ok(Event {
        id: Uuid::parse_str(header(headers, "cloudEvents:id")?)?,
        source: header(headers, "cloudEvents:source")?.to_owned(),
        kind: header(headers, "cloudEvents:type")?.to_owned(),
        subject: header(headers, "cloudEvents:subject")?.to_owned(),
        time: OffsetDateTime::parse(header(headers, "cloudEvents:time")?, &Rfc3339)?,
        data: delivery.data.clone(),
    })
}

fn header<'h>(headers: &'h FieldTable, name: &str) -> Result<&'h str, BoxError> {
    let value = headers.inner().get(name).and_then(AMQPValue::as_long_string);
    let value = value.ok_or_else(|| format!("it has no header {name}"))?;
    Ok(std::str::from_utf8(value.as_bytes())?)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
