//! The role through its contract, with a double of the roles it calls.
#![expect(clippy::unwrap_used, reason = "a test that fails there says where")]

mod access;
mod adoptions;
mod audit;
mod audit_upgrade;
mod caps;
mod changes;
mod crash;
mod customers;
mod dead_letters;
mod double;
mod double_adoptions;
mod double_figures;
mod double_invoices;
mod double_keys;
mod double_moves;
mod drift;
mod dunning;
mod history;
mod issued;
mod keyring;
mod kit;
mod life;
mod listing;
mod moves;
mod orders;
mod reconcile;
mod repeats;
mod sagas;
mod sessions;
mod webhooks;
