//! The program `stowage`: every role in one process, and the operator's command line.
//!
//! This crate owns no rule of the business. It reads the configuration ([`config`]), keeps the data
//! folder ([`data`]), builds the roles and connects them ([`server`]), and is a client of their
//! API ([`admin`]). [`server::Server`] is what tests start; [`run`] is what the binary does.

pub mod admin;
mod backup;
pub mod banner;
mod broker;
pub mod config;
pub mod data;
mod databases;
mod engines;
pub mod error;
mod keyring;
mod listen;
mod opener;
mod prepare;
mod provider;
mod ready;
mod roles;
mod running;
mod serve;
pub mod server;
pub mod single;
mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use config::Environment;

/// Sells S3 storage: customers, accounts, buckets, plans, metering, over storage engines.
#[derive(Debug, Parser)]
#[command(name = "stowage", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in this process, which `stowage` alone does too; or one part alone
    Serve {
        /// The part
        part: Option<single::Part>,
    },
    /// Bring the schemas of a PostgreSQL database up to date, as each start does by itself
    Migrate,
    /// Ask a part whether it can serve; exit code 0 if so
    Ready {
        /// The part
        #[arg(default_value = "gateway")]
        part: single::Part,
    },
    /// Make the secrets that all processes of an installation share
    Secrets {
        #[command(subcommand)]
        command: Secrets,
    },
    /// Operate a server, or its data folder
    Admin(Box<admin::Admin>),
}

#[derive(Debug, Subcommand)]
enum Secrets {
    /// Make those that are not there yet, in secrets_dir (else the data folder)
    Make {
        /// Make a file with a random password beside them, too
        #[arg(long, value_name = "FILE NAME")]
        password: Vec<String>,
    },
}

/// Does what the command line says, and returns the exit code: 0 done, 1 failed or refused,
/// 2 wrong configuration or command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::of_process();
    match cli.command {
        None => serve::run(&environment, None),
        Some(Command::Serve { part }) => serve::run(&environment, part),
        Some(Command::Ready { part }) => ready::run(&environment, part),
        Some(Command::Migrate) => prepare::migrate(&environment),
        Some(Command::Secrets { command: Secrets::Make { password } }) => {
            prepare::make_secrets(&environment, &password)
        }
        Some(Command::Admin(command)) => operate(*command, &environment),
    }
}

fn operate(command: admin::Admin, environment: &Environment) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(admin::run(command, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

/// Says on standard error what is wrong.
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("stowage: {error}");
    ExitCode::from(code)
}
