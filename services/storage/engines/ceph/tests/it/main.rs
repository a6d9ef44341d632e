//! Against a real RGW, which `cargo xtask test --only ceph` starts.

mod ceph;
