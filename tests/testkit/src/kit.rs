//! The whole server in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use stowage::config::{Config, Database, Gateway, S3};
use stowage::server::Server;
use stowage_auth::PrincipalRole;
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_runtime::telemetry::{self, LogFormat};
use stowage_types::ExposeSecret as _;

use crate::{Beside, RoleDoors, Signers, Site, eventually};

/// How long work that was begun may take to end once nobody asks for more.
const WORK_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Counts what is left to do in a role's database, and what was given up on.
const LEFT_IN_OUTBOX: &str = "SELECT count(*) FROM outbox";
const LEFT_IN_SAGAS: &str = "SELECT count(*) FROM saga WHERE status IN ('running', 'stuck')";

/// The whole server in this process, on a folder and ports of its own.
///
/// Its roles are on PostgreSQL if the tests are. It goes through the same start as the program;
/// only the reading of the environment and the signals are left out.
#[derive(Debug)]
pub struct Kit {
    server: Server,
    scratch: Scratch,
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
        let scratch = Scratch::whole().await;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config {
            data_dir: scratch.folder().join("data"),
            database: Database { url: scratch.url().map(Into::into), ..Database::default() },
            gateway: Gateway { addr: any_port, ..Gateway::default() },
            s3: S3 { addr: any_port, ..S3::default() },
            ..Config::default()
        };
        change(&mut config);
        let server = Server::start(config).await.expect("the server starts");
        let token = server.admin_token().expose_secret().to_owned();
        let s3 = server.s3_addr().expect("the embedded engine is on");
        let site = Site::new(server.gateway_addr(), s3, token);
        Self { server, scratch, site }
    }

    /// The database of a role, to be looked at beside the server.
    #[must_use]
    pub fn beside(&self, role: &'static str) -> Beside {
        beside(&self.server, &self.scratch, role)
    }

    /// The database of a role, to be written beside the server as the role itself writes.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open_beside(
        &self,
        role: &'static str,
        migrator: &'static sqlx::migrate::Migrator,
    ) -> Db {
        let opened = match self.scratch.url() {
            Some(_) => self.scratch.open(role, migrator).await,
            None => {
                let file = self.server.data_dir().join(format!("{role}.db"));
                Db::open(&file, migrator).await
            }
        };
        opened.expect("a database can be opened beside the server")
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
        let end = end.map_or("NULL".to_owned(), |end| format!("'{end}'"));
        let sql = format!(
            "INSERT INTO token (token_hash, role, subject, fixed_address, create_time, \
             expire_time) VALUES ($1, $2, 'support', '{address}', \
             '2026-01-01T00:00:00.000000Z', {end})"
        );
        let hash = stowage_auth::hash_token(token).bytes().to_vec();
        // A statement is a text of the program: a few of them stay until the test ends.
        let accounts = self.beside("accounts");
        let written = accounts.write(sql.leak(), (hash, i32::from(role).into())).await;
        written.expect("a token is written");
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
        eventually("all work ends", WORK_ENDS_WITHIN, async || {
            nothing_is_left(&self.server, &self.scratch).await
        })
        .await;
    }

    /// Waits until all work has ended, stops the server as SIGTERM does, and checks that no part
    /// had failed.
    ///
    /// # Panics
    /// When events or orders are left undelivered or undone, or a part ended that should not have.
    pub async fn stop(self) {
        let Self { mut server, scratch, site } = self;
        // Kept connections would be waited for.
        drop(site);
        eventually("all work ends", WORK_ENDS_WITHIN, async || {
            nothing_is_left(&server, &scratch).await
        })
        .await;
        let failed = tokio::time::timeout(Duration::ZERO, server.failed()).await;
        assert!(failed.is_err(), "a part ended: {failed:?}");
        server.stop().await;
        drop(scratch);
    }
}

fn beside(server: &Server, scratch: &Scratch, role: &'static str) -> Beside {
    match scratch.url() {
        Some(url) => Beside::Schema { url: url.to_owned(), name: role },
        None => Beside::File(server.data_dir().join(format!("{role}.db"))),
    }
}

async fn nothing_is_left(server: &Server, scratch: &Scratch) -> Result<(), String> {
    for (role, query) in [
        ("accounts", LEFT_IN_SAGAS),
        ("accounts", LEFT_IN_OUTBOX),
        ("storage", LEFT_IN_OUTBOX),
        ("billing", LEFT_IN_OUTBOX),
        ("metering", LEFT_IN_OUTBOX),
    ] {
        match beside(server, scratch, role).count(query).await {
            Ok(0) => {}
            Ok(count) => return Err(format!("{role}: {query}: {count}")),
            Err(error) => return Err(format!("{role}: {query}: {error}")),
        }
    }
    Ok(())
}
