//! The simulator with whoever speaks to it: a client that is not ours, and the provider `whmcs`.

mod foreign;
mod kit;
mod many;
mod provider;
mod suite;
