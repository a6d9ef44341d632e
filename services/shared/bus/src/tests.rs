//! The promises of this crate, on a real database and a real broker.
//!
//! The suite runs over both buses. What needs the broker is named `amqp`, and fails without one:
//! `cargo xtask test --only amqp` starts one and runs it.

mod broker;
mod consumer;
mod dead_letter;
mod lease;
mod proxy;
mod restart;
mod suite;
mod tls;
mod wire;
