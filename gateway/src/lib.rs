//! The gateway: the one port that customers and clients reach.
//!
//! It holds the HTTP/JSON facade that existing clients speak (`legacy`), passes gRPC and grpc-web
//! through to the roles, and turns a caller's token into the signed assertion that roles verify.
//! It owns nothing durable: kill it at any time, start another beside it.
//!
//! Invariants:
//! - An assertion or any other internal metadata that a client sends never reaches a role.
//! - The channels in [`Deps`] carry no identity of their own: a call without a token reaches a role
//!   without an assertion.
//! - No byte sequence makes a handler panic; if one did, its answer is a 500 and the process lives.

mod config;
mod docs;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod health;
mod hooks;
mod identity;
mod json;
mod legacy;
mod limits;
mod ops;
mod peer;
mod serve;
#[cfg(test)]
mod tests;
mod trace;
mod web;

pub use config::Config;
pub use peer::ForwardedHeader;
pub use serve::Gateway;
pub use web::{Deps, build};
