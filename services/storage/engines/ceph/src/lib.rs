//! Ceph RADOS Gateway (RGW) as a storage engine, by its Admin Ops API and S3.
//!
//! Invariants:
//! - an account is an RGW user of the same uid whose display name says that it is ours; any other
//!   user of that uid is not touched, and as good as absent;
//! - no call that means "all" when its uid is left out can be made without one ([`S3uid`] is what
//!   the calls take);
//! - changes of one uid go one after the other, and a race that is lost to another process is run
//!   again after a fresh look at what the account is;
//! - nothing is kept between calls but open connections: any number of processes may do this at
//!   once.
//!
//! Increments of the usage log were rejected: an hour is read as a whole, again and again until it
//! is three hours old, and its totals are absolute.
//!
//! [`S3uid`]: stowage_types::S3uid

mod account;
mod admin;
mod bucket;
mod ceph;
mod cursor;
mod options;
mod query;
mod usage;
mod watch;
mod wire;

pub use ceph::{CAPABILITIES, Ceph};
pub use options::CephOptions;
pub use stowage_engine_remote::OpenError;
