//! SQL of the role; one file per resource. Nothing here decides anything.

pub(crate) mod account;
pub(crate) mod account_move;
pub(crate) mod bucket_change;
pub(crate) mod bucket_deletion;
pub(crate) mod engine_usage;
pub(crate) mod front;
pub(crate) mod location;
pub(crate) mod sample_sent;
pub(crate) mod usage;
