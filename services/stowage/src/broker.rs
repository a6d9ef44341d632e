//! What carries events: the process itself, or a broker.

use std::sync::Arc;

use stowage_bus::{AmqpOptions, Bus, InvalidUrl};
use stowage_runtime::{ReadyCheck, read_authorities};
use stowage_types::SystemRandom;

use crate::config::{Amqp, Faults};
use crate::error::StartError;

/// The bus that is configured; else one within this process.
pub(crate) fn open(config: &Amqp) -> Result<Bus, StartError> {
    let Some(url) = config.full_url()? else { return Ok(Bus::in_process()) };
    let mut options = AmqpOptions::new(Arc::new(SystemRandom));
    if let Some(namespace) = &config.namespace {
        options.namespace.clone_from(namespace);
    }
    if let Some(ca) = &config.ca {
        read_authorities(ca)?;
        options.ca = Some(ca.clone());
    }
    Bus::amqp(&url, options).map_err(|error| {
        let setting = match error {
            InvalidUrl::Url => "amqp.url",
            InvalidUrl::Namespace => "amqp.namespace",
        };
        StartError::Config(Faults::from(vec![format!("{setting}: {error}")]))
    })
}

/// Refuses a consumer whose queue nobody would declare: on a broker it would lose what is published
/// before it first runs. To be asked when all have subscribed, whatever carries the events, so that
/// it shows on the first start of a developer.
pub(crate) fn check(bus: &Bus) -> Result<(), StartError> {
    let undeclared = bus.undeclared();
    if undeclared.is_empty() {
        return Ok(());
    }
    let why = format!("{} is not in the table of consumers as it is", undeclared.join(", "));
    Err(StartError::Part { part: "the bus", source: why.into() })
}

/// Whether the bus is connected.
pub(crate) fn ready(bus: &Bus) -> ReadyCheck {
    let bus = bus.clone();
    Arc::new(move || {
        let checked = bus.check().map_err(|error| error.to_string());
        Box::pin(async move { checked })
    })
}

#[cfg(test)]
mod tests {
    use stowage_bus::{Audience, BoxError, CONSUMERS, Event, Handler, Subscription};

    use super::*;

    struct Deaf;

    #[tonic::async_trait]
    impl Handler for Deaf {
        async fn handle(&self, _: &Event) -> Result<(), BoxError> {
            Ok(())
        }
    }

    #[test]
    fn a_consumer_without_a_declared_queue_is_refused_by_name() {
        let known = CONSUMERS[0];
        let one = (Audience::OneReplica, Audience::EveryProcess);
        for (consumer, kinds, audience, is_good) in [
            (known.name, known.kinds, one.0, true),
            (known.name, &["stowage.test.other.v1"][..], one.0, false),
            ("somebody", known.kinds, one.0, false),
            ("somebody", known.kinds, one.1, true),
        ] {
            let bus = Bus::in_process();
            bus.subscribe(Subscription { consumer, kinds, audience, handler: Arc::new(Deaf) });
            let checked = check(&bus).map_err(|error| error.to_string());
            assert_eq!(checked.is_ok(), is_good, "{consumer} {kinds:?} {audience:?}");
            assert!(is_good || checked.unwrap_err().contains(consumer));
        }
    }
}
