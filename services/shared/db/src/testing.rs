//! Databases for tests: each test has its own, and nothing of it stays.
//!
//! With `STOWAGE_TEST_DATABASE_URL` (of an administrator of a server for tests) they are databases
//! there; without it, files. So one suite proves both.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use crate::{Db, OpenError, Server};
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
    database: Option<Database>,
}

/// A database of the server for tests.
struct Database {
    admin: PgConnectOptions,
    name: String,
    url: String,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Panics
    /// When the folder or the database cannot be made.
    pub async fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let database = match server_url() {
            Some(url) => Some(Database::create(&url).await),
            None => None,
        };
        Self { folder, database }
    }

    /// Makes one for files, whatever the tests run on.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn on_files() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        Self { folder, database: None }
    }

    /// A folder for files of the test's own; on SQLite it has the databases.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of its database, if it is on PostgreSQL.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
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

    /// The file of a role's database, if it is on SQLite.
    #[must_use]
    pub fn file(&self, role: &str) -> PathBuf {
        self.folder.path().join(format!("{role}.db"))
    }

    /// Opens a role's database; may be called again, as after a restart.
    ///
    /// # Errors
    /// As [`Db::open`] and [`Db::connect`].
    pub async fn open(&self, role: &str, migrator: &'static Migrator) -> Result<Db, OpenError> {
        match self.url() {
            Some(url) => Db::connect(&Server::new(url)?, role, migrator).await,
            None => Db::open(&self.file(role), migrator).await,
        }
    }
}

impl Database {
    async fn create(url: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, n) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("test_{process}_{n}");
        let admin: PgConnectOptions = url.parse().expect("the address of the server for tests");
        let mut connection = admin.connect().await.expect("the server for tests answers");
        // An order that is not that of bytes, as servers have it. A process with this number may
        // have been killed before.
        for sql in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' \
                 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'"
            ),
        ] {
            let made = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await;
            made.expect("a database for a test can be made");
        }
        let _ = connection.close().await;
        let url = with_database(url, &name);
        Self { admin, name, url }
    }
}

/// The address with another database.
fn with_database(url: &str, name: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let start = path.rfind('/').unwrap_or(path.len());
    format!("{}/{name}?{query}", &path[..start])
}

impl Drop for Database {
    /// Drops it in a thread of its own: the test's runtime may be ending. Should that fail, the
    /// server's own end removes it.
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = self.admin.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                if let Ok(mut connection) = admin.connect().await {
                    let _ = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await;
                }
            });
        });
        let _ = thread.join();
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}
