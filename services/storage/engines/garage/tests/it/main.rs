//! Against a real Garage, which `cargo xtask test --engine garage` starts.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod garage;
