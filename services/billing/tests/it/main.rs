//! Billing through real gRPC, with a real database and the real ledger.

#![cfg(test)]

mod catalogue;
mod dunning;
mod invoices;
mod kit;
mod orders;
mod periods;
mod property;
mod provider_trouble;
mod refusals;
mod repeats;
