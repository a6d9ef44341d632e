//! The role through its own gRPC, layers included, over a real database.
//!
//! The engine is the outer edge: a small one in memory where a test needs faults or figures of
//! its own choosing, the embedded one where real behaviour matters.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod adoptions;
mod bucket_deletion_ends;
mod bucket_deletions;
mod buckets;
mod changes;
mod crash;
mod embedded;
mod engine;
mod engine_usage;
mod engine_views;
mod front;
mod issued;
mod kit;
mod location_changes;
mod location_ends;
mod location_races;
mod locations;
mod meter;
mod move_ends;
mod move_faults;
mod moves;
mod objects;
mod repeats;
mod sagas;
mod servers;
mod suspension;
mod usage;
