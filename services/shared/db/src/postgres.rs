//! PostgreSQL: connecting, migrating, and the connection that a transaction holds.
//!
//! Sessions read only unless they are in a [`Tx`](crate::Tx), as the readers of SQLite do. The
//! server gives up what it holds for a process that was lost: statements, waits for locks and idle
//! transactions have a bound there. Here every statement has one too, for a server that was lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, FromRow, Postgres, SqlStr};
use tokio::sync::Notify;

use crate::args::Args;
use crate::error::{Error, OpenError};

/// Connections of one role for each processor of this machine, unless set otherwise. With more the
/// slowest answers take longer, since the server's processes take turns: see the bench's rankings.
const CONNECTIONS_PER_CORE: usize = 2;
/// The least and the most that come of that.
const CONNECTIONS_LEAST: usize = 4;
const CONNECTIONS_MOST: usize = 16;
/// How long a caller waits for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is tried before it is used.
const TRIED_AFTER: Duration = Duration::from_secs(1);
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 256;
/// How long a caller waits for the answer to a statement: longer than the server works on one.
const ANSWER_MAX: Duration = Duration::from_secs(35);
/// How long undoing may take before the connection is closed instead.
const ROLLBACK_MAX: Duration = Duration::from_secs(10);

/// What a session is set to. Times in milliseconds, those of `tcp_` in seconds.
const SESSION: [(&str, &str); 9] = [
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "30000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "30000"),
    // No statement runs for so long that compiling it would be worth it.
    ("jit", "off"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// A server that was never told otherwise takes its disk for one that seeks, and would rather read
/// a table of some thousand rows than fifty of them by their index.
const OF_SOLID_DISK: &str = "SELECT set_config('random_page_cost', '1.1', false) \
    WHERE current_setting('random_page_cost') = '4'";

/// The same for a session that migrates: it may take long, and waits for others who do.
const MIGRATION: [(&str, &str); 5] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "600000"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// The same for a session that copies a whole installation.
const COPY: [(&str, &str); 7] = [
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "0"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "0"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Gives every text column the byte order that SQLite has, unless the database's own order is that
/// already: pages of lists go by it. Run after each migration; touches new columns only.
const BYTE_ORDER: &str = "DO $$ DECLARE t record; BEGIN IF 'a' < 'B' THEN \
    FOR t IN SELECT c.relname, string_agg(format( \
            'ALTER COLUMN %I TYPE text COLLATE \"C\"', a.attname), ', ') AS changes \
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
        WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind = 'r' \
            AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = CAST('text' AS regtype) \
            AND a.attcollation = CAST('pg_catalog.\"default\"' AS regcollation) \
            AND c.relname <> '_sqlx_migrations' GROUP BY c.relname \
    LOOP EXECUTE format('ALTER TABLE %I %s', t.relname, t.changes); END LOOP; END IF; END $$";

/// Connections of one role where none are set: twice this machine's processors, 4 to 16.
#[must_use]
pub fn connections_default() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections = (cores * CONNECTIONS_PER_CORE).clamp(CONNECTIONS_LEAST, CONNECTIONS_MOST);
    u32::try_from(connections).unwrap_or(u32::MAX)
}

/// A database of a PostgreSQL server. It holds a schema for each role. Cheap to clone; does not
/// print its password.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    connections_max: u32,
}

impl Server {
    /// Reads an address, `postgres://user:password@host:port/database?sslmode=…`, and connects to
    /// nothing yet.
    ///
    /// # Errors
    /// [`OpenError::BadAddress`]
    pub fn new(url: &str) -> Result<Self, OpenError> {
        let is_known = ["postgres://", "postgresql://"].iter().any(|start| url.starts_with(start));
        let options: PgConnectOptions = match is_known.then(|| url.parse()) {
            Some(Ok(options)) => options,
            _ => return Err(OpenError::BadAddress),
        };
        let options = options
            .statement_cache_capacity(STATEMENTS_KEPT)
            .log_statements(tracing::log::LevelFilter::Off)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
        Ok(Self { options, connections_max: connections_default() })
    }

    /// Bounds the connections of each role, at least 1. Default: [`connections_default`].
    #[must_use]
    pub fn with_connections_max(self, connections_max: u32) -> Self {
        Self { connections_max: connections_max.max(1), ..self }
    }

    /// Says whether [`Db::connect`](crate::Db::connect) would refuse the schema as it is, and
    /// changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`], [`OpenError::Newer`], [`OpenError::Other`]
    pub async fn check(&self, schema: &str, migrator: &Migrator) -> Result<(), OpenError> {
        let failed = |error| OpenError::of(self.place(schema), error);
        let mut probe = self.migrating(schema).connect().await.map_err(failed)?;
        let refused = self.refuse_newer(&mut probe, schema, migrator).await;
        let _ = probe.close().await;
        refused
    }

    /// Makes the schema if it is absent and applies the migrations it lacks, one process at a time.
    ///
    /// # Errors
    /// - [`OpenError::Unreachable`]: the server does not answer, or does not let us in.
    /// - [`OpenError::NotWritable`]: it grants no right to make the schema or its tables.
    /// - [`OpenError::Newer`]: a newer program was here; nothing was changed.
    /// - [`OpenError::Other`]
    pub async fn migrate(&self, schema: &str, migrator: &Migrator) -> Result<(), OpenError> {
        let failed = |error| OpenError::of(self.place(schema), error);
        let mut connection = self.migrating(schema).connect().await.map_err(failed)?;
        // The end of the connection lets go of the lock, whatever happens.
        let outcome = self.migrate_locked(&mut connection, schema, migrator).await;
        let _ = connection.close().await;
        outcome
    }

    async fn migrate_locked(
        &self,
        connection: &mut PgConnection,
        schema: &str,
        migrator: &Migrator,
    ) -> Result<(), OpenError> {
        let failed = |error| OpenError::of(self.place(schema), error);
        let lock = "SELECT pg_advisory_lock(hashtext('stowage migrates ' || $1))";
        sqlx::query(lock).bind(schema).execute(&mut *connection).await.map_err(failed)?;
        self.refuse_newer(connection, schema, migrator).await?;
        // Asked first, since even `IF NOT EXISTS` needs the right to make one.
        let present: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
                .bind(schema)
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
        if !present {
            let create = AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\""));
            sqlx::query(create).execute(&mut *connection).await.map_err(failed)?;
        }
        let migrated = migrator.run_direct(None, &mut *connection, false).await;
        migrated.map_err(|error| OpenError::of_migration(self.place(schema), migrator, error))?;
        sqlx::raw_sql(BYTE_ORDER).execute(&mut *connection).await.map_err(failed)?;
        Ok(())
    }

    async fn refuse_newer(
        &self,
        connection: &mut PgConnection,
        schema: &str,
        migrator: &Migrator,
    ) -> Result<(), OpenError> {
        let failed = |error| OpenError::of(self.place(schema), error);
        let table = format!("\"{schema}\"._sqlx_migrations");
        let present: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&table)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if !present {
            return Ok(());
        }
        let applied = AssertSqlSafe(format!("SELECT version FROM {table} ORDER BY version DESC"));
        let applied: Vec<i64> =
            sqlx::query_scalar(applied).fetch_all(&mut *connection).await.map_err(failed)?;
        match applied.iter().find(|version| !migrator.version_exists(**version)) {
            Some(version) => Err(OpenError::newer(self.place(schema), migrator, *version)),
            None => Ok(()),
        }
    }

    /// The connections of a role. None is made before it is needed.
    pub(crate) fn pool(&self, schema: &str) -> PgPool {
        let options = self.named(schema).options(SESSION).options([("search_path", schema)]);
        PgPoolOptions::new()
            .max_connections(self.connections_max)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_MAX)
            .test_before_acquire(false)
            .after_connect(|connection, _meta| {
                Box::pin(async move { connection.execute(OF_SOLID_DISK).await.map(drop) })
            })
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRIED_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options)
    }

    /// Where it is, without user and password: `database stowage at db.internal:5432`.
    #[must_use]
    pub fn shown(&self) -> String {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        format!("database {database} at {host}:{port}")
    }

    /// A connection for a long transaction over all schemas.
    pub(crate) async fn connect_to_copy(&self) -> Result<PgConnection, OpenError> {
        let connected = self.named("copy").options(COPY).connect().await;
        connected.map_err(|error| OpenError::of(self.place("copy"), error))
    }

    fn migrating(&self, schema: &str) -> PgConnectOptions {
        self.named(schema).options(MIGRATION).options([("search_path", schema)])
    }

    fn named(&self, schema: &str) -> PgConnectOptions {
        self.options.clone().application_name(&format!("stowage {schema}"))
    }

    fn place(&self, schema: &str) -> String {
        format!("schema {schema} of {}", self.shown())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

/// Returns all rows of a query over committed data.
pub(crate) async fn fetch<T>(pool: &PgPool, sql: SqlStr, args: Args) -> Result<Vec<T>, Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut connection = pool.acquire().await?;
    let rows = sqlx::query_as_with(sql, args.for_postgres()?).fetch_all(&mut *connection);
    match tokio::time::timeout(ANSWER_MAX, rows).await {
        Ok(rows) => Ok(rows?),
        Err(_) => {
            connection.close_on_drop();
            Err(Error::unavailable("no answer"))
        }
    }
}

/// A connection with a transaction on it. Dropping it undoes the transaction.
pub(crate) struct Session {
    /// `None` once the transaction has ended.
    connection: Option<PoolConnection<Postgres>>,
}

impl Session {
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self, Error> {
        let mut session = Self { connection: Some(pool.acquire().await?) };
        let begin = session.connection()?.execute("BEGIN READ WRITE");
        answered(begin).await?;
        Ok(session)
    }

    pub(crate) async fn execute(&mut self, sql: SqlStr, args: Args) -> Result<u64, Error> {
        let query = sqlx::query_with(sql, args.for_postgres()?);
        let done = answered(query.execute(self.connection()?)).await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn fetch<T>(&mut self, sql: SqlStr, args: Args) -> Result<Vec<T>, Error>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.fetch_with(sql, args.for_postgres()?).await
    }

    /// As [`Session::fetch`], with what is encoded already.
    pub(crate) async fn fetch_with<T>(
        &mut self,
        sql: SqlStr,
        args: PgArguments,
    ) -> Result<Vec<T>, Error>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        answered(sqlx::query_as_with(sql, args).fetch_all(self.connection()?)).await
    }

    /// Commits, also when nobody waits for it any more.
    pub(crate) async fn commit(self, notify: Vec<Arc<Notify>>) -> Result<(), Error> {
        let task = tokio::spawn(self.commit_alone(notify));
        task.await.unwrap_or_else(|error| Err(Error::Unclear { source: Some(error.into()) }))
    }

    async fn commit_alone(mut self, notify: Vec<Arc<Notify>>) -> Result<(), Error> {
        let commit = self.connection()?.execute("COMMIT");
        match tokio::time::timeout(ANSWER_MAX, commit).await {
            Ok(Ok(_)) => self.connection = None,
            Ok(Err(error)) => return Err(Error::of_commit(error)),
            Err(_) => return Err(Error::Unclear { source: None }),
        }
        for notify in notify {
            notify.notify_one();
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        let connection = self.connection.as_mut();
        connection.map(|c| &mut **c).ok_or_else(|| Error::unavailable("the transaction has ended"))
    }
}

/// Waits for what the server says, but not for ever.
async fn answered<T>(run: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER_MAX, run).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::unavailable("no answer")),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // Without a runtime the process is ending, and its connections with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let undone = tokio::time::timeout(ROLLBACK_MAX, connection.execute("ROLLBACK")).await;
            if !matches!(undone, Ok(Ok(_))) {
                connection.close_on_drop();
            }
        });
    }
}
