//! The program: everything else is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    stowage_bench::run()
}
