//! A transaction.

use crate::args::Args;
use crate::db::{Query, Row};
use crate::error::Error;
use crate::writer::Lease;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Either, Executor, SqlSafeStr, SqlStr};
use std::sync::Arc;
use tokio::sync::Notify;

/// A transaction that may write. Dropping it undoes it.
///
/// After a statement has failed, or its future was dropped before it was done, every further
/// statement and [`Tx::commit`] return an error: the transaction can only be dropped.
pub struct Tx {
    lease: Lease,
    /// What waits to run ahead of the next statement: texts and arguments.
    deferred: Vec<(&'static str, Args)>,
    notify: Vec<Arc<Notify>>,
    /// A statement is running, was cancelled or has failed.
    is_spoilt: bool,
}

impl Tx {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease, deferred: Vec::new(), notify: Vec::new(), is_spoilt: false }
    }

    /// Runs a statement; returns how many rows it changed.
    ///
    /// # Errors
    /// - [`Error::UniqueViolation`]: a row with such a key is there already.
    /// - [`Error::Full`], [`Error::Unavailable`], [`Error::Other`]
    pub async fn execute(&mut self, sql: &'static str, args: Args) -> Result<u64, Error> {
        self.run_execute(sql.into_sql_str(), args).await
    }

    /// Runs a statement ahead of the next one, or of the commit: in one trip to the database where
    /// it can. For writes without `RETURNING` of which nobody needs the count. If it fails,
    /// what comes next fails with its error.
    pub fn defer(&mut self, sql: &'static str, args: Args) {
        self.deferred.push((sql, args));
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
    /// transaction is committed all the same, unless the commit fails or a deferred statement was
    /// still running.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Unavailable`], [`Error::Other`]: nothing of it was stored.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.check()?;
        if let Some((sql, args)) = self.deferred.pop() {
            self.run_execute(sql.into_sql_str(), args).await?;
        }
        self.lease.commit(self.notify).await
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_spoilt {
            let why = "a statement of the transaction failed or was cancelled before";
            return Err(Error::Other { source: why.into() });
        }
        Ok(())
    }

    async fn run_execute(&mut self, sql: SqlStr, args: Args) -> Result<u64, Error> {
        self.check()?;
        self.is_spoilt = true;
        let (sql, args) = self.joined(sql, args)?;
        let connection = self.lease.begin_statement()?;
        let run = async {
            let mut results = connection.fetch_many(sqlx::query_with(sql, args));
            let mut changed = 0;
            while let Some(result) = results.try_next().await? {
                // The last statement of the text is the one that is asked about.
                if let Either::Left(done) = result {
                    changed = done.rows_affected();
                }
            }
            Ok(changed)
        };
        let changed: Result<u64, sqlx::Error> = run.await;
        self.lease.end_statement();
        let changed = changed?;
        self.is_spoilt = false;
        Ok(changed)
    }

    async fn run_fetch<T: Row>(&mut self, sql: SqlStr, args: Args) -> Result<Vec<T>, Error> {
        self.check()?;
        self.is_spoilt = true;
        let (sql, args) = self.joined(sql, args)?;
        let connection = self.lease.begin_statement()?;
        let rows = sqlx::query_as_with(sql, args).fetch_all(connection).await;
        self.lease.end_statement();
        let rows = rows?;
        self.is_spoilt = false;
        Ok(rows)
    }

    /// Puts what opens the transaction, and what was deferred, ahead of a statement.
    fn joined(&mut self, sql: SqlStr, args: Args) -> Result<(SqlStr, SqliteArguments), Error> {
        args.check(sql.as_str())?;
        if self.lease.opening().is_none() && self.deferred.is_empty() {
            return Ok((sql, args.for_sqlite()?));
        }
        let (mut text, mut all) = (String::new(), Args::new());
        if let Some(opening) = self.lease.opening() {
            text.push_str(opening);
            text.push_str("; ");
        }
        for (sql, args) in self.deferred.drain(..) {
            args.check(sql)?;
            all.follow(&mut text, sql, args);
            text.push_str("; ");
        }
        all.follow(&mut text, sql.as_str(), args);
        Ok((AssertSqlSafe(text).into_sql_str(), all.for_sqlite()?))
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
