//! The server: every role in this process, and the two listeners.
//!
//! Order of the start: settings, ports, data folder, databases, roles, and only then the first
//! task and the first connection. Whatever is refused is refused before anything behind it was
//! changed. Order of the stop: no new calls, calls in flight to their end, then the tasks behind
//! them, then the databases, so that nothing that was acknowledged is waited for in vain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stowage_auth::hash_token;
use stowage_db::Db;
use stowage_gateway::Gateway;
use stowage_runtime::{Protocols, RoleChannel, ServerTls, telemetry};
use stowage_types::{ExposeSecret as _, SecretString, SystemRandom};
use tokio::net::TcpListener;

use crate::broker;
use crate::config::Config;
use crate::data::{DataDir, Secrets, token_file};
use crate::databases::{Databases, Place};
use crate::engines::{Engines, StoragePorts};
use crate::error::StartError;
use crate::keyring;
use crate::listen::{GATEWAY, address, listen, public_tls};
use crate::roles::{self, Common, Roles, Settings, part};
use crate::running::Running;

pub use crate::roles::AUDIENCE;
pub use crate::tasks::Failure;

/// A running server.
#[derive(Debug)]
pub struct Server {
    gateway_addr: SocketAddr,
    s3_addr: Option<SocketAddr>,
    admin_token: SecretString,
    token_file: PathBuf,
    channels: [(&'static str, RoleChannel); 4],
    running: Running,
    /// Given back last.
    data: DataDir,
}

impl Server {
    /// Starts it. When this returns it takes calls.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing keeps running behind an error.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = config.checked(Vec::new())?;
        // Recording begins here, or what happens before the first upkeep would not be counted.
        telemetry::upkeep_metrics();
        // A folder that is in use is the better answer than a port that is.
        let held = DataDir::take_existing(&config.data_dir)?;
        let gateway = listen(&GATEWAY, config.gateway.addr).await?;
        let ports = StoragePorts::bind(&config).await?;
        let data = held.map_or_else(|| DataDir::create(&config.data_dir), Ok)?;
        let parts = Parts::build(config, &data, ports.s3_addr()).await?;
        parts.run(data, gateway, ports)
    }

    /// Where HTTP and gRPC are.
    #[must_use]
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway_addr
    }

    /// Where the embedded engine's S3 is, if there is one.
    #[must_use]
    pub fn s3_addr(&self) -> Option<SocketAddr> {
        self.s3_addr
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &SecretString {
        &self.admin_token
    }

    /// The file of the administrator's token.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Every role by its name, behind its layers: what the gateway calls, and what a process of
    /// the role alone would have on its port. Tests call it past the gateway.
    #[must_use]
    pub fn channels(&self) -> &[(&'static str, RoleChannel); 4] {
        &self.channels
    }

    /// Waits until a part ends that should not; for ever, if all is well.
    pub async fn failed(&mut self) -> Failure {
        self.running.failed().await
    }

    /// Stops it: calls in flight may end, ten seconds at most.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// Everything built, and nothing running yet.
struct Parts {
    common: Common,
    dbs: Databases,
    engines: Engines,
    roles: Roles,
    gateway: Gateway,
    gateway_tls: Option<Arc<ServerTls>>,
    admin_token: SecretString,
    token_file: PathBuf,
}

impl Parts {
    async fn build(
        config: Config,
        data: &DataDir,
        s3: Option<SocketAddr>,
    ) -> Result<Self, StartError> {
        let gateway_tls = public_tls(config.gateway.identity(), Protocols::Both)?;
        let secrets = match &config.secrets_dir {
            Some(folder) => Secrets::read(folder, &config.keyring)?,
            None => data.secrets(&config.keyring, &SystemRandom)?,
        };
        let Secrets { signing_seed, admin_token, keyring } = secrets;
        let token_file = token_file(config.secrets_folder());
        let common = Common::new(&signing_seed, broker::open(&config.amqp)?);
        let place = Place::of(&config.database, Some(data))?;
        Databases::check(&place).await?;
        let of_disk = (Some(data), s3);
        let (engines, driven) =
            Engines::open(&config, of_disk, &common, Arc::clone(&keyring)).await?;
        let dbs = Databases::open(&place).await?;
        seed_billing(&dbs.billing, &common).await?;
        seed_accounts(&dbs.accounts, &common, &admin_token).await?;
        let settings = Settings {
            accounts: config.accounts.own,
            storage: config.storage.own,
            billing: config.billing.own,
            metering: config.metering.own,
        };
        let follow = keyring::follow(Arc::clone(&keyring), common.stop.clone());
        let mut roles = roles::build(settings, &common, &dbs, driven, keyring).await?;
        roles.accounts.tasks.push(follow);
        let all = [&roles.accounts, &roles.storage, &roles.billing, &roles.metering];
        let mut ready = all.map(|role| (role.name, Arc::clone(&role.ready))).to_vec();
        if config.amqp.url.is_some() {
            ready.push(("broker", broker::ready(&common.bus)));
        }
        let channels = all.map(|role| role.channel.clone());
        let gateway = roles::build_gateway(config.gateway.facade, &common, channels, ready);
        broker::check(&common.bus)?;
        Ok(Self { common, dbs, engines, roles, gateway, gateway_tls, admin_token, token_file })
    }

    fn run(
        self,
        data: DataDir,
        gateway: TcpListener,
        ports: StoragePorts,
    ) -> Result<Server, StartError> {
        let (gateway_addr, s3_addr) = (address(&gateway)?, ports.s3_addr());
        let dbs = self.dbs.all().into_iter().cloned().collect();
        let mut running = Running::new(dbs, &self.common);
        let Roles { accounts, storage, billing, metering } = self.roles;
        let channels = [&accounts, &storage, &billing, &metering]
            .map(|role| (role.name, role.channel.clone()));
        for role in [storage, billing, metering, accounts] {
            running.work_on(role.tasks);
        }
        self.engines.serve(ports, &mut running);
        running.serve("gateway", |stop| self.gateway.serve(gateway, self.gateway_tls, stop));
        let (admin_token, token_file) = (self.admin_token, self.token_file);
        Ok(Server { gateway_addr, s3_addr, admin_token, token_file, channels, running, data })
    }
}

/// Makes the catalogue once; at later starts it changes nothing.
pub(crate) async fn seed_billing(db: &Db, common: &Common) -> Result<(), StartError> {
    let seeded = stowage_billing::seed_catalogue(db, &*common.clock).await;
    seeded.map_err(|error| part("billing", error))
}

/// Makes the administrator once; at later starts it changes nothing.
pub(crate) async fn seed_accounts(
    db: &Db,
    common: &Common,
    admin_token: &SecretString,
) -> Result<(), StartError> {
    let hash = hash_token(admin_token.expose_secret());
    let ensured = stowage_accounts::ensure_administrator_token(db, hash, &*common.clock).await;
    ensured.map_err(|error| part("accounts", error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn every_consumer_of_the_table_has_subscribed() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path()).unwrap();
        let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        let parts = Parts::build(config, &data, Some(([127, 0, 0, 1], 9000).into())).await.unwrap();
        assert_eq!(parts.common.bus.unserved(), [""; 0]);
    }

    #[tokio::test]
    async fn a_part_that_ends_early_is_a_failure_and_the_rest_still_stops() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.gateway.addr.set_port(0);
        config.s3.addr.set_port(0);
        let mut server = Server::start(config).await.unwrap();
        let all_is_well = tokio::time::timeout(Duration::ZERO, server.failed()).await;
        assert!(all_is_well.is_err(), "{all_is_well:?}");
        server.running.work_mut().spawn("clumsy", async { panic!("a fault put in by the test") });
        assert_eq!(server.failed().await.task, "clumsy");
        server.stop().await;
        assert!(DataDir::take_existing(folder.path()).unwrap().is_some(), "the folder is free");
    }
}
