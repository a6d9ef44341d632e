//! Events between roles: written in the transaction that makes them true, delivered at least once,
//! taking effect exactly once.
//!
//! - A role pushes an event with [`Outbox::push`] in the transaction of its cause. What is not
//!   committed was never sent; what is committed cannot be lost.
//! - The [`relay`] task reads the outbox in order, hands each event to the [`Bus`] and deletes it
//!   once every consumer has acknowledged, or the broker has stored it. A crash in between sends
//!   it again. Of several replicas one relays, by a lease.
//! - A consumer calls [`first_time`] in the transaction of its effect and does nothing when it
//!   answers `false`. Both together make the effect happen once.
//!
//! - An event that a consumer refuses for good is kept by its role ([`DeadLetters`]), for an
//!   operator to hand over again; those behind it go on.
//!
//! The bus is this process or RabbitMQ (module `amqp`); roles do not know which. Events of one
//! subject keep their order on both.
//!
//! Subscriptions are made while roles are built, and relays run only after all roles are built: an
//! event that nobody subscribes to counts as delivered. On a broker, consumers are in other
//! processes: the table [`CONSUMERS`] says who they are.
//!
//! Rejected: delivering straight from the caller without the outbox (a crash after the commit
//! loses the event), and one task per consumer with a cursor of its own (a second place to keep
//! positions; the broker does that where a role needs it).

mod amqp;
mod bus;
mod dead_letter;
mod deliver;
mod event;
pub mod inbox;
mod outbox;
mod relay;
#[cfg(test)]
mod tests;
mod topology;
mod trace;

pub use amqp::{AmqpOptions, InvalidUrl};
pub use bus::{
    Audience, Bus, Handler, NotConnected, PublishError, Published, Refusal, Refused, Subscription,
};
pub use dead_letter::{
    DEAD_LETTER_SCHEMA, DeadLetter, DeadLetters, LetterFilter, LetterStatus, ReplayError,
};
pub use event::Event;
pub use inbox::first_time;
pub use outbox::{Backlog, Outbox, backlog, overdue, waiting_of};
pub use relay::{RelaySettings, relay, relay_with};
pub use topology::{CONSUMERS, Consumer};

/// Any error, as handlers return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
