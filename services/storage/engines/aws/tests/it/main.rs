//! Against a test double of AWS, which `cargo xtask test --only aws` starts.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod aws;
mod ceph;
