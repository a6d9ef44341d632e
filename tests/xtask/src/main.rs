//! `cargo xtask`: the commands this repository runs on itself. It has no dependencies, on purpose:
//! it is built before everything else, on every clean run.

mod bench;
mod chaos;
mod cli;
mod install;
mod layout;
mod postgres;
mod python;
mod rabbitmq;
mod run;
mod test;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(&std::env::args().skip(1).collect::<Vec<_>>()).and_then(cli::dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nxtask: {why}");
            ExitCode::FAILURE
        }
    }
}
