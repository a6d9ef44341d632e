//! The operator's command line: a client of the gRPC API of a running server, and two commands
//! that work on the data folder itself.
//!
//! Standard output carries the answer and nothing else, as an aligned table or as one JSON value,
//! so that scripts can rely on it. Everything said about trouble goes to standard error. Exit code
//! 1: the server refused or is away. Exit code 2: what was typed or configured is malformed, so
//! that the same again cannot succeed.

mod access_key;
mod account;
mod account_move;
mod amount;
mod api_key;
mod audit;
mod backup;
mod billing;
mod bucket;
mod client;
mod credit;
mod customer;
mod dead_letter;
mod drift;
mod focus;
mod import;
mod invoice;
mod keyring;
mod location;
mod metering;
mod migrate_database;
mod object;
mod output;
mod plan;
mod reconcile;
mod saga;
mod secret;
mod upload;
mod usage;
mod webhook;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{Config, Environment};
use client::Client;

pub use client::Error;

/// `stowage admin`.
#[derive(Debug, Args)]
pub struct Admin {
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Address of the server [default: STOWAGE_ADDR, else the gateway's configured address]
    #[arg(long, global = true, value_name = "URL")]
    addr: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// One line of JSON: an object, or an array of objects for a list
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    OfServer(OfServer),
    /// Save the data folder while the server runs, as it is at one moment
    Backup(backup::Backup),
    /// Copy the databases of a stopped installation to PostgreSQL, all or nothing
    MigrateDatabase(migrate_database::MigrateDatabase),
}

/// What a running server does.
#[derive(Debug, Subcommand)]
enum OfServer {
    /// Customers: who is billed
    #[command(subcommand)]
    Customer(customer::Command),
    /// API keys: long-lived credentials of a customer
    #[command(subcommand)]
    ApiKey(api_key::Command),
    /// Plans: what is sold, and at what price
    #[command(subcommand)]
    Plan(Box<plan::Command>),
    /// Invoices: what customers owe, and the payments that come in
    #[command(subcommand)]
    Invoice(invoice::Command),
    /// Credit of customers: paid in, kept for orders, and how they pay
    #[command(subcommand)]
    Credit(credit::Command),
    /// Billing beside its provider: whether both agree, and which client there a customer is
    #[command(subcommand)]
    Billing(billing::Command),
    /// S3 accounts of all customers
    #[command(subcommand)]
    Account(account::Command),
    /// Access keys of an account: what S3 clients sign with
    #[command(subcommand)]
    Key(access_key::Command),
    /// The audit: who did what, and that nothing of it was changed
    #[command(subcommand)]
    Audit(audit::Command),
    /// Buckets of an account, and their deletion with all that is in them
    #[command(subcommand)]
    Bucket(bucket::Command),
    /// Unfinished uploads of a bucket: they take room, and no listing of objects shows them
    #[command(subcommand)]
    Upload(upload::Command),
    /// Objects in buckets
    #[command(subcommand)]
    Object(object::Command),
    /// Compare accounts with engines and billing, and mend what is safe to mend
    ///
    /// Exit code 1: something is left as it was found.
    Reconcile(reconcile::Reconcile),
    /// Compare what engines count, what metering has and what was billed, account by account
    ///
    /// Prints what differs by more than the threshold, and the hours in which it does. Exit code 1:
    /// something does.
    Drift(drift::Drift),
    /// Locations: where accounts can be
    #[command(subcommand)]
    Location(Box<location::Command>),
    /// Take over the accounts that are on a location's engine already, with all they have
    ///
    /// Keys, buckets, objects, quota and bounds stay as they are. Exit code 1: one of those in the
    /// file was not taken over, or with --dry-run could not be.
    Import(import::Import),
    /// What an account used, by the hour, day or month
    Usage(usage::Usage),
    /// Metering: facts of usage, and the rollups that are made of them
    #[command(subcommand)]
    Metering(metering::Command),
    /// Master keys: what secrets are sealed under
    #[command(subcommand)]
    Keyring(keyring::Command),
    /// Sagas: orders, deletions and the like, also those that are stuck
    #[command(subcommand)]
    Saga(saga::Command),
    /// Dead letters: events that a part refused for good
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Webhooks: what other systems were told, and what they did not take
    #[command(subcommand)]
    Webhook(webhook::Command),
}

/// How much a listing prints.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

/// What a command needs beside its own arguments.
pub(crate) struct Session {
    client: Client,
    output: Output,
}

/// Runs one command and prints its answer.
///
/// # Errors
/// See [`Error`]; its `Display` is what the operator reads.
pub async fn run(admin: Admin, environment: &Environment) -> Result<(), Error> {
    let config = Config::load(environment).map_err(|faults| Error::Usage(faults.to_string()))?;
    let (command, output) = match admin.command {
        Command::Backup(command) => return backup::run(command, admin.output, &config).await,
        Command::MigrateDatabase(command) => {
            return migrate_database::run(command, admin.output, config).await;
        }
        Command::OfServer(command) => (command, admin.output),
    };
    let addr = admin
        .addr
        .or_else(|| environment.get("STOWAGE_ADDR").map(str::to_owned))
        .unwrap_or_else(|| config.gateway.addr.to_string());
    let client = Client::connect(&addr, environment.token(), config.secrets_folder()).await?;
    let session = Session { client, output };
    match command {
        OfServer::Customer(command) => customer::run(command, &session).await,
        OfServer::ApiKey(command) => api_key::run(command, &session).await,
        OfServer::Plan(command) => plan::run(*command, &session).await,
        OfServer::Invoice(command) => invoice::run(command, &session).await,
        OfServer::Credit(command) => credit::run(command, &session).await,
        OfServer::Billing(command) => billing::run(command, &session).await,
        OfServer::Account(command) => account::run(command, &session).await,
        OfServer::Key(command) => access_key::run(command, &session).await,
        OfServer::Audit(command) => audit::run(command, &session).await,
        OfServer::Bucket(command) => bucket::run(command, &session).await,
        OfServer::Upload(command) => upload::run(command, &session).await,
        OfServer::Object(command) => object::run(command, &session).await,
        OfServer::Reconcile(command) => reconcile::run(command, &session).await,
        OfServer::Drift(command) => drift::run(command, &session).await,
        OfServer::Location(command) => location::run(*command, &session).await,
        OfServer::Import(command) => import::run(command, &session).await,
        OfServer::Usage(command) => usage::run(command, &session).await,
        OfServer::Metering(command) => metering::run(command, &session).await,
        OfServer::Keyring(command) => keyring::run(command, &session).await,
        OfServer::Saga(command) => saga::run(command, &session).await,
        OfServer::DeadLetter(command) => dead_letter::run(command, &session).await,
        OfServer::Webhook(command) => webhook::run(command, &session).await,
    }
}
