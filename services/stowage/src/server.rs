//! The server: every role in this process, and the two listeners.
//!
//! Order of the start: settings, ports, data folder, databases, roles, and only then the first
//! task and the first connection. Whatever is refused is refused before anything behind it was
//! changed. Order of the stop: no new calls, calls in flight to their end, then the tasks behind
//! them, then the databases, so that nothing that was acknowledged is waited for in vain.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stowage_auth::{Signer, hash_token};
use stowage_bus::{Bus, backlog};
use stowage_engine::Engine;
use stowage_engine_embedded::{Embedded, EmbeddedConfig, OpenError};
use stowage_keyring::Keyring;
use stowage_runtime::telemetry;
use stowage_storage::{LocationConfig, LocationState};
use stowage_types::{Clock, ExposeSecret as _, Random, SecretString, SystemClock, SystemRandom};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, S3};
use crate::data::{DataDir, Secrets};
use crate::error::StartError;
use crate::roles::{self, Common, Databases, Roles, Settings, part};
use crate::tasks::Tasks;

pub use crate::tasks::Failure;

/// Code of the location that the first start makes.
const LOCATION: &str = "NL";
/// Its class of storage.
const STORAGE_TYPE: &str = "standard";
/// Names the installation in assertions; one process is one installation.
const AUDIENCE: &str = "stowage";
/// Longest time that the listeners get to stop; they cut calls off after ten seconds themselves.
const CALLS_STOP_MAX: Duration = Duration::from_secs(11);
/// Longest time that events on their way get; those that stay behind are sent at the next start.
const EVENTS_STOP_MAX: Duration = Duration::from_millis(500);
/// Longest time that the tasks behind the calls get.
const TASKS_STOP_MAX: Duration = Duration::from_secs(2);
/// How often recorded metrics are folded into their buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub struct Server {
    gateway_addr: SocketAddr,
    s3_addr: SocketAddr,
    admin_token: SecretString,
    dbs: Databases,
    listeners: Tasks,
    stop_listeners: CancellationToken,
    work: Tasks,
    stop_work: CancellationToken,
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
        let s3 = listen(&S3_ENDPOINT, config.s3.addr).await?;
        let data = held.map_or_else(|| DataDir::create(&config.data_dir), Ok)?;
        let parts = Parts::build(config, &data, address(&s3)?).await?;
        parts.run(data, gateway, s3)
    }

    /// Where HTTP and gRPC are.
    #[must_use]
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway_addr
    }

    /// Where S3 is.
    #[must_use]
    pub fn s3_addr(&self) -> SocketAddr {
        self.s3_addr
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &SecretString {
        &self.admin_token
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Waits until a part ends that should not; for ever, if all is well.
    pub async fn failed(&mut self) -> Failure {
        tokio::select! {
            failure = self.listeners.first_end() => failure,
            failure = self.work.first_end() => failure,
        }
    }

    /// Stops it: calls in flight may end, ten seconds at most.
    pub async fn stop(mut self) {
        self.stop_listeners.cancel();
        for task in self.listeners.drain(CALLS_STOP_MAX).await {
            tracing::warn!(task, "calls in flight were cut off");
        }
        self.events_delivered().await;
        self.stop_work.cancel();
        for task in self.work.drain(TASKS_STOP_MAX).await {
            tracing::warn!(task, "cut off; it goes on at the next start");
        }
        for db in self.dbs.all() {
            db.close().await;
        }
        tracing::info!("stopped");
    }

    /// Gives events in the outboxes a moment to arrive.
    async fn events_delivered(&self) {
        let arrived = async {
            for db in self.dbs.all() {
                while backlog(db).await.is_ok_and(|backlog| backlog.pending > 0) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        if tokio::time::timeout(EVENTS_STOP_MAX, arrived).await.is_err() {
            tracing::info!("events are left in an outbox; they are sent at the next start");
        }
    }
}

/// Everything built, and nothing running yet.
struct Parts {
    common: Common,
    dbs: Databases,
    engine: Embedded,
    roles: Roles,
    gateway: stowage_gateway::Gateway,
    admin_token: SecretString,
}

impl Parts {
    async fn build(config: Config, data: &DataDir, s3: SocketAddr) -> Result<Self, StartError> {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Secrets { signing_seed, admin_token } = data.secrets(&*random)?;
        let keyring = Keyring::load_or_create(&data.keyring(), &*random);
        let keyring = Arc::new(keyring.map_err(|error| part("the keyring", error))?);
        let signer = Signer::from_seed(&signing_seed, AUDIENCE, Arc::clone(&clock));
        let stop = CancellationToken::new();
        let common = Common { bus: Bus::in_process(), clock, random, signer, stop };
        let server = config.database.server().transpose().map_err(roles::refused)?;
        Databases::check(data, server.as_ref()).await?;
        let engine = open_engine(data, &config.s3, &common, Arc::clone(&keyring)).await?;
        let dbs = Databases::open(data, server.as_ref()).await?;
        first_start(&dbs, &common, &admin_token).await?;
        let location = location(&config.s3, s3);
        let settings = Settings {
            accounts: config.accounts,
            storage: config.storage,
            billing: config.billing,
            metering: config.metering,
        };
        let driven: Arc<dyn Engine> = Arc::new(engine.clone());
        let roles = roles::build(settings, &common, &dbs, (location, driven), keyring).await?;
        let gateway = build_gateway(config.gateway.facade, &roles, &common);
        for subscription in gateway.subscriptions() {
            common.bus.subscribe(subscription);
        }
        Ok(Self { common, dbs, engine, roles, gateway, admin_token })
    }

    fn run(
        self,
        data: DataDir,
        gateway: TcpListener,
        s3: TcpListener,
    ) -> Result<Server, StartError> {
        let (gateway_addr, s3_addr) = (address(&gateway)?, address(&s3)?);
        let mut work = Tasks::default();
        let Roles { accounts, storage, billing, metering } = self.roles;
        for role in [storage, billing, metering, accounts] {
            for task in role.tasks {
                work.spawn(task.name, task.future);
            }
        }
        work.spawn("metrics", upkeep(self.common.stop.clone()));
        let stop_listeners = CancellationToken::new();
        let mut listeners = Tasks::default();
        listeners.spawn("s3", self.engine.serve(s3, stop_listeners.clone()));
        listeners.spawn("gateway", self.gateway.serve(gateway, stop_listeners.clone()));
        Ok(Server {
            gateway_addr,
            s3_addr,
            admin_token: self.admin_token,
            dbs: self.dbs,
            listeners,
            stop_listeners,
            work,
            stop_work: self.common.stop,
            data,
        })
    }
}

async fn open_engine(
    data: &DataDir,
    s3: &S3,
    common: &Common,
    keyring: Arc<Keyring>,
) -> Result<Embedded, StartError> {
    let config = EmbeddedConfig::new(data.engine(), &s3.region);
    let (clock, random) = (Arc::clone(&common.clock), Arc::clone(&common.random));
    Embedded::open(config, keyring, clock, random).await.map_err(|error| match error {
        OpenError::Index(source) => roles::refused(source),
        other => part("the embedded engine", other),
    })
}

/// Makes the catalogue and the administrator once; at later starts it changes nothing.
async fn first_start(
    dbs: &Databases,
    common: &Common,
    admin_token: &SecretString,
) -> Result<(), StartError> {
    stowage_billing::seed_catalogue(&dbs.billing, &*common.clock)
        .await
        .map_err(|error| part("billing", error))?;
    let hash = hash_token(admin_token.expose_secret());
    stowage_accounts::ensure_administrator_token(&dbs.accounts, hash, &*common.clock)
        .await
        .map_err(|error| part("accounts", error))
}

fn location(s3: &S3, bound: SocketAddr) -> LocationConfig {
    LocationConfig {
        code: LOCATION.to_owned(),
        endpoint: s3.public_endpoint(bound),
        region: s3.region.clone(),
        storage_types: vec![STORAGE_TYPE.to_owned()],
        state: LocationState::Open,
    }
}

fn build_gateway(
    config: stowage_gateway::Config,
    roles: &Roles,
    common: &Common,
) -> stowage_gateway::Gateway {
    let all = [&roles.accounts, &roles.storage, &roles.billing, &roles.metering];
    let deps = stowage_gateway::Deps {
        accounts: roles.accounts.channel.clone(),
        storage: roles.storage.channel.clone(),
        billing: roles.billing.channel.clone(),
        metering: roles.metering.channel.clone(),
        signer: common.signer.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        ready: all.map(|role| (role.name, Arc::clone(&role.ready))).to_vec(),
        metrics: Arc::new(telemetry::render_metrics),
    };
    stowage_gateway::build(config, deps)
}

/// Folds recorded metrics into their buckets now and then, or the samples would pile up.
async fn upkeep(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
        telemetry::upkeep_metrics();
    }
}

/// What listens, and which setting says where.
struct Listener {
    what: &'static str,
    setting: &'static str,
    variable: &'static str,
}

const GATEWAY: Listener =
    Listener { what: "HTTP and gRPC", setting: "gateway.addr", variable: "STOWAGE_GATEWAY_ADDR" };

const S3_ENDPOINT: Listener =
    Listener { what: "S3", setting: "s3.addr", variable: "STOWAGE_S3_ADDR" };

async fn listen(listener: &Listener, addr: SocketAddr) -> Result<TcpListener, StartError> {
    let Listener { what, setting, variable } = *listener;
    let refused = |source| StartError::Listen { what, addr, setting, variable, source };
    TcpListener::bind(addr).await.map_err(refused)
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| part("a listener", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_early_is_a_failure_and_the_rest_still_stops() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.gateway.addr.set_port(0);
        config.s3.addr.set_port(0);
        let mut server = Server::start(config).await.unwrap();
        let all_is_well = tokio::time::timeout(Duration::ZERO, server.failed()).await;
        assert!(all_is_well.is_err(), "{all_is_well:?}");
        server.work.spawn("clumsy", async { panic!("a fault put in by the test") });
        assert_eq!(server.failed().await.task, "clumsy");
        server.stop().await;
        assert!(DataDir::take_existing(folder.path()).unwrap().is_some(), "the folder is free");
    }
}
