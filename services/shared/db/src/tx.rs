//! A transaction.

use crate::args::Args;
use crate::db::{Query, Row};
use crate::error::Error;
use crate::writer::Lease;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::sync::Arc;
use tokio::sync::Notify;

/// A transaction that may write. Dropping it undoes it.
///
/// After a statement has failed, or its future was dropped before it was done, every further
/// statement and [`Tx::commit`] return an error: the transaction can only be dropped.
pub struct Tx {
    lease: Lease,
    notify: Vec<Arc<Notify>>,
    /// A statement is running, was cancelled or has failed.
    is_spoilt: bool,
}

impl Tx {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease, notify: Vec::new(), is_spoilt: false }
    }

    /// Runs a statement; returns how many rows it changed.
    ///
    /// # Errors
    /// - [`Error::UniqueViolation`]: a row with such a key is there already.
    /// - [`Error::Full`], [`Error::Unavailable`], [`Error::Other`]
    pub async fn execute(&mut self, sql: &'static str, args: Args) -> Result<u64, Error> {
        self.run_execute(sql.into_sql_str(), args).await
    }

    /// As [`Tx::execute`], for a statement that the program built from parts of its own.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn execute_built(&mut self, sql: String, args: Args) -> Result<u64, Error> {
        self.run_execute(AssertSqlSafe(sql).into_sql_str(), args).await
    }

    /// Returns all rows, of a query or of a statement with `RETURNING`.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_all<T: Row>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> Result<Vec<T>, Error> {
        self.run_fetch(sql.into_sql_str(), args).await
    }

    /// As [`Tx::fetch_all`], for a text that the program built from parts of its own.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_all_built<T: Row>(
        &mut self,
        sql: String,
        args: Args,
    ) -> Result<Vec<T>, Error> {
        self.run_fetch(AssertSqlSafe(sql).into_sql_str(), args).await
    }

    /// Returns the first row, if there is one.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    pub async fn fetch_optional<T: Row>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> Result<Option<T>, Error> {
        let rows = self.fetch_all(sql, args).await?;
        Ok(rows.into_iter().next())
    }

    /// Returns the first row.
    ///
    /// # Errors
    /// - [`Error::RowNotFound`]: there is none. The transaction may go on.
    /// - as [`Tx::execute`]
    pub async fn fetch_one<T: Row>(&mut self, sql: &'static str, args: Args) -> Result<T, Error> {
        self.fetch_optional(sql, args).await?.ok_or(Error::RowNotFound)
    }

    /// Wakes `notify` when, and only when, this transaction has been committed.
    pub fn notify_after_commit(&mut self, notify: Arc<Notify>) {
        self.notify.push(notify);
    }

    /// Commits. Returns when the transaction is on disk. If this future is dropped, the
    /// transaction is committed all the same, unless the commit fails.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Unavailable`], [`Error::Other`]: nothing of it was stored.
    pub async fn commit(self) -> Result<(), Error> {
        self.check()?;
        self.lease.commit(self.notify).await
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_spoilt {
            let why = "a statement of the transaction failed or was cancelled before";
            return Err(Error::Other { source: why.into() });
        }
        Ok(())
    }

    async fn run_execute(&mut self, sql: sqlx::SqlStr, args: Args) -> Result<u64, Error> {
        self.check()?;
        self.is_spoilt = true;
        let args = args.for_sqlite(sql.as_str())?;
        let done = sqlx::query_with(sql, args).execute(self.lease.connection()?).await?;
        self.is_spoilt = false;
        Ok(done.rows_affected())
    }

    async fn run_fetch<T: Row>(&mut self, sql: sqlx::SqlStr, args: Args) -> Result<Vec<T>, Error> {
        self.check()?;
        self.is_spoilt = true;
        let args = args.for_sqlite(sql.as_str())?;
        let rows = sqlx::query_as_with(sql, args).fetch_all(self.lease.connection()?).await?;
        self.is_spoilt = false;
        Ok(rows)
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("is_spoilt", &self.is_spoilt).finish_non_exhaustive()
    }
}

impl Query for Tx {
    async fn fetch_all<T: Row>(&mut self, sql: &'static str, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(sql.into_sql_str(), args).await
    }

    async fn fetch_all_built<T: Row>(&mut self, sql: String, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(AssertSqlSafe(sql).into_sql_str(), args).await
    }
}
