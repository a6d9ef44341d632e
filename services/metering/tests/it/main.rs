//! The role as others see it: events from the bus, calls through real gRPC in process.
#![cfg(test)]

mod access;
mod dead_letters;
mod fresh;
mod ingest;
mod kit;
mod property;
mod ranking;
mod usage;
