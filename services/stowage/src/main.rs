//! The program: everything else is in the library beside it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Of all memory, SQLite's too. With it rankings are a tenth faster than with the C library's, and
/// behind those of 100,000 accounts the process keeps less: see the bench. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    stowage::run()
}
