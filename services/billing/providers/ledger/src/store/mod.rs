//! The ledger's tables: one file each.

pub(crate) mod invoice;
pub(crate) mod journal;
pub(crate) mod order;
