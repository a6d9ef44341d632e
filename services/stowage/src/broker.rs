//! What carries events: the process itself, or a broker.

use std::sync::Arc;

use stowage_bus::{AmqpOptions, Bus};
use stowage_runtime::ReadyCheck;
use stowage_types::SystemRandom;

use crate::config::{Amqp, Faults};
use crate::error::StartError;

/// The bus that is configured; else one within this process.
pub(crate) fn open(config: &Amqp) -> Result<Bus, StartError> {
    let Some(url) = config.full_url()? else { return Ok(Bus::in_process()) };
    let bus = Bus::amqp(&url, AmqpOptions::new(Arc::new(SystemRandom)));
    bus.map_err(|error| StartError::Config(Faults::from(vec![format!("amqp.url: {error}")])))
}

/// Whether the bus is connected.
pub(crate) fn ready(bus: &Bus) -> ReadyCheck {
    let bus = bus.clone();
    Arc::new(move || {
        let checked = bus.check().map_err(|error| error.to_string());
        Box::pin(async move { checked })
    })
}
