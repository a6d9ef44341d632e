//! The handle that everybody holds.

use crate::args::Args;
use crate::error::{Error, OpenError};
use crate::open::{Opened, check, open};
use crate::postgres::{self, Server, Session};
use crate::trace;
use crate::tx::{On, Tx};
use crate::writer::{self, Lease, Wish};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Transactions that may wait for the writer.
const WAITERS_MAX: usize = 10_000;
/// How long one of them waits.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The kinds of databases, as the semantic conventions call them.
pub(crate) const SQLITE: &str = "sqlite";
pub(crate) const POSTGRES: &str = "postgresql";

/// What a row can be read into: a tuple, or a private struct that derives `sqlx::FromRow`.
pub trait Row: OfSqlite + OfPostgres + Send + Unpin {}

impl<T: OfSqlite + OfPostgres + Send + Unpin> Row for T {}

/// What can be read from SQLite.
pub trait OfSqlite: for<'r> FromRow<'r, SqliteRow> {}

impl<T: for<'r> FromRow<'r, SqliteRow>> OfSqlite for T {}

/// What can be read from PostgreSQL.
pub trait OfPostgres: for<'r> FromRow<'r, PgRow> {}

impl<T: for<'r> FromRow<'r, PgRow>> OfPostgres for T {}

/// The database of a role. Cheap to clone.
#[derive(Clone)]
pub struct Db(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(Sqlite),
    Postgres(PgPool),
}

#[derive(Clone)]
struct Sqlite {
    readers: SqlitePool,
    wishes: mpsc::Sender<Wish>,
}

impl Db {
    /// Says whether [`Db::open`] would refuse the file as it is, and changes nothing. With several
    /// databases, check all before opening the first.
    ///
    /// # Errors
    /// [`OpenError::NotADatabase`], [`OpenError::Newer`], [`OpenError::Other`].
    pub async fn check(path: &Path, migrator: &'static Migrator) -> Result<(), OpenError> {
        check(path, migrator).await
    }

    /// Opens the file, creating it if absent (its folder must be there), and applies the
    /// migrations it lacks. Needs a tokio runtime: the writer runs on it as a task.
    ///
    /// # Errors
    /// - [`OpenError::NotWritable`]: the folder or file.
    /// - [`OpenError::NotADatabase`]: the file is something else, or damaged.
    /// - [`OpenError::Newer`]: a newer program was here; nothing was changed.
    /// - [`OpenError::Other`]
    pub async fn open(path: &Path, migrator: &'static Migrator) -> Result<Self, OpenError> {
        let Opened { writer, options, readers } = open(path, migrator).await?;
        let (wishes, receiver) = mpsc::channel(WAITERS_MAX);
        tokio::spawn(writer::run(writer, options, receiver));
        Ok(Self(Kind::Sqlite(Sqlite { readers, wishes })))
    }

    /// Opens a schema of a PostgreSQL server, creating it if absent, and applies the migrations it
    /// lacks: one process at a time, also of several that start together.
    ///
    /// # Errors
    /// As [`Server::migrate`].
    pub async fn connect(
        server: &Server,
        schema: &str,
        migrator: &Migrator,
    ) -> Result<Self, OpenError> {
        server.migrate(schema, migrator).await?;
        Ok(Self(Kind::Postgres(server.pool(schema))))
    }

    /// Whether no other process can have this database open: it is a file. Then what another
    /// process has claimed was claimed by a dead one.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        matches!(self.0, Kind::Sqlite(_))
    }

    /// Whether it is PostgreSQL, for the named hot spots that have a text of their own there.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Kind::Postgres(_))
    }

    /// Begins a transaction that may write: on SQLite after those that asked before, on PostgreSQL
    /// beside them.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: too many wait, or this one waited ten seconds, or closed.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let span = trace::statement(self.system(), "BEGIN");
        let on = match &self.0 {
            Kind::Sqlite(sqlite) => sqlite.lease().await.map(On::Sqlite),
            Kind::Postgres(pool) => Session::begin(pool).await.map(On::Postgres),
        };
        trace::ended(span, on).map(Tx::new)
    }

    fn system(&self) -> &'static str {
        match &self.0 {
            Kind::Sqlite(_) => SQLITE,
            Kind::Postgres(_) => POSTGRES,
        }
    }

    /// Waits for the transactions that are queued or open, then closes the file or the connections.
    /// Calls after it return [`Error::Unavailable`].
    pub async fn close(&self) {
        match &self.0 {
            Kind::Postgres(pool) => pool.close().await,
            Kind::Sqlite(sqlite) => sqlite.close().await,
        }
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// As [`Db::fetch_all`].
    pub async fn ping(&self) -> Result<(), Error> {
        if let Kind::Sqlite(sqlite) = &self.0
            && sqlite.wishes.is_closed()
        {
            return Err(Error::unavailable("closed"));
        }
        let _: (i64,) = self.fetch_one("SELECT CAST(1 AS bigint)", Args::new()).await?;
        Ok(())
    }

    /// Returns all rows of a query over committed data.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Other`]
    pub async fn fetch_all<T: Row>(&self, sql: &'static str, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(sql.into_sql_str(), args).await
    }

    /// As [`Db::fetch_all`], for a text that the program built from parts of its own.
    ///
    /// # Errors
    /// As [`Db::fetch_all`].
    pub async fn fetch_all_built<T: Row>(&self, sql: String, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(AssertSqlSafe(sql).into_sql_str(), args).await
    }

    /// Returns the first row, if there is one.
    ///
    /// # Errors
    /// As [`Db::fetch_all`].
    pub async fn fetch_optional<T: Row>(
        &self,
        sql: &'static str,
        args: Args,
    ) -> Result<Option<T>, Error> {
        let rows = self.fetch_all(sql, args).await?;
        Ok(rows.into_iter().next())
    }

    /// Returns the first row.
    ///
    /// # Errors
    /// - [`Error::RowNotFound`]: there is none.
    /// - as [`Db::fetch_all`]
    pub async fn fetch_one<T: Row>(&self, sql: &'static str, args: Args) -> Result<T, Error> {
        self.fetch_optional(sql, args).await?.ok_or(Error::RowNotFound)
    }

    async fn run_fetch<T: Row>(&self, sql: sqlx::SqlStr, args: Args) -> Result<Vec<T>, Error> {
        let span = trace::statement(self.system(), sql.as_str());
        trace::ended(span, self.fetch_now(sql, args).await)
    }

    async fn fetch_now<T: Row>(&self, sql: sqlx::SqlStr, args: Args) -> Result<Vec<T>, Error> {
        args.check(sql.as_str())?;
        match &self.0 {
            Kind::Sqlite(sqlite) => {
                let query = sqlx::query_as_with(sql, args.for_sqlite()?);
                Ok(query.fetch_all(&sqlite.readers).await?)
            }
            Kind::Postgres(pool) => postgres::fetch(pool, sql, args).await,
        }
    }
}

impl Sqlite {
    /// Queues for the writing connection.
    async fn lease(&self) -> Result<Lease, Error> {
        let (waiter, lease) = oneshot::channel();
        self.wishes.try_send(Wish::Write(waiter)).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable("busy"),
            TrySendError::Closed(_) => Error::unavailable("closed"),
        })?;
        match tokio::time::timeout(WAIT_MAX, lease).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(_)) => Err(Error::unavailable("closed")),
            Err(_) => Err(Error::unavailable("busy")),
        }
    }

    async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        self.readers.close().await;
        if self.wishes.send(Wish::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").finish_non_exhaustive()
    }
}

/// What reads: `&Db` (committed data) or [`Tx`] (also its own changes), for functions that take
/// either: `async fn find(mut from: impl Query, …)`, called as `find(&db)` and `find(&mut tx)`.
pub trait Query: Send {
    /// Returns all rows.
    ///
    /// # Errors
    /// As [`Tx::fetch_all`].
    fn fetch_all<T: Row>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// As [`Query::fetch_all`], for a text that the program built from parts of its own.
    ///
    /// # Errors
    /// As [`Tx::fetch_all`].
    fn fetch_all_built<T: Row>(
        &mut self,
        sql: String,
        args: Args,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// Returns the first row, if there is one.
    ///
    /// # Errors
    /// As [`Tx::fetch_all`].
    fn fetch_optional<T: Row>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        let rows = self.fetch_all(sql, args);
        async move { Ok(rows.await?.into_iter().next()) }
    }

    /// Returns the first row.
    ///
    /// # Errors
    /// - [`Error::RowNotFound`]: there is none.
    /// - as [`Tx::fetch_all`]
    fn fetch_one<T: Row>(
        &mut self,
        sql: &'static str,
        args: Args,
    ) -> impl Future<Output = Result<T, Error>> + Send {
        let row = self.fetch_optional(sql, args);
        async move { row.await?.ok_or(Error::RowNotFound) }
    }
}

impl Query for &Db {
    async fn fetch_all<T: Row>(&mut self, sql: &'static str, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(sql.into_sql_str(), args).await
    }

    async fn fetch_all_built<T: Row>(&mut self, sql: String, args: Args) -> Result<Vec<T>, Error> {
        self.run_fetch(AssertSqlSafe(sql).into_sql_str(), args).await
    }
}

impl<Q: Query> Query for &mut Q {
    async fn fetch_all<T: Row>(&mut self, sql: &'static str, args: Args) -> Result<Vec<T>, Error> {
        (**self).fetch_all(sql, args).await
    }

    async fn fetch_all_built<T: Row>(&mut self, sql: String, args: Args) -> Result<Vec<T>, Error> {
        (**self).fetch_all_built(sql, args).await
    }
}
