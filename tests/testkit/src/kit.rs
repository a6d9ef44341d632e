//! The whole server in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use stowage::config::{Config, Gateway, S3};
use stowage::server::Server;
use stowage_auth::PrincipalRole;
use stowage_runtime::telemetry::{self, LogFormat};
use stowage_types::ExposeSecret as _;
use tempfile::TempDir;

use crate::{RoleDoors, Signers, Site, eventually};

/// How long work that was begun may take to end once nobody asks for more.
const WORK_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Counts what is left to do in a role's database, and what was given up on.
const LEFT_IN_OUTBOX: &str = "SELECT count(*) FROM outbox";
const LEFT_IN_SAGAS: &str = "SELECT count(*) FROM saga WHERE status IN ('running', 'stuck')";

/// The whole server in this process, on a folder and ports of its own.
///
/// It goes through the same start as the program; only the reading of the environment and the
/// signals are left out.
#[derive(Debug)]
pub struct Kit {
    server: Server,
    folder: TempDir,
    /// Ready for calls.
    pub site: Site,
}

impl Kit {
    /// Starts a server on an empty folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a server with settings of the test's own.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        // A test that fails shows what the server had to say.
        telemetry::init_log("warn", LogFormat::Text).expect("a level is a filter");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config {
            data_dir: folder.path().join("data"),
            gateway: Gateway { addr: any_port, ..Gateway::default() },
            s3: S3 { addr: any_port, ..S3::default() },
            ..Config::default()
        };
        change(&mut config);
        let server = Server::start(config).await.expect("the server starts");
        let token = server.admin_token().expose_secret().to_owned();
        let site = Site::new(server.gateway_addr(), server.s3_addr(), token);
        Self { server, folder, site }
    }

    /// A token of the provider's support. No call makes one yet, so it is written beside the
    /// server, as an operator would do it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn staff_token(&self) -> String {
        let token = "5afe".repeat(16);
        self.write_token(&token, PrincipalRole::Staff, ("", None)).await;
        token
    }

    /// Writes a token beside the server: one that is good from `address` alone (empty: from any),
    /// until `end`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn write_token(
        &self,
        token: &str,
        role: PrincipalRole,
        (address, end): (&str, Option<&str>),
    ) {
        const SQL: &str = "INSERT INTO token (token_hash, role, subject, fixed_address, \
            create_time, expire_time) \
            VALUES ($1, $2, 'support', $3, '2026-01-01T00:00:00.000000Z', $4)";
        let path = self.server.data_dir().join("accounts.db");
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(WORK_ENDS_WITHIN);
        let connection = options.disable_statement_logging().connect().await;
        let mut connection = connection.expect("the database can be opened");
        let insert = sqlx::query(SQL)
            .bind(stowage_auth::hash_token(token).bytes().to_vec())
            .bind(i32::from(role))
            .bind(address)
            .bind(end);
        insert.execute(&mut connection).await.expect("a token is written");
        connection.close().await.expect("the database can be closed");
    }

    /// Opens each role's own door, past the gateway.
    ///
    /// # Panics
    /// When a port cannot be opened.
    pub async fn role_doors(&self) -> RoleDoors {
        RoleDoors::open(&self.server).await
    }

    /// What signs as this server does, and in other ways.
    ///
    /// # Panics
    /// When the server's key cannot be read.
    #[must_use]
    pub fn signers(&self) -> Signers {
        Signers::of(&self.server)
    }

    /// Waits until work that was begun has ended: no event is on its way, no order half-done.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn settle(&self) {
        eventually("all work ends", WORK_ENDS_WITHIN, async || nothing_is_left(&self.server).await)
            .await;
    }

    /// Waits until all work has ended, stops the server as SIGTERM does, and checks that no part
    /// had failed.
    ///
    /// # Panics
    /// When events or orders are left undelivered or undone, or a part ended that should not have.
    pub async fn stop(self) {
        let Self { mut server, folder, site } = self;
        // Kept connections would be waited for.
        drop(site);
        eventually("all work ends", WORK_ENDS_WITHIN, async || nothing_is_left(&server).await)
            .await;
        let failed = tokio::time::timeout(Duration::ZERO, server.failed()).await;
        assert!(failed.is_err(), "a part ended: {failed:?}");
        server.stop().await;
        drop(folder);
    }
}

async fn nothing_is_left(server: &Server) -> Result<(), String> {
    for (role, query) in [
        ("accounts", LEFT_IN_SAGAS),
        ("accounts", LEFT_IN_OUTBOX),
        ("storage", LEFT_IN_OUTBOX),
        ("billing", LEFT_IN_OUTBOX),
        ("metering", LEFT_IN_OUTBOX),
    ] {
        let path = server.data_dir().join(format!("{role}.db"));
        match count(&path, query).await {
            Ok(0) => {}
            Ok(count) => return Err(format!("{role}: {query}: {count}")),
            Err(error) => return Err(format!("{role}: {query}: {error}")),
        }
    }
    Ok(())
}

/// Reads beside the server: SQLite keeps readers and the writer apart.
async fn count(path: &Path, query: &'static str) -> Result<i64, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.disable_statement_logging().connect().await?;
    let count = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(count)
}
