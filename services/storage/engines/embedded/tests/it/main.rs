//! The embedded engine over its real endpoint, spoken to by the AWS SDK and by raw HTTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod access;
mod catalogue;
mod conformance;
mod crash;
mod keyring;
mod kit;
mod life;
mod limits;
mod listing;
mod multipart;
mod objects;
mod usage;
