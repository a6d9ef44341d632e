//! Copying databases from files into schemas of a PostgreSQL server.
//!
//! All of it is one transaction of the server: what is copied is compared before it is committed,
//! and whatever goes wrong before that leaves the server as it was. So there is no half-copied
//! installation that somebody could start, and nothing that a repeat would have to go on with.
//!
//! A server is copied to if its tables are as migrations make them. If they equal the files, they
//! were copied before, and there is nothing to do; that is also how a repeat finds out after a
//! commit whose answer was lost. Everything else is refused.
//!
//! Values travel as texts that are the same from both sides; rows are streamed, never collected.
//!
//! Rejected: a commit for each batch with a note of how far it is. A server could be started on
//! the half, and a source that was used between two runs would be mixed with its past.

mod rows;
mod table;

use std::path::Path;

use futures_util::TryStreamExt as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Postgres, Sqlite};

use crate::error::OpenError;
use crate::open;
use crate::{Db, Server};
use rows::{Cells, Sums};
use table::Table;

/// Bytes that are sent to the server at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Rows between two reports of progress.
const REPORT_ROWS: u64 = 50_000;

/// A database to be copied.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The file. Nothing may write to it meanwhile.
    pub file: &'a Path,
    /// The schema on the server.
    pub schema: &'static str,
    /// The tables of both.
    pub migrator: &'static Migrator,
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is on the server now, compared and committed.
    Copied,
    /// Everything was there already, value by value.
    Same,
    /// Nothing was done: a dry run, of what can be copied.
    Copyable,
}

/// What was compared of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// `accounts.customer`.
    pub name: String,
    /// How many.
    pub rows: u64,
    /// Sums of its columns of integers, by their names.
    pub sums: Vec<(String, i128)>,
}

/// What a copy did.
#[derive(Debug, Clone)]
pub struct Copied {
    /// How it ended.
    pub outcome: Outcome,
    /// Every table.
    pub tables: Vec<CopiedTable>,
}

/// Why nothing was copied. Unless said otherwise the server is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file or a schema cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be read.
    #[error("{what} cannot be read from the data folder: {source}")]
    Source {
        /// A role, or a table.
        what: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The server failed, or the connection to it.
    #[error("{what} failed on the server: {source}")]
    Target {
        /// A role, a table, or what was done.
        what: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// A table is not the same on both sides.
    #[error("the table {table} is not on both sides with the same columns")]
    Unlike {
        /// `accounts.customer`.
        table: String,
    },
    /// The server holds something else.
    #[error("the server holds data that is not of this installation: {table}: {what}")]
    Foreign {
        /// `accounts.customer`.
        table: String,
        /// How it differs.
        what: String,
    },
    /// What was copied is not what was to be copied.
    #[error("{table} is not what was copied: {what}")]
    Differs {
        /// `accounts.customer`.
        table: String,
        /// How it differs.
        what: String,
    },
    /// The connection was lost during the commit: all was copied, or nothing.
    #[error("it is not known whether the copy was committed: {source}")]
    Unclear {
        /// What the driver said.
        source: sqlx::Error,
    },
}

impl CopyError {
    fn source(what: impl Into<String>, source: sqlx::Error) -> Self {
        Self::Source { what: what.into(), source }
    }

    fn target(what: impl Into<String>, source: sqlx::Error) -> Self {
        Self::Target { what: what.into(), source }
    }
}

/// An open file, in a transaction that sees one state of it.
struct Source {
    schema: &'static str,
    migrator: &'static Migrator,
    connection: SqliteConnection,
    tables: Vec<Table>,
}

/// Copies databases to a server, all or none, and compares every value. Both sides are brought up
/// to date first, unless it is a dry run, which changes nothing. `tell` gets lines about progress.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(
    parts: &[Part<'_>],
    server: &Server,
    is_dry_run: bool,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Copied, CopyError> {
    for part in parts {
        Db::check(part.file, part.migrator).await?;
        server.check(part.schema, part.migrator).await?;
    }
    let mut sources = Vec::new();
    for part in parts {
        if !is_dry_run {
            Db::open(part.file, part.migrator).await?.close().await;
            server.migrate(part.schema, part.migrator).await?;
        }
        sources.push(Source::open(part).await?);
    }
    let mut target = server.connect_to_copy().await?;
    let copied = copy_all(&mut sources, &mut target, is_dry_run, tell).await;
    // The end of the connection undoes what was not committed.
    let _ = target.close().await;
    for source in sources {
        let _ = source.connection.close().await;
    }
    copied
}

impl Source {
    async fn open(part: &Part<'_>) -> Result<Self, CopyError> {
        let Part { file, schema, migrator } = *part;
        let failed = |error| CopyError::source(schema, error);
        let mut connection = open::alone(file).await.map_err(failed)?;
        connection.execute("PRAGMA query_only = ON; BEGIN").await.map_err(failed)?;
        let tables = table::of_file(&mut connection, schema).await?;
        Ok(Self { schema, migrator, connection, tables })
    }

    async fn sums(&mut self) -> Result<Vec<Sums>, CopyError> {
        file_sums(&mut self.connection, &self.tables).await
    }

    /// The sums of tables as migrations make them.
    async fn fresh_sums(&self) -> Result<Vec<Sums>, CopyError> {
        let failed = |error| CopyError::source(self.schema, error);
        let mut fresh = open::in_memory().await.map_err(failed)?;
        let migrated = self.migrator.run_direct(None, &mut fresh, false).await;
        migrated.map_err(|error| failed(sqlx::Error::Migrate(Box::new(error))))?;
        let sums = file_sums(&mut fresh, &self.tables).await;
        let _ = fresh.close().await;
        sums
    }
}

async fn copy_all(
    sources: &mut [Source],
    target: &mut PgConnection,
    is_dry_run: bool,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Copied, CopyError> {
    target.execute("BEGIN").await.map_err(|error| CopyError::target("a transaction", error))?;
    let mut is_fresh = true;
    for source in sources.iter() {
        is_fresh &= is_as_migrated(source, target).await?;
    }
    if is_fresh && !is_dry_run {
        fill(sources, target, tell).await?;
    }
    let is_copied = !is_fresh || !is_dry_run;
    let mut tables = Vec::new();
    for source in sources.iter_mut() {
        tell(format!("{}: comparing", source.schema));
        let sums = source.sums().await?;
        for (table, sums) in source.tables.iter().zip(sums) {
            if is_copied {
                let found = server_sums(target, table).await?;
                compare(table, &sums, &found, is_fresh)?;
            }
            tables.push(report(table, sums));
        }
    }
    let outcome = match (is_fresh, is_dry_run) {
        (false, _) => Outcome::Same,
        (true, true) => Outcome::Copyable,
        (true, false) => {
            let committed = target.execute("COMMIT").await;
            committed.map_err(|source| CopyError::Unclear { source })?;
            Outcome::Copied
        }
    };
    Ok(Copied { outcome, tables })
}

/// Whether the server's tables hold what migrations put there and nothing else. Keeps others from
/// writing to them until the end.
async fn is_as_migrated(source: &Source, target: &mut PgConnection) -> Result<bool, CopyError> {
    if !table::is_on_server(target, source.schema, &source.tables).await? {
        return Ok(true);
    }
    let names = source.tables.iter().map(Table::quoted).collect::<Vec<_>>().join(", ");
    let lock = AssertSqlSafe(format!("LOCK TABLE {names} IN EXCLUSIVE MODE"));
    let failed = |error| CopyError::target(source.schema, error);
    sqlx::query(lock).execute(&mut *target).await.map_err(failed)?;
    let fresh = source.fresh_sums().await?;
    for (table, fresh) in source.tables.iter().zip(fresh) {
        if server_sums(target, table).await? != fresh {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Replaces what migrations put there by the rows of the files.
async fn fill(
    sources: &mut [Source],
    target: &mut PgConnection,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<(), CopyError> {
    for source in sources {
        for table in source.tables.iter().rev() {
            let delete = AssertSqlSafe(format!("DELETE FROM {}", table.quoted()));
            let deleted = sqlx::query(delete).execute(&mut *target).await;
            deleted.map_err(|error| CopyError::target(table.shown(), error))?;
        }
        for table in &source.tables {
            let rows = copy_table(&mut source.connection, target, table, tell).await?;
            tell(format!("{}: {rows} rows", table.shown()));
        }
    }
    Ok(())
}

async fn copy_table(
    from: &mut SqliteConnection,
    to: &mut PgConnection,
    table: &Table,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<u64, CopyError> {
    let failed = |error| CopyError::target(table.shown(), error);
    let statement = format!("COPY {} ({}) FROM STDIN", table.quoted(), table.column_list());
    let mut copy = to.copy_in_raw(&statement).await.map_err(failed)?;
    let mut rows =
        sqlx::query_as::<Sqlite, Cells>(AssertSqlSafe(table.select_from_file())).fetch(from);
    let (mut chunk, mut count) = (Vec::with_capacity(CHUNK_BYTES), 0_u64);
    loop {
        let row = match rows.try_next().await {
            Ok(row) => row,
            Err(error) => {
                let _ = copy.abort("the rows cannot be read").await;
                return Err(CopyError::source(table.shown(), error));
            }
        };
        if let Some(row) = &row {
            row.encode(table, &mut chunk);
            count += 1;
            if count.is_multiple_of(REPORT_ROWS) {
                tell(format!("{}: {count} rows so far", table.shown()));
            }
        }
        if chunk.len() >= CHUNK_BYTES || row.is_none() {
            copy.send(&chunk[..]).await.map_err(failed)?;
            chunk.clear();
        }
        if row.is_none() {
            break;
        }
    }
    copy.finish().await.map_err(failed)?;
    Ok(count)
}

async fn file_sums(
    connection: &mut SqliteConnection,
    tables: &[Table],
) -> Result<Vec<Sums>, CopyError> {
    let mut all = Vec::new();
    for table in tables {
        let failed = |error| CopyError::source(table.shown(), error);
        let mut sums = Sums::of(table);
        let sql = AssertSqlSafe(table.select_from_file());
        let mut rows = sqlx::query_as::<Sqlite, Cells>(sql).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            sums.add(&row.canonical(table), table);
        }
        all.push(sums);
    }
    Ok(all)
}

async fn server_sums(connection: &mut PgConnection, table: &Table) -> Result<Sums, CopyError> {
    let failed = |error| CopyError::target(table.shown(), error);
    let mut sums = Sums::of(table);
    let sql = AssertSqlSafe(table.select_from_server());
    let mut rows = sqlx::query_as::<Postgres, Cells>(sql).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        sums.add(&row.canonical(table), table);
    }
    Ok(sums)
}

fn compare(table: &Table, ours: &Sums, found: &Sums, is_copied: bool) -> Result<(), CopyError> {
    let Some(what) = ours.difference(found, table) else { return Ok(()) };
    let table = table.shown();
    Err(match is_copied {
        true => CopyError::Differs { table, what },
        false => CopyError::Foreign { table, what },
    })
}

fn report(table: &Table, sums: Sums) -> CopiedTable {
    let names = table.integers().map(|column| column.name.clone());
    CopiedTable { name: table.shown(), rows: sums.rows, sums: names.zip(sums.integers).collect() }
}
