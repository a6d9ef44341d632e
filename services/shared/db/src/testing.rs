//! Databases for tests: each test has its own, and nothing of it stays.
//!
//! With `STOWAGE_TEST_DATABASE_URL` (of an administrator of a server for tests) they are databases
//! there; without it, files. So one suite proves both.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use crate::{Args, Db, OpenError, Server};
use sqlx::migrate::Migrator;

/// The address of the server for tests.
pub const URL: &str = "STOWAGE_TEST_DATABASE_URL";

/// Whether tests run on PostgreSQL.
#[must_use]
pub fn is_postgres() -> bool {
    server_url().is_some()
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn server_url() -> Option<String> {
    std::env::var(URL).ok()
}

/// A place for databases, of one test. Dropping it removes them.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    server: Option<Rented>,
}

/// What a test has of the server.
struct Rented {
    admin: PgConnectOptions,
    url: String,
    /// What schemas are called ahead of their role; empty: it is a database of its own.
    prefix: String,
    /// What removes it all, and more for each schema.
    removal: Mutex<Vec<String>>,
}

impl Scratch {
    /// Makes one. On PostgreSQL, databases are schemas of one that all tests share.
    ///
    /// # Panics
    /// When the folder cannot be made or the server does not answer.
    pub async fn new() -> Self {
        let server = match server_url() {
            Some(url) => Some(Rented::schemas(&url).await),
            None => None,
        };
        Self { server, ..Self::on_files() }
    }

    /// Makes one that has a database of the server to itself, in which schemas are called like
    /// their roles. Takes longer.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub async fn whole() -> Self {
        let server = match server_url() {
            Some(url) => Some(Rented::database(&url).await),
            None => None,
        };
        Self { server, ..Self::on_files() }
    }

    /// Makes one for files, whatever the tests run on.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn on_files() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        Self { folder, server: None }
    }

    /// A folder for files of the test's own; on SQLite it has the databases.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of its database, if it is on PostgreSQL.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.url.as_str())
    }

    /// The same, for a test of what only a server has.
    ///
    /// # Panics
    /// When the tests do not run on PostgreSQL.
    #[must_use]
    pub fn server_url(&self) -> &str {
        let url = self.url();
        url.expect("this test needs a server: run `cargo xtask test --only postgres`")
    }

    /// Opens a role's database; may be called again, as after a restart.
    ///
    /// # Errors
    /// As [`Db::open`] and [`Db::connect`].
    pub async fn open(&self, role: &str, migrator: &'static Migrator) -> Result<Db, OpenError> {
        match &self.server {
            Some(server) => {
                Db::connect(&Server::new(&server.url)?, &server.schema(role), migrator).await
            }
            None => Db::open(&self.folder().join(format!("{role}.db")), migrator).await,
        }
    }
}

/// How SQLite goes about a query, a line for each step: `SEARCH a USING COVERING INDEX ...`.
///
/// Of the connection that writes: a reader learns of a changed file when it reads, and a plan reads
/// nothing.
///
/// # Panics
/// When the query is none, or the database is not SQLite.
pub async fn plan_of(db: &Db, sql: &str, args: Args) -> Vec<String> {
    let mut tx = db.begin().await.expect("a transaction begins");
    let plan = tx.fetch_all_built(format!("EXPLAIN QUERY PLAN {sql}"), args).await;
    let plan: Vec<(i64, i64, i64, String)> = plan.expect("a query has a plan");
    plan.into_iter().map(|(.., step)| step).collect()
}

/// An order that is not that of bytes, as many servers have it.
const AS_OTHERS: &str =
    "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'";
/// The order of bytes: migrations have less to do.
const BY_BYTES: &str = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'";

/// The database whose schemas are tests.
const SHARED: &str = "stowage_tests_by_bytes";

impl Rented {
    async fn schemas(url: &str) -> Self {
        let admin: PgConnectOptions = url.parse().expect("an address of a server for tests");
        let shared = admin.clone().database(SHARED);
        if shared.connect().await.is_err() {
            // Whoever comes first makes it; then the others fail here.
            let _ = run(&admin, &[format!("CREATE DATABASE {SHARED} {BY_BYTES}")]).await;
        }
        let (url, prefix) = (with_database(url, SHARED), format!("{}_", unique()));
        run(&shared, &[]).await.expect("the server for tests answers");
        Self { admin: shared, url, prefix, removal: Mutex::default() }
    }

    async fn database(url: &str) -> Self {
        let admin: PgConnectOptions = url.parse().expect("an address of a server for tests");
        let name = unique();
        // A process with this number may have been killed before.
        let remove = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let create = format!("CREATE DATABASE {name} {AS_OTHERS}");
        run(&admin, &[remove.clone(), create]).await.expect("a database for a test can be made");
        let (url, removal) = (with_database(url, &name), Mutex::new(vec![remove]));
        Self { admin, url, prefix: String::new(), removal }
    }

    /// The name of a role's schema, which will be removed.
    fn schema(&self, role: &str) -> String {
        let name = format!("{}{role}", self.prefix);
        if !self.prefix.is_empty() {
            let mut removal = self.removal.lock().unwrap_or_else(PoisonError::into_inner);
            removal.push(format!("DROP SCHEMA IF EXISTS {name} CASCADE"));
        }
        name
    }
}

/// A name that no other test has.
#[expect(clippy::disallowed_methods, reason = "numbers of processes come again")]
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000;
    format!("test_{}_{n}_{}", std::process::id(), now % 1_000_000_000_000)
}

async fn run(on: &PgConnectOptions, statements: &[String]) -> Result<(), sqlx::Error> {
    let mut connection = on.connect().await?;
    for sql in statements {
        sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await?;
    }
    connection.close().await
}

/// The address with another database.
fn with_database(url: &str, name: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let start = path.rfind('/').unwrap_or(path.len());
    format!("{}/{name}?{query}", &path[..start])
}

impl Drop for Rented {
    /// In a thread of its own, since the test's runtime may be ending. Where it fails, the server's
    /// own end removes it.
    fn drop(&mut self) {
        let removal = self.removal.get_mut().unwrap_or_else(PoisonError::into_inner);
        let removal = std::mem::take(removal);
        // What a test left running must not keep its successor waiting.
        let admin = self.admin.clone().options([("lock_timeout", "2000")]);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let _ = runtime.block_on(run(&admin, &removal));
        });
        let _ = thread.join();
    }
}

impl std::fmt::Debug for Rented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rented").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
