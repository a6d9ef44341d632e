//! The name of this folder is in the name of each test, and by it they are chosen.

mod account;
mod adoption;
mod bucket;
mod conformance;
mod kit;
mod lost;
mod usage;
