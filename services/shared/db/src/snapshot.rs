//! Copies of files that others write to: all of one moment.
//!
//! For a moment nobody else may write to any of the files; each copy then reads the state of that
//! moment, while others go on. So the copies together are what a loss of power at that moment would
//! have left.
//!
//! Rejected: `VACUUM INTO`, which cannot say when it has begun; copying files and their logs,
//! which needs SQLite's own locks.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::error::{Error, OpenError};
use crate::open;

/// How long others' transactions are waited for, each file.
const GATE_WAIT: Duration = Duration::from_secs(30);

/// A file, and where its copy goes.
#[derive(Debug, Clone)]
pub struct File {
    /// The database, which is there.
    pub from: PathBuf,
    /// Its copy, which is not.
    pub to: PathBuf,
}

/// Copies that are being made.
#[derive(Debug)]
pub struct Snapshot {
    copies: Vec<(File, SqliteConnection)>,
    /// Each keeps others from writing to a file.
    gates: Vec<SqliteConnection>,
}

impl Snapshot {
    /// Waits for the transactions under way, and keeps others from writing to any of the files
    /// until [`Self::release`].
    ///
    /// # Errors
    /// [`OpenError`]: a file cannot be opened, is being written to for too long, or its copy cannot
    /// be made.
    pub async fn begin(files: Vec<File>) -> Result<Self, OpenError> {
        let mut snapshot = Self { copies: Vec::new(), gates: Vec::new() };
        for file in files {
            let connection = connect(&file).await?;
            snapshot.copies.push((file, connection));
        }
        for (file, _) in &snapshot.copies {
            let failed = |error| OpenError::of(open::place(&file.from), error);
            let options = open::base(&file.from).busy_timeout(GATE_WAIT);
            let mut gate = options.connect().await.map_err(failed)?;
            gate.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
            snapshot.gates.push(gate);
        }
        for (file, connection) in &mut snapshot.copies {
            // The first read fixes what the transaction sees.
            let begin = "BEGIN; SELECT count(*) FROM source.sqlite_master";
            let begun = connection.execute(begin).await;
            begun.map_err(|error| OpenError::of(open::place(&file.from), error))?;
        }
        Ok(snapshot)
    }

    /// Lets others write again.
    pub async fn release(&mut self) {
        for mut gate in self.gates.drain(..) {
            // The end of the connection does it too.
            let _ = gate.execute("ROLLBACK").await;
            let _ = gate.close().await;
        }
    }

    /// Makes the copies and checks each.
    ///
    /// # Errors
    /// [`Error`]: the disk is full, or a file is damaged.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.release().await;
        for (_, mut connection) in self.copies {
            fill(&mut connection).await?;
            check(&mut connection).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

/// A connection to the new file, with the old one beside it.
async fn connect(file: &File) -> Result<SqliteConnection, OpenError> {
    open::touch(&file.to)?;
    let failed = |error| OpenError::of(open::place(&file.to), error);
    // Rows come table by table, in no order that references would like; `check` looks at the end.
    let mut connection =
        open::base(&file.to).foreign_keys(false).connect().await.map_err(failed)?;
    let from = open::place(&file.from);
    let attach = sqlx::query("ATTACH DATABASE $1 AS source").bind(&from);
    attach.execute(&mut connection).await.map_err(|error| OpenError::of(from, error))?;
    Ok(connection)
}

/// Makes every table, its rows, and then what hangs on it.
async fn fill(connection: &mut SqliteConnection) -> Result<(), Error> {
    let things: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT type, name, sql FROM source.sqlite_master \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type <> 'table', rowid",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (kind, name, sql) in things {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        if kind == "table" {
            let rows = format!("INSERT INTO main.\"{name}\" SELECT * FROM source.\"{name}\"");
            sqlx::query(AssertSqlSafe(rows)).execute(&mut *connection).await?;
        }
    }
    connection.execute("COMMIT; DETACH DATABASE source").await?;
    Ok(())
}

async fn check(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *connection).await?;
    let dangling: Vec<(String,)> = sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check")
        .fetch_all(&mut *connection)
        .await?;
    if found != ["ok"] || !dangling.is_empty() {
        let why = format!("{} {dangling:?}", found.join("; "));
        return Err(Error::Other { source: why.into() });
    }
    Ok(())
}
