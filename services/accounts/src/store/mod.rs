//! SQL, one text for PostgreSQL and SQLite. Decides nothing.

pub(crate) mod access_key;
pub(crate) mod account;
pub(crate) mod account_move;
pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod brief;
pub(crate) mod customer;
pub(crate) mod drift;
pub(crate) mod history;
pub(crate) mod token;
pub(crate) mod webhook_delivery;
