//! The storage engine in this process: S3 by `s3s`, storage by an index and files of our own.
//!
//! - `index`: one SQLite file; owners, keys of objects, counters, traffic.
//! - `blobs`: immutable files named by random ids, on disk before the index speaks of them.
//! - `s3`: the operations. `access`: who may do what. `traffic`: what moved, and who pays.
//!
//! Invariants:
//! - An acknowledged object survives a kill at any moment, whole; one not acknowledged is whole
//!   or absent, never in part, and what it replaces stays until then.
//! - Quotas are exact to the byte: counters change in the transaction of the object.
//! - No key of an object ever becomes a path.
//!
//! Rejected: s3s's sample backend over files (keys as paths, no fsync, no commit); objects as
//! files beside metadata files (no transaction over both); copying parts when an upload is
//! completed (time and space twice, and a crash in between).

mod access;
mod auth;
mod blobs;
mod config;
mod embedded;
mod error;
pub mod fuzzing;
mod hash;
mod index;
mod s3;
mod serve;
mod shut;
mod trace;
mod traffic;

pub use config::EmbeddedConfig;
pub use embedded::{CAPABILITIES, Embedded, OpenError};
