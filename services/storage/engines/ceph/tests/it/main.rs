//! Against a real RGW, which `cargo xtask test --only ceph` starts.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod ceph;
