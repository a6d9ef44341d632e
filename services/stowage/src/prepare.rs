//! What is done once before processes of their own are started: secrets, and schemas.

use std::process::ExitCode;

use stowage_types::SystemRandom;
use tokio::runtime::Builder;

use crate::config::{Config, Environment};
use crate::error::StartError;
use crate::{data, databases, fail};

/// `stowage secrets make`
pub(crate) fn make_secrets(environment: &Environment, passwords: &[String]) -> ExitCode {
    let config = match Config::load(environment) {
        Ok(config) => config,
        Err(faults) => return fail(2, &faults),
    };
    if let Some(name) = passwords.iter().find(|name| name.is_empty() || name.contains('/')) {
        return fail(2, &format!("--password: {name:?} is not the name of a file"));
    }
    let folder = config.secrets_folder();
    match data::make_secrets(folder, passwords, &config.keyring, &SystemRandom) {
        Ok(made) if made.is_empty() => {
            println!("all secrets are in {} already", folder.display());
            ExitCode::SUCCESS
        }
        Ok(made) => {
            made.iter().for_each(|file| println!("made {}", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(error.exit_code(), &error),
    }
}

/// `stowage migrate`
pub(crate) fn migrate(environment: &Environment) -> ExitCode {
    let config = match Config::load(environment) {
        Ok(config) => config,
        Err(faults) => return fail(2, &faults),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(migrate_all(config)) {
        Ok(Some(roles)) => {
            println!("up to date: {}", roles.join(", "));
            ExitCode::SUCCESS
        }
        Ok(None) => fail(
            2,
            &"database.url is not set (STOWAGE_DATABASE_URL); databases in the data folder are \
              brought up to date by each start",
        ),
        Err(error) => fail(error.exit_code(), &error),
    }
}

async fn migrate_all(config: Config) -> Result<Option<Vec<&'static str>>, StartError> {
    match databases::server(&config.database)? {
        Some(server) => databases::migrate(&server).await.map(Some),
        None => Ok(None),
    }
}
