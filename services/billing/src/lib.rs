//! The billing role: what is sold at what price, and what each account is billed by.
//!
//! It owns plans with their immutable versions, prices per currency, subscriptions with their
//! periods, and scheduled ends; orders themselves are placed with a billing provider. It calls
//! metering, to close a period. See `README.md` for what it keeps true.
//!
//! Money is whole nano-units everywhere; the crate does no arithmetic on floats.

#![deny(clippy::float_arithmetic)]

mod build;
mod config;
mod domain;
mod error;
mod events;
mod grpc;
mod memory;
mod rating;
mod seed;
mod store;
mod usage;

pub use build::{BuildError, Deps, build};
pub use config::{Config, PaymentTerms, ProviderKind, Whmcs};
pub use memory::ProviderMemory;
pub use seed::seed_catalogue;

/// Migrations of billing's database, those of the built-in ledger included.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
