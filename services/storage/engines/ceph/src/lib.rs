//! Ceph RADOS Gateway (RGW) as a storage engine, by its Admin Ops API and S3.
//!
//! Invariants:
//! - an account is an RGW user of the same uid whose display name says that it is ours, or an
//!   adopted one that says so (`user`); any other user is not touched, and as good as absent;
//! - no call that means "all" when its user is left out can be made without one (`UserId` is what
//!   the calls take);
//! - changes of one uid go one after the other, and a race that is lost to another process is run
//!   again after a fresh look at what the account is;
//! - nothing is kept between calls but open connections and, for ten minutes, who a user is: any
//!   number of processes may do this at once.
//!
//! Increments of the usage log were rejected: an hour is read as a whole, again and again until it
//! is three hours old, and its totals are absolute.

mod account;
mod admin;
mod adoption;
mod bucket;
mod ceph;
mod cursor;
mod options;
mod query;
mod usage;
mod user;
mod watch;
mod wire;

pub use ceph::{CAPABILITIES, Ceph};
pub use options::CephOptions;
pub use stowage_engine_remote::OpenError;
