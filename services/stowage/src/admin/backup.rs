//! `stowage admin backup`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use stowage_keyring::Source;

use super::output::{self, Row};
use super::{Error, Output};
use crate::backup::{self, Places};
use crate::config::Config;
use crate::data;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The data folder [default: the configured one]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Saved {
    folder: String,
    databases: Vec<String>,
    object_files: u64,
    secrets: Vec<String>,
}

impl Row for Saved {
    const COLUMNS: &'static [&'static str] = &["FOLDER", "DATABASES", "OBJECT FILES", "SECRETS"];

    fn cells(&self) -> Vec<String> {
        let (databases, secrets) = (self.databases.join(" "), self.secrets.join(" "));
        vec![self.folder.clone(), databases, self.object_files.to_string(), secrets]
    }
}

/// Saves everything that is in the data folder.
pub(super) async fn run(command: Backup, output: Output, config: &Config) -> Result<(), Error> {
    let data = command.data_dir.unwrap_or_else(|| config.data_dir.clone());
    let secrets = config.secrets_dir.clone().unwrap_or_else(|| data.clone());
    let keyring = match data::keyring_source(&secrets, &config.keyring) {
        Source::File(file) => Some(file),
        source => {
            let origin = source.origin();
            eprintln!("the master keys come from {origin}: save them there, as of this moment");
            None
        }
    };
    let (has_databases, has_engine) = (config.database.url.is_none(), config.s3.enabled);
    let places = Places { data, secrets, keyring, to: command.to, has_databases, has_engine };
    let saved = backup::save(&places).await.map_err(|error| Error::Failed(error.to_string()))?;
    if !places.has_databases {
        eprintln!("the roles' databases are on PostgreSQL: save them by pg_dump, before this");
    }
    let folder = places.to.display().to_string();
    let backup::Saved { databases, object_files, secrets } = saved;
    output::one(output, &Saved { folder, databases, object_files, secrets })
}
