//! What can go wrong, by what a caller does about it.

use std::path::PathBuf;

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
            Self::RowNotFound => Self::RowNotFound,
            Self::Unavailable { why, source } => Self::Unavailable {
                why,
                source: source.as_ref().map(|source| source.to_string().into()),
            },
            Self::Other { source } => Self::Other { source: source.to_string().into() },
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => return Self::RowNotFound,
            sqlx::Error::PoolTimedOut => {
                return Self::Unavailable { why: "too many readers", source: Some(error.into()) };
            }
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                return Self::Unavailable { why: "closed", source: Some(error.into()) };
            }
            _ => {}
        }
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

/// The database could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    NotWritable {
        /// The file of the database.
        path: PathBuf,
        /// What the system or the driver said.
        source: BoxError,
    },
    /// The file is something else, or damaged.
    #[error("{} is not a database, or is damaged: {source}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        source: BoxError,
    },
    /// A newer program has changed the tables; this one must not touch them.
    #[error(
        "{} was written by a newer version of this program (it has migration {version}, \
         this program knows up to {known})",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The migration that this program does not know.
        version: i64,
        /// The last migration that this program knows.
        known: i64,
    },
    /// Something else, such as a migration that fails or was edited after it had been applied.
    #[error("{} cannot be opened: {source}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        source: BoxError,
    },
}

impl OpenError {
    pub(crate) fn of(path: PathBuf, error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(SQLITE_READONLY | SQLITE_CANTOPEN) => {
                Self::NotWritable { path, source: error.into() }
            }
            Some(SQLITE_NOTADB | SQLITE_CORRUPT) => {
                Self::NotADatabase { path, source: error.into() }
            }
            _ => Self::Other { path, source: error.into() },
        }
    }
}
