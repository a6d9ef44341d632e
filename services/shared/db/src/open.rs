//! Opening a file: checks first, then migrations.

use crate::error::OpenError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

/// How long SQLite waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Reading connections, at most.
const READERS_MAX: u32 = 4;
/// What a reading connection keeps of the file: 512 KiB, a quarter of SQLite's default (a positive
/// number would be of pages). The readers of all roles kept 59 MiB of pages between them, and
/// rankings of 100,000 accounts are no slower without.
const READER_CACHE: &str = "-512";
/// How long a read waits for a connection.
const READER_WAIT: Duration = Duration::from_secs(10);
/// Rows that a connection's thread reads before they are taken: a page of a listing, so that it
/// does not wait for who takes them, and each does not wake the other again and again.
const ROWS_AHEAD: usize = 1000;
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 256;
/// The log file is cut back to this size, in bytes, once it has been written into the database.
const LOG_BYTES_KEPT: &str = "67108864";

/// Pages of the log after which it is written into the database: 16 MiB of 4 KiB pages. Four times
/// SQLite's default, since a page that is written often is then copied once instead of four times,
/// and the caller who happens to trigger it waits for it.
const CHECKPOINT_PAGES: &str = "4096";

/// What [`open`] returns: the writing connection, how to make another, and the readers.
pub(crate) struct Opened {
    pub(crate) writer: SqliteConnection,
    pub(crate) options: SqliteConnectOptions,
    pub(crate) readers: SqlitePool,
}

/// Opens or creates the file, refuses what must not be touched, and applies migrations.
pub(crate) async fn open(path: &Path, migrator: &Migrator) -> Result<Opened, OpenError> {
    touch(path)?;
    refuse_newer(path, migrator).await?;
    let options = base(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
    let failed = |error| OpenError::of(place(path), error);
    let mut writer = options.connect().await.map_err(failed)?;
    migrator
        .run_direct(None, &mut writer, false)
        .await
        .map_err(|error| OpenError::of_migration(place(path), migrator, error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .min_connections(0)
        .acquire_timeout(READER_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(base(path).read_only(true).pragma("cache_size", READER_CACHE))
        .await
        .map_err(failed)?;
    Ok(Opened { writer, options, readers })
}

/// Refuses what [`open`] would refuse without writing to it; an absent or empty file is good.
pub(crate) async fn check(path: &Path, migrator: &Migrator) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > 0 => refuse_newer(path, migrator).await,
        _ => Ok(()),
    }
}

/// A connection beside all others, to a file that is there.
pub(crate) async fn alone(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    base(path).connect().await
}

/// A database that ends with its connection.
pub(crate) async fn in_memory() -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().in_memory(true).connect().await
}

pub(crate) fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(ROWS_AHEAD)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1))
        .log_statements(tracing::log::LevelFilter::Off)
}

/// Makes an empty file that only its owner can read; its log files inherit the mode. Finds out
/// early whether the folder can be written.
pub(crate) fn touch(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(OpenError::NotWritable { place: place(path), source: error.into() }),
    }
}

/// Reads which migrations were applied before anything that writes is done.
async fn refuse_newer(path: &Path, migrator: &Migrator) -> Result<(), OpenError> {
    let failed = |error| OpenError::of(place(path), error);
    let mut probe = base(path).connect().await.map_err(failed)?;
    let migrated: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_optional(&mut probe)
            .await
            .map_err(failed)?;
    if migrated.is_some() {
        let applied: Vec<(i64,)> =
            sqlx::query_as("SELECT version FROM _sqlx_migrations ORDER BY version DESC")
                .fetch_all(&mut probe)
                .await
                .map_err(failed)?;
        if let Some((version,)) = applied.iter().find(|(v,)| !migrator.version_exists(*v)) {
            return Err(OpenError::newer(place(path), migrator, *version));
        }
    }
    probe.close().await.map_err(failed)
}

pub(crate) fn place(path: &Path) -> String {
    path.display().to_string()
}
