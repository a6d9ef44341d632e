//! One role, or the gateway, in a process of its own.
//!
//! What differs from all in one process: the other roles are called over the network, events go by
//! the broker, and the secrets were made beforehand, since all processes must have the same.

use std::net::SocketAddr;
use std::sync::Arc;

use stowage_db::Db;
use stowage_gateway::Gateway;
use stowage_runtime::{
    ClientTls, PortSettings, Protocols, ReadyCheck, Role, RoleChannel, RolePort, ServerTls,
    remote_ready, serve, telemetry,
};
use tokio::net::TcpListener;

use crate::broker;
use crate::config::{Config, Faults};
use crate::data::{self, DataDir};
use crate::databases::Place;
use crate::engines::{Engines, StoragePorts};
use crate::error::StartError;
use crate::keyring;
use crate::listen::{self, GATEWAY, Listener, address, caller_tls, listen, public_tls, role_tls};
use crate::roles::{self, Common, Peers};
use crate::running::Running;
use crate::server::{seed_accounts, seed_billing};
use crate::tasks::Failure;

/// What a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Customers, tokens, accounts, orders, history.
    Accounts,
    /// Locations, buckets, objects; drives the engines.
    Storage,
    /// Plans, subscriptions; drives the billing provider.
    Billing,
    /// Usage and rankings.
    Metering,
    /// The HTTP facade, grpc-web and gRPC for all clients.
    Gateway,
}

impl Part {
    /// `accounts`, `gateway` …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Storage => "storage",
            Self::Billing => "billing",
            Self::Metering => "metering",
            Self::Gateway => "gateway",
        }
    }

    fn listener(self) -> (Listener, fn(&Config) -> SocketAddr) {
        let role = |setting, variable| Listener { what: "gRPC", setting, variable };
        match self {
            Self::Accounts => {
                (role("accounts.addr", "STOWAGE_ACCOUNTS_ADDR"), |config| config.accounts.addr)
            }
            Self::Storage => {
                (role("storage.addr", "STOWAGE_STORAGE_ADDR"), |config| config.storage.addr)
            }
            Self::Billing => {
                (role("billing.addr", "STOWAGE_BILLING_ADDR"), |config| config.billing.addr)
            }
            Self::Metering => {
                (role("metering.addr", "STOWAGE_METERING_ADDR"), |config| config.metering.addr)
            }
            Self::Gateway => (GATEWAY, |config| config.gateway.addr),
        }
    }
}

/// A running process of one part.
#[derive(Debug)]
pub struct Single {
    addr: SocketAddr,
    s3_addr: Option<SocketAddr>,
    running: Running,
    /// Given back last.
    _data: Option<DataDir>,
}

/// What a part is built with.
struct Site {
    config: Config,
    common: Common,
    /// Absent where the part keeps nothing on its own disk.
    data: Option<DataDir>,
    callers: Option<Arc<ClientTls>>,
    tls: Option<Arc<ServerTls>>,
}

impl Single {
    /// Starts it. When this returns it takes calls.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing keeps running behind an error.
    pub async fn start(config: Config, part: Part) -> Result<Self, StartError> {
        let config = config.checked(Vec::new())?;
        telemetry::upkeep_metrics();
        let (listener, addr) = part.listener();
        let port = listen(&listener, addr(&config)).await?;
        let site = Site::open(config, part).await?;
        match part {
            Part::Accounts => site.accounts(port).await,
            Part::Storage => site.storage(port).await,
            Part::Billing => site.billing(port).await,
            Part::Metering => site.metering(port).await,
            Part::Gateway => site.gateway(port),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where S3 is, if it is here.
    #[must_use]
    pub fn s3_addr(&self) -> Option<SocketAddr> {
        self.s3_addr
    }

    /// Waits until something ends that should not; for ever, if all is well.
    pub async fn failed(&mut self) -> Failure {
        self.running.failed().await
    }

    /// Stops it: calls in flight may end, ten seconds at most.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl Site {
    async fn open(config: Config, part: Part) -> Result<Self, StartError> {
        if config.amqp.url.is_none() {
            let fault = format!(
                "amqp.url: must be set (STOWAGE_AMQP_URL) for `stowage serve {}`: roles in \
                 processes of their own speak through a broker",
                part.name()
            );
            return Err(StartError::Config(Faults::from(vec![fault])));
        }
        // What is wrong with a file is found before anything is made.
        let (callers, tls) = (caller_tls(&config.tls)?, role_tls(&config.tls)?);
        let seed = data::read_signing_seed(config.secrets_folder())?;
        // The gateway keeps nothing; the engine of storage is on the disk.
        let keeps = match part {
            Part::Gateway => false,
            Part::Storage if config.s3.enabled => true,
            _ => config.database.url.is_none(),
        };
        let data = keeps.then(|| DataDir::create(&config.data_dir)).transpose()?;
        let common = Common::new(&seed, broker::open(&config.amqp)?);
        Ok(Self { config, common, data, callers, tls })
    }

    async fn db(
        &self,
        role: &str,
        migrator: &'static sqlx::migrate::Migrator,
    ) -> Result<Db, StartError> {
        Place::of(&self.config.database, self.data.as_ref())?.open(role, migrator).await
    }

    fn peer(&self, urls: &[String]) -> Result<RoleChannel, StartError> {
        listen::peer(urls, self.callers.as_ref())
    }

    fn has_tls(&self) -> bool {
        self.config.tls.identity().is_some()
    }

    fn peers(&self) -> Result<Peers, StartError> {
        let (config, has_tls) = (&self.config, self.has_tls());
        Ok(Peers {
            storage: self.peer(&config.storage.urls(has_tls))?,
            billing: self.peer(&config.billing.urls(has_tls))?,
            metering: self.peer(&config.metering.urls(has_tls))?,
        })
    }

    async fn accounts(mut self, port: TcpListener) -> Result<Single, StartError> {
        let keyring = data::read_keyring(self.config.secrets_folder(), &self.config.keyring)?;
        let db = self.db("accounts", &stowage_accounts::MIGRATOR).await?;
        if let Some(token) = data::read_secret(&data::token_file(self.config.secrets_folder()))? {
            seed_accounts(&db, &self.common, &token).await?;
        }
        let peers = self.peers()?;
        let config = std::mem::take(&mut self.config.accounts.own);
        let follow = keyring::follow(Arc::clone(&keyring), self.common.stop.clone());
        let mut role = roles::build_accounts((config, &db), &self.common, peers, keyring).await?;
        role.tasks.push(follow);
        self.run_role(port, role, db)
    }

    async fn billing(mut self, port: TcpListener) -> Result<Single, StartError> {
        let db = self.db("billing", &stowage_billing::MIGRATOR).await?;
        seed_billing(&db, &self.common).await?;
        let config = std::mem::take(&mut self.config.billing.own);
        let metering = self.peer(&self.config.metering.urls(self.has_tls()))?;
        let role = roles::build_billing((config, &db), &self.common, metering).await?;
        self.run_role(port, role, db)
    }

    async fn metering(mut self, port: TcpListener) -> Result<Single, StartError> {
        let db = self.db("metering", &stowage_metering::MIGRATOR).await?;
        let config = std::mem::take(&mut self.config.metering.own);
        let role = roles::build_metering(config, &self.common, &db).await?;
        self.run_role(port, role, db)
    }

    async fn storage(mut self, port: TcpListener) -> Result<Single, StartError> {
        let ports = StoragePorts::bind(&self.config).await?;
        let s3_addr = ports.s3_addr();
        let keyring = data::read_keyring(self.config.secrets_folder(), &self.config.keyring)?;
        let db = self.db("storage", &stowage_storage::MIGRATOR).await?;
        let follow = keyring::follow(Arc::clone(&keyring), self.common.stop.clone());
        let of_disk = (self.data.as_ref(), s3_addr);
        let (engines, driven) = Engines::open(&self.config, of_disk, &self.common, keyring).await?;
        let config = std::mem::take(&mut self.config.storage.own);
        let mut role = roles::build_storage(config, &self.common, &db, driven).await?;
        role.tasks.push(follow);
        let mut single = self.run_role(port, role, db)?;
        engines.serve(ports, &mut single.running);
        single.s3_addr = s3_addr;
        Ok(single)
    }

    fn gateway(mut self, port: TcpListener) -> Result<Single, StartError> {
        let tls = public_tls(self.config.gateway.identity(), Protocols::Both)?;
        let accounts = self.peer(&self.config.accounts.urls(self.has_tls()))?;
        let Peers { storage, billing, metering } = self.peers()?;
        // Without accounts nobody is known. Of the others each serves its own calls, and a gateway
        // that was taken out for one of them would take the rest along.
        let broker = broker::ready(&self.common.bus);
        let ready = vec![("accounts", remote_ready(accounts.clone())), ("broker", broker)];
        let channels = [accounts, storage, billing, metering];
        let config = std::mem::take(&mut self.config.gateway.facade);
        let gateway = roles::build_gateway(config, &self.common, channels, ready);
        self.run_gateway(port, gateway, tls)
    }

    fn run_role(self, port: TcpListener, role: Role, db: Db) -> Result<Single, StartError> {
        broker::check(&self.common.bus)?;
        let addr = address(&port)?;
        let settings = port_settings(self.tls);
        let checks: Vec<(&'static str, ReadyCheck)> =
            vec![(role.name, role.ready), ("broker", broker::ready(&self.common.bus))];
        let mut running = Running::new(vec![db], &self.common);
        let (name, channel) = (role.name, role.channel);
        running.work_on(role.tasks);
        let role = RolePort::new(Some(channel), checks, Arc::new(telemetry::render_metrics));
        running.serve(name, |stop| {
            let answer = move |request, peer| role.clone().answer(request, peer);
            Box::pin(serve(port, settings, stop, answer))
        });
        Ok(Single { addr, s3_addr: None, running, _data: self.data })
    }

    fn run_gateway(
        self,
        port: TcpListener,
        gateway: Gateway,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Single, StartError> {
        broker::check(&self.common.bus)?;
        let addr = address(&port)?;
        let mut running = Running::new(Vec::new(), &self.common);
        running.serve("gateway", |stop| gateway.serve(port, tls, stop));
        Ok(Single { addr, s3_addr: None, running, _data: self.data })
    }
}

/// Bounds of a role's port: its callers are few, and keep their connections.
fn port_settings(tls: Option<Arc<ServerTls>>) -> PortSettings {
    PortSettings {
        protocols: Protocols::Both,
        connections_max: CONNECTIONS_MAX,
        header_max: HEADER_MAX,
        stop_max: STOP_MAX,
        tls,
    }
}

/// Connections to a role at once.
const CONNECTIONS_MAX: usize = 1024;
/// Longest time for a handshake, and for the head of a request.
const HEADER_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// Longest time that calls in flight get when the role stops.
const STOP_MAX: std::time::Duration = std::time::Duration::from_secs(10);
