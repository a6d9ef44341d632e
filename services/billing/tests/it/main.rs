//! Billing through real gRPC, with a real database and the real ledger.

#![cfg(test)]

mod billed_usage;
mod catalogue;
mod closing_property;
mod dunning;
mod golden_invoices;
mod hooks;
mod invoices;
mod kit;
mod limits;
mod metering;
mod orders;
mod periods;
mod property;
mod provider_trouble;
mod reconcile;
mod refusals;
mod repeats;
mod shop;
mod verification;
