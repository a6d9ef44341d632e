//! The simulator with whoever speaks to it: a client that is not ours, and the provider `whmcs`.

#![cfg(test)]

mod foreign;
mod hook;
mod installations;
mod kit;
mod many;
mod provider;
mod suite;
