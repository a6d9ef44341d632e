//! The SQL of the ledger.

pub(crate) mod balance;
pub(crate) mod books;
pub(crate) mod customer;
pub(crate) mod hold;
pub(crate) mod invoice;
pub(crate) mod journal;
pub(crate) mod order;
