//! The role as others see it: events from the bus, calls through real gRPC in process.
#![cfg(test)]

mod access;
mod dead_letters;
mod facts;
mod facts_property;
mod fresh;
mod ingest;
mod kit;
mod metered;
mod property;
mod ranking;
mod rebuild;
mod usage;
mod watch;
