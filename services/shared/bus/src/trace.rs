//! Spans of events, by the semantic conventions for messaging: one of the relay that sends, and one
//! of each consumer, which is part of it.

use stowage_trace::{About, KeyValue, Kind, Span};

use crate::Event;

/// An event is being sent: part of what made it.
pub(crate) fn sending(event: &Event) -> Span {
    Span::resumed(&event.trace, || about(Kind::Producer, "send", event))
}

/// A consumer handles an event: part of its sending.
pub(crate) fn processing(consumer: &'static str, event: &Event) -> Span {
    Span::resumed(&event.trace, || {
        let mut about = about(Kind::Consumer, "process", event);
        about.attributes.push(KeyValue::new("messaging.consumer.group.name", consumer));
        about
    })
}

fn about(kind: Kind, operation: &'static str, event: &Event) -> About {
    let attributes = [
        KeyValue::new("messaging.system", "stowage"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.destination.name", event.kind.clone()),
        KeyValue::new("messaging.message.id", event.id.to_string()),
    ];
    About::new(kind, format!("{operation} {}", event.kind), attributes)
}
