//! What can go wrong, by what a caller does about it.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgDatabaseError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A statement, or a commit, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already.
    #[error("unique constraint {constraint} violated")]
    UniqueViolation {
        /// `table.column`, or `table.a, table.b`, or the name of an index on an expression.
        constraint: String,
    },
    /// The disk is full. Nothing of the transaction was stored.
    #[error("the disk of the database is full")]
    Full,
    /// The database is busy or closed; later may be better.
    #[error("the database is unavailable: {why}")]
    Unavailable {
        /// What it is busy with.
        why: &'static str,
        /// What the driver said, if it was asked.
        source: Option<BoxError>,
    },
    /// The connection was lost while a commit was under way: it may have happened or not. Only
    /// [`Tx::commit`](crate::Tx::commit) says so. Whoever asks again must first look whether his
    /// work is there already.
    #[error("it is not known whether the transaction was stored")]
    Unclear {
        /// What the driver said, if anything.
        source: Option<BoxError>,
    },
    /// A text among the arguments holds the character NUL. PostgreSQL has no such texts, and what
    /// one database takes the other must take too. Nothing was executed.
    #[error("a text holds the character NUL (U+0000)")]
    Nul,
    /// [`fetch_one`](crate::Query::fetch_one) found no row.
    #[error("no row found")]
    RowNotFound,
    /// A mistake in a statement, or damage.
    #[error("the database failed")]
    Other {
        /// What the driver said.
        source: BoxError,
    },
}

impl Error {
    /// Whether this is a violation of the unique constraint on `constraint`, such as
    /// `customer.email`.
    #[must_use]
    pub fn is_unique(&self, constraint: &str) -> bool {
        matches!(self, Self::UniqueViolation { constraint: of } if of == constraint)
    }

    pub(crate) fn unavailable(why: &'static str) -> Self {
        Self::Unavailable { why, source: None }
    }

    /// The same again, for every transaction of a batch.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::UniqueViolation { constraint } => {
                Self::UniqueViolation { constraint: constraint.clone() }
            }
            Self::Full => Self::Full,
            Self::Nul => Self::Nul,
            Self::RowNotFound => Self::RowNotFound,
            Self::Unavailable { why, source } => Self::Unavailable {
                why,
                source: source.as_ref().map(|source| source.to_string().into()),
            },
            Self::Unclear { source } => {
                Self::Unclear { source: source.as_ref().map(|source| source.to_string().into()) }
            }
            Self::Other { source } => Self::Other { source: source.to_string().into() },
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = match &error {
            sqlx::Error::RowNotFound => return Self::RowNotFound,
            sqlx::Error::PoolTimedOut => "busy",
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "closed",
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                "the connection was lost"
            }
            sqlx::Error::Database(database) => {
                return match database.try_downcast_ref::<PgDatabaseError>() {
                    Some(of) if of.code() == UNIQUE_VIOLATION => {
                        Self::UniqueViolation { constraint: violated(of) }
                    }
                    Some(_) => Self::of_postgres(error),
                    None => Self::of_sqlite(error),
                };
            }
            _ => return Self::Other { source: error.into() },
        };
        Self::Unavailable { why: unavailable, source: Some(error.into()) }
    }
}

impl Error {
    fn of_sqlite(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(SQLITE_FULL) => Self::Full,
            Some(SQLITE_BUSY | SQLITE_LOCKED) => {
                Self::Unavailable { why: "locked", source: Some(error.into()) }
            }
            Some(SQLITE_IOERR) => {
                Self::Unavailable { why: "input or output failed", source: Some(error.into()) }
            }
            _ => match unique_constraint(&error) {
                Some(constraint) => Self::UniqueViolation { constraint },
                None => Self::Other { source: error.into() },
            },
        }
    }

    fn of_postgres(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        let why = match code.unwrap_or_default().as_ref() {
            DISK_FULL => return Self::Full,
            "40001" | "40P01" => "another transaction was in the way",
            "55P03" => "locked",
            "57014" => "a statement took too long",
            "53200" | "53300" | "53400" => "the server has too much to do",
            code if is_lost(code) => "the connection was lost",
            _ => return Self::Other { source: error.into() },
        };
        Self::Unavailable { why, source: Some(error.into()) }
    }

    /// What a failed `COMMIT` says: without an answer of the server nobody knows.
    pub(crate) fn of_commit(error: sqlx::Error) -> Self {
        let is_answered = match &error {
            sqlx::Error::Database(database) => database.code().is_some_and(|code| !is_lost(&code)),
            _ => false,
        };
        if is_answered { error.into() } else { Self::Unclear { source: Some(error.into()) } }
    }
}

// Source: PostgreSQL's manual, appendix "PostgreSQL Error Codes".
const UNIQUE_VIOLATION: &str = "23505";
const DISK_FULL: &str = "53100";

/// Whether the server ends the connection, or has none to give: it goes down, comes up, or the
/// session was idle in a transaction for too long.
fn is_lost(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
}

/// Names what was violated as SQLite does. The detail is `Key (a, b)=(1, 2) already exists.`, in
/// the server's language; for an index on expressions the columns are no names.
fn violated(error: &PgDatabaseError) -> String {
    let columns = error
        .detail()
        .and_then(|detail| detail.split_once('('))
        .and_then(|(_, rest)| rest.split_once(")=("))
        .map(|(columns, _)| columns.replace('"', ""));
    let is_name = |column: &str| column.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match (error.table(), columns) {
        (Some(table), Some(columns)) if columns.split(", ").all(is_name) => columns
            .split(", ")
            .map(|column| format!("{table}.{column}"))
            .collect::<Vec<_>>()
            .join(", "),
        _ => error.constraint().unwrap_or_default().to_owned(),
    }
}

// Source: sqlite.org, "Result and Error Codes"; the primary code is the low byte.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_READONLY: u32 = 8;
const SQLITE_IOERR: u32 = 10;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;
const SQLITE_NOTADB: u32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Takes the constraint from SQLite's text: `UNIQUE constraint failed: customer.email`, or for
/// an index on expressions `UNIQUE constraint failed: index 'customer_email_lower'`.
fn unique_constraint(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    if !error.is_unique_violation() {
        return None;
    }
    let (_, named) = error.message().split_once("failed: ")?;
    let index = named.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\''));
    Some(index.unwrap_or(named).to_owned())
}

/// The database could not be opened. Nothing was changed. `place` is a file, or a schema and its
/// server; never a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be written, or the server grants no right to.
    #[error("{place} cannot be written: {source}")]
    NotWritable {
        /// The database.
        place: String,
        /// What the system or the driver said.
        source: BoxError,
    },
    /// The file is something else, or damaged.
    #[error("{place} is not a database, or is damaged: {source}")]
    NotADatabase {
        /// The file.
        place: String,
        /// What the driver said.
        source: BoxError,
    },
    /// A newer program has changed the tables; this one must not touch them.
    #[error(
        "{place} was written by a newer version of this program (it has migration {version}, \
         this program knows up to {known})"
    )]
    Newer {
        /// The database.
        place: String,
        /// The migration that this program does not know.
        version: i64,
        /// The last migration that this program knows.
        known: i64,
    },
    /// The address of the server is none.
    #[error("the database's address is not of the form postgres://user:password@host/database")]
    BadAddress,
    /// The server does not answer, or does not let us in.
    #[error("{place} cannot be reached: {source}")]
    Unreachable {
        /// The schema and its server.
        place: String,
        /// What the driver said.
        source: BoxError,
    },
    /// Something else, such as a migration that fails or was edited after it had been applied.
    #[error("{place} cannot be opened: {source}")]
    Other {
        /// The database.
        place: String,
        /// What the driver said.
        source: BoxError,
    },
}

impl OpenError {
    pub(crate) fn of(place: String, error: sqlx::Error) -> Self {
        let source = error;
        match &source {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                return Self::Unreachable { place, source: source.into() };
            }
            sqlx::Error::Database(database)
                if database.try_downcast_ref::<PgDatabaseError>().is_some() =>
            {
                return Self::of_postgres(place, source);
            }
            _ => {}
        }
        match primary_code(&source) {
            Some(SQLITE_READONLY | SQLITE_CANTOPEN) => {
                Self::NotWritable { place, source: source.into() }
            }
            Some(SQLITE_NOTADB | SQLITE_CORRUPT) => {
                Self::NotADatabase { place, source: source.into() }
            }
            _ => Self::Other { place, source: source.into() },
        }
    }

    fn of_postgres(place: String, error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        let code = code.unwrap_or_default().into_owned();
        let source = error.into();
        match code.as_str() {
            // No right to the schema, or a server that only reads.
            "42501" | "25006" => Self::NotWritable { place, source },
            // A wrong name or password; no such database; too many connections.
            "28000" | "28P01" | "3D000" | "53300" => Self::Unreachable { place, source },
            code if is_lost(code) => Self::Unreachable { place, source },
            _ => Self::Other { place, source },
        }
    }

    /// That the tables have a migration that the program does not know.
    pub(crate) fn newer(place: String, migrator: &Migrator, version: i64) -> Self {
        let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
        Self::Newer { place, version, known }
    }

    pub(crate) fn of_migration(place: String, migrator: &Migrator, error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::newer(place, migrator, version),
            MigrateError::Execute(error) => Self::of(place, error),
            other => Self::Other { place, source: other.into() },
        }
    }
}
