//! The simulator with whoever speaks to it.

mod foreign;
