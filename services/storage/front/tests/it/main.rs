//! The front before the embedded engine, which counts too: both must agree. Where the other side
//! has to misbehave, or must be seen byte for byte, it is a bare socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bare;
mod breaks;
mod counting;
mod kit;
mod owners;
mod passing;
mod refused;
mod tls;
