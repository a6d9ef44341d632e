//! Garage as a storage engine, by its Admin API (version 2) and S3.
//!
//! Garage has keys and buckets, and no accounts. An account is made of
//! - its **steward**: a key of ours, `stowage-<uid>`, that no customer has. Its name holds what
//!   the account is ([`record::Record`]): quota, limits, access, own quotas of buckets. Its local
//!   aliases are the account's buckets. By it we list and delete what is in them, also when the
//!   customer is shut out;
//! - the customer's **keys**, named `<marker> <uid>`: each has every bucket as a local alias of
//!   the same name, and is granted what the account's access says;
//! - its **log**: a key `stowage-<uid>-log` whose name tells which buckets were deleted when.
//!
//! So all is in Garage, any number of processes agree on it, and nothing is restored separately.
//! The steward's id follows from the uid, so an account is made once. Its name is one register
//! that is written as a whole: whoever reads it sees one specification, never half of two. It is
//! written by commands only, never by what runs on a timer, so a suspension is not undone by a
//! sweep; the log has a key of its own for that reason. All else follows from the record and is
//! mended by whoever looks next ([`settle`](settle.rs)): a pass that has changed something is
//! followed by another look, so that the last to change anything has seen the last record.
//!
//! Races that are left, between processes that command one account in the same moment: two that
//! write the record leave the last of them, and the other says `Conflict` if it notices. Two
//! deletions in one moment may leave one of them out of the log. On a cluster, where names spread
//! with a delay, two that make one account may give it two secrets, of which one wins per node.
//! Whoever commands accounts one process at a time, as sagas do, meets none of these.
//!
//! Rejected: a record in a bucket of ours (another secret to configure, and no better a register),
//! global aliases (one name for all accounts), and denying writes above a quota (then nobody can
//! delete over S3, since Garage's right to write is that to delete).

mod account;
mod admin;
mod adoption;
mod bucket;
mod cursor;
mod garage;
mod group;
mod look;
mod options;
mod record;
mod removal;
mod settle;
mod usage;
mod wire;

pub use garage::{CAPABILITIES, Garage};
pub use options::GarageOptions;
pub use stowage_engine_remote::OpenError;
