//! A transaction.

use crate::args::Args;
use crate::db::{POSTGRES, Query, Row, SQLITE};
use crate::error::Error;
use crate::postgres::Session;
use crate::trace;
use crate::writer::Lease;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Either, Executor, SqlSafeStr, SqlStr};
use std::sync::Arc;
use tokio::sync::Notify;

mod put;

/// A transaction that may write. Dropping it undoes it.
///
/// After a statement has failed, or its future was dropped before it was done, every further
/// statement and [`Tx::commit`] return an error: the transaction can only be dropped.
pub struct Tx {
    on: On,
    /// What waits to run ahead of the next statement: texts and arguments.
    deferred: Vec<(&'static str, Args)>,
    notify: Vec<Arc<Notify>>,
    /// A statement is running, was cancelled or has failed.
    is_spoilt: bool,
}

/// What the transaction has of its database.
pub(crate) enum On {
    Sqlite(Lease),
    Postgres(Session),
}

impl On {
    fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => SQLITE,
            Self::Postgres(_) => POSTGRES,
        }
    }
}

impl Tx {
    pub(crate) fn new(on: On) -> Self {
        Self { on, deferred: Vec::new(), notify: Vec::new(), is_spoilt: false }
    }

    /// Whether it is of a PostgreSQL server, and not of an SQLite file.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.on, On::Postgres(_))
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
    /// - [`Error::Unclear`]: nobody knows whether it was stored.
    /// - [`Error::Full`], [`Error::Unavailable`], [`Error::Other`]: nothing of it was stored.
    pub async fn commit(self) -> Result<(), Error> {
        let span = trace::statement(self.on.system(), "COMMIT");
        trace::ended(span, self.commit_now().await)
    }

    async fn commit_now(mut self) -> Result<(), Error> {
        self.check()?;
        self.run_all_deferred().await?;
        match self.on {
            On::Sqlite(lease) => lease.commit(self.notify).await,
            On::Postgres(session) => session.commit(self.notify).await,
        }
    }

    async fn run_all_deferred(&mut self) -> Result<(), Error> {
        if let Some((sql, args)) = self.deferred.pop() {
            self.execute_now(sql.into_sql_str(), args).await?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_spoilt {
            let why = "a statement of the transaction failed or was cancelled before";
            return Err(Error::Other { source: why.into() });
        }
        Ok(())
    }

    async fn run_execute(&mut self, sql: SqlStr, args: Args) -> Result<u64, Error> {
        let span = trace::statement(self.on.system(), sql.as_str());
        trace::ended(span, self.execute_now(sql, args).await)
    }

    async fn execute_now(&mut self, sql: SqlStr, args: Args) -> Result<u64, Error> {
        self.check()?;
        self.is_spoilt = true;
        args.check(sql.as_str())?;
        let changed = match &mut self.on {
            On::Sqlite(lease) => {
                let (sql, args) = joined(lease, &mut self.deferred, sql, args)?;
                execute_on_sqlite(lease, sql, args).await?
            }
            On::Postgres(session) => {
                run_deferred(session, &mut self.deferred).await?;
                session.execute(sql, args).await?
            }
        };
        self.is_spoilt = false;
        Ok(changed)
    }

    async fn run_fetch<T: Row>(&mut self, sql: SqlStr, args: Args) -> Result<Vec<T>, Error> {
        let span = trace::statement(self.on.system(), sql.as_str());
        trace::ended(span, self.fetch_now(sql, args).await)
    }

    async fn fetch_now<T: Row>(&mut self, sql: SqlStr, args: Args) -> Result<Vec<T>, Error> {
        args.check(sql.as_str())?;
        self.fetch_unchecked(sql, args).await
    }

    async fn fetch_unchecked<T: Row>(&mut self, sql: SqlStr, args: Args) -> Result<Vec<T>, Error> {
        self.check()?;
        self.is_spoilt = true;
        let rows = match &mut self.on {
            On::Sqlite(lease) => {
                let (sql, args) = joined(lease, &mut self.deferred, without_locks(sql), args)?;
                let connection = lease.begin_statement()?;
                let rows = sqlx::query_as_with(sql, args).fetch_all(connection).await;
                lease.end_statement();
                rows?
            }
            On::Postgres(session) => {
                run_deferred(session, &mut self.deferred).await?;
                session.fetch(sql, args).await?
            }
        };
        self.is_spoilt = false;
        Ok(rows)
    }
}

async fn execute_on_sqlite(
    lease: &mut Lease,
    sql: SqlStr,
    args: SqliteArguments,
) -> Result<u64, Error> {
    let connection = lease.begin_statement()?;
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
    lease.end_statement();
    Ok(changed?)
}

/// Deferred statements of a transaction: texts and arguments.
type Deferred = Vec<(&'static str, Args)>;

/// Puts what opens the transaction, and what was deferred, ahead of a statement.
fn joined(
    lease: &Lease,
    deferred: &mut Deferred,
    sql: SqlStr,
    args: Args,
) -> Result<(SqlStr, SqliteArguments), Error> {
    if lease.opening().is_none() && deferred.is_empty() {
        return Ok((sql, args.for_sqlite()?));
    }
    let (mut text, mut all) = (String::new(), Args::new());
    if let Some(opening) = lease.opening() {
        text.push_str(opening);
        text.push_str("; ");
    }
    for (sql, args) in deferred.drain(..) {
        args.check(sql)?;
        all.follow(&mut text, sql, args);
        text.push_str("; ");
    }
    all.follow(&mut text, sql.as_str(), args);
    Ok((AssertSqlSafe(text).into_sql_str(), all.for_sqlite()?))
}

/// PostgreSQL takes one statement with arguments at a time.
async fn run_deferred(session: &mut Session, deferred: &mut Deferred) -> Result<(), Error> {
    for (sql, args) in deferred.drain(..) {
        args.check(sql)?;
        session.execute(sql.into_sql_str(), args).await?;
    }
    Ok(())
}

/// Ends of queries that lock what they read.
const LOCKS: [&str; 2] = [" FOR UPDATE", " FOR UPDATE SKIP LOCKED"];

/// The query as SQLite takes it. There a transaction is alone, so that there is nothing to lock.
fn without_locks(sql: SqlStr) -> SqlStr {
    let end = LOCKS.iter().find_map(|lock| sql.as_str().strip_suffix(lock)).map(str::len);
    match end {
        None => sql,
        Some(end) => AssertSqlSafe(sql.as_str()[..end].to_owned()).into_sql_str(),
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
