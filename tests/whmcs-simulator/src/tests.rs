//! What is known of WHMCS, and that the simulator keeps to it. Where a fact is not from WHMCS'
//! documentation the test says from where.

mod billing;
mod kit;
mod ordering;
mod protocol;
