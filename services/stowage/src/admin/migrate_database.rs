//! `stowage admin migrate-database`: from files in the data folder to a PostgreSQL server.
//!
//! It holds the data folder, so no server runs on it. What stays in the folder: objects and their
//! index (`s3/`), and the secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use stowage_db::Server;
use stowage_db::copy::{self, Copied, CopiedTable, CopyError, Outcome, Part};

use super::output::{self, Row};
use super::{Error, Output};
use crate::config::Config;
use crate::data::DataDir;
use crate::databases::{ROLES, refused};

#[derive(Debug, Args)]
pub(super) struct MigrateDatabase {
    /// The server's database: postgres://user:password@host/database [default:
    /// STOWAGE_DATABASE_URL, which keeps the password off the command line]
    #[arg(long, value_name = "URL")]
    to: Option<SecretString>,
    /// The data folder of the stopped installation [default: the configured one]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Look at both sides and say what would be copied; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct TableRow {
    table: String,
    rows: u64,
    /// Of its columns of integers; texts, since they may pass 64 bits.
    sums: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Answer {
    /// `copied`, `same` or `copyable`.
    outcome: &'static str,
    to: String,
    tables: Vec<TableRow>,
}

impl From<CopiedTable> for TableRow {
    fn from(CopiedTable { name, rows, sums }: CopiedTable) -> Self {
        let sums = sums.into_iter().map(|(column, sum)| (column, sum.to_string())).collect();
        Self { table: name, rows, sums }
    }
}

impl Row for TableRow {
    const COLUMNS: &'static [&'static str] = &["TABLE", "ROWS"];

    fn cells(&self) -> Vec<String> {
        vec![self.table.clone(), self.rows.to_string()]
    }
}

/// Copies all databases or none.
pub(super) async fn run(
    command: MigrateDatabase,
    output: Output,
    config: Config,
) -> Result<(), Error> {
    let configured =
        config.database.full_url().map_err(|error| Error::Failed(error.to_string()))?;
    let Some(url) = command.to.or(configured) else {
        let what = "set STOWAGE_DATABASE_URL, or --to, to postgres://user:password@host/database";
        return Err(Error::Usage(what.to_owned()));
    };
    let server = Server::new(url.expose_secret()).map_err(|e| Error::Usage(e.to_string()))?;
    let data = take(command.data_dir.unwrap_or(config.data_dir))?;
    let files = ROLES.map(|(role, migrator)| (data.database(role), role, migrator));
    let parts: Vec<Part<'_>> =
        files.iter().map(|(file, schema, migrator)| Part { file, schema, migrator }).collect();
    // For those who wait; standard output is for the answer.
    let mut tell = |line: String| eprintln!("{line}");
    let copied = copy::copy(&parts, &server, command.dry_run, &mut tell).await;
    let Copied { outcome, tables } = copied.map_err(explain)?;
    if !command.dry_run {
        data.note_moved(&server.shown()).map_err(|error| Error::Failed(error.to_string()))?;
    }
    eprintln!("{}", next_step(outcome, &server.shown()));
    let tables: Vec<TableRow> = tables.into_iter().map(TableRow::from).collect();
    match output {
        Output::Table => output::list(output, &tables),
        Output::Json => {
            let outcome = name_of(outcome);
            output::json(&Answer { outcome, to: server.shown(), tables })
        }
    }
}

/// The folder, if it has an installation of files.
fn take(path: PathBuf) -> Result<DataDir, Error> {
    let shown = path.display().to_string();
    let taken = DataDir::take_existing(&path).map_err(|error| Error::Failed(error.to_string()))?;
    let data = taken.filter(|data| ROLES.iter().all(|(role, _)| data.database(role).exists()));
    data.ok_or_else(|| {
        Error::Usage(format!(
            "{shown} does not have the four databases of an installation; name the folder with \
             --data-dir or STOWAGE_DATA_DIR"
        ))
    })
}

fn explain(error: CopyError) -> Error {
    let advice = match &error {
        CopyError::Open(_) => {
            let CopyError::Open(source) = error else { unreachable!("it was just looked at") };
            return Error::Failed(refused(source).to_string());
        }
        CopyError::Source { .. } => "nothing was copied; restore the folder from a backup",
        CopyError::Target { .. } => {
            "nothing was copied; see whether the server runs, has room, and nobody else works in \
             this database, then run this again"
        }
        CopyError::Unlike { .. } => {
            "nothing was copied; the tables were not made by this program's migrations"
        }
        CopyError::Foreign { .. } => {
            "nothing was copied; if a server has run on it since a copy, that copy was good, and \
             must not be made again. Else name an empty database"
        }
        CopyError::Differs { .. } => "the copy was undone; the server changes what it is given",
        CopyError::Unclear { .. } => "run this again: it finds out",
    };
    Error::Failed(format!("{error}; {advice}"))
}

fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "copied",
        Outcome::Same => "same",
        Outcome::Copyable => "copyable",
    }
}

fn next_step(outcome: Outcome, to: &str) -> String {
    let done = match outcome {
        Outcome::Copyable => {
            return format!("{to} is free for a copy; nothing was changed, as asked");
        }
        Outcome::Copied => "copied, and compared value by value",
        Outcome::Same => "there already, compared value by value",
    };
    format!(
        "all is in {to}: {done}.\nNext: set STOWAGE_DATABASE_URL (database.url) to it for every \
         start, and keep the data folder: objects (s3/) and secrets (keyring, signing.key, \
         admin.token) stay there. The .db files are not used any more"
    )
}
