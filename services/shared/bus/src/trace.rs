//! Spans of events, by the semantic conventions for messaging: one of the sending, which is part of
//! what made the event, and one of each consumer, which is part of the sending.

use stowage_trace::{About, KeyValue, Kind, Span, Trace};

use crate::deliver::is_refusal;
use crate::{BoxError, Event, PublishError};

/// How spans call what succeeds later.
pub(crate) const UNAVAILABLE: &str = "UNAVAILABLE";
const REFUSED: &str = "REFUSED";

/// What carries an event, for the attributes of its spans.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// This process.
    Process,
    /// The exchange of a broker, by that name.
    Exchange(&'a str),
    /// A broker's exchange, and the queue that the event came from.
    Queue(&'a str, &'a str),
}

/// An event is being sent: part of what made it.
pub(crate) fn sending(event: &Event, by: By<'_>) -> Span {
    Span::resumed(&event.trace, || about(Kind::Producer, "send", event, by))
}

/// A consumer handles an event: part of its sending, which goes on around it or is named by it.
pub(crate) fn processing(consumer: &str, event: &Event, by: By<'_>) -> Span {
    let sent = || event.trace.clone();
    Span::incoming(sent, || {
        let mut about = about(Kind::Consumer, "process", event, by);
        about.attributes.push(KeyValue::new("messaging.consumer.group.name", consumer.to_owned()));
        about
    })
}

/// The place that a message names: of its sending, or else of what made the event.
pub(crate) fn place(span: &Span, event: &Event) -> Trace {
    if stowage_trace::is_on() { span.trace() } else { event.trace.clone() }
}

/// Says how a sending ended.
pub(crate) fn sent(span: &Span, error: &PublishError) {
    span.fail(match error {
        PublishError::Unavailable { .. } => UNAVAILABLE,
        PublishError::Refused(_) => REFUSED,
    });
}

/// Says how a consumer answered.
pub(crate) fn processed(span: &Span, error: &BoxError) {
    span.fail(if is_refusal(error) { REFUSED } else { UNAVAILABLE });
}

/// Source of a broker's part: OpenTelemetry semantic conventions, "RabbitMQ".
fn about(kind: Kind, operation: &'static str, event: &Event, by: By<'_>) -> About {
    let (system, destination) = match by {
        By::Process => ("stowage", event.kind.clone()),
        By::Exchange(exchange) => ("rabbitmq", format!("{exchange}:{}", event.kind)),
        By::Queue(exchange, queue) => ("rabbitmq", format!("{exchange}:{}:{queue}", event.kind)),
    };
    let name = format!("{operation} {destination}");
    let mut attributes = vec![
        KeyValue::new("messaging.system", system),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.destination.name", destination),
        KeyValue::new("messaging.message.id", event.id.to_string()),
    ];
    if !matches!(by, By::Process) {
        let key = KeyValue::new("messaging.rabbitmq.destination.routing_key", event.kind.clone());
        attributes.push(key);
    }
    About::new(kind, name, attributes)
}
