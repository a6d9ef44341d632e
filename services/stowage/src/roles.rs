//! Builds the roles and connects them.
//!
//! Each role gets its own database, and the channels of the roles it calls; it says itself who is
//! calling. A channel wraps the called role's server directly, layers included, so that one process
//! behaves as five would. No task runs before every role is built: an event sent before its
//! consumer has subscribed would count as delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_auth::Signer;
use stowage_bus::Bus;
use stowage_db::Db;
use stowage_gateway::Gateway;
use stowage_keyring::Keyring;
use stowage_runtime::{ReadyCheck, Role, RoleChannel, telemetry};
use stowage_types::{Clock, Random, SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::data::secret_in;
use crate::databases::Databases;
use crate::engines::Driven;
use crate::error::StartError;
use crate::provider;

/// Names the installation in assertions.
pub const AUDIENCE: &str = "stowage";

/// What every role is built with.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) signer: Signer,
    pub(crate) stop: CancellationToken,
}

impl Common {
    /// With the system's clock and randomness, and the key that assertions are signed with.
    pub(crate) fn new(signing_seed: &[u8; 32], bus: Bus) -> Self {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) =
            (Arc::new(SystemClock), Arc::new(SystemRandom));
        let signer = Signer::from_seed(signing_seed, AUDIENCE, Arc::clone(&clock));
        Self { bus, clock, random, signer, stop: CancellationToken::new() }
    }
}

/// The roles' own settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) accounts: stowage_accounts::Config,
    pub(crate) storage: stowage_storage::Config,
    pub(crate) billing: stowage_billing::Config,
    pub(crate) metering: stowage_metering::Config,
}

/// The roles, built and not yet running.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) accounts: Role,
    pub(crate) storage: Role,
    pub(crate) billing: Role,
    pub(crate) metering: Role,
}

/// The roles that accounts calls.
pub(crate) struct Peers {
    pub(crate) storage: RoleChannel,
    pub(crate) billing: RoleChannel,
    pub(crate) metering: RoleChannel,
}

/// Builds the four roles, in the order in which they are called.
pub(crate) async fn build(
    settings: Settings,
    common: &Common,
    dbs: &Databases,
    driven: Driven,
    keyring: Arc<Keyring>,
) -> Result<Roles, StartError> {
    let storage = build_storage(settings.storage, common, &dbs.storage, driven).await?;
    let metering = build_metering(settings.metering, common, &dbs.metering).await?;
    let metering_channel = metering.channel.clone();
    let billing = (settings.billing, &dbs.billing);
    let billing = build_billing(billing, common, metering_channel).await?;
    let peers = Peers {
        storage: storage.channel.clone(),
        billing: billing.channel.clone(),
        metering: metering.channel.clone(),
    };
    let accounts = (settings.accounts, &dbs.accounts);
    let accounts = build_accounts(accounts, common, peers, keyring).await?;
    Ok(Roles { accounts, storage, billing, metering })
}

pub(crate) async fn build_accounts(
    (config, db): (stowage_accounts::Config, &Db),
    common: &Common,
    peers: Peers,
    keyring: Arc<Keyring>,
) -> Result<Role, StartError> {
    let mut webhook_secrets = BTreeMap::new();
    for (name, webhook) in &config.webhooks {
        webhook_secrets.insert(name.clone(), secret_in(&webhook.secret_file)?);
    }
    let deps = stowage_accounts::Deps {
        db: db.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
        signer: common.signer.clone(),
        keyring,
        storage: peers.storage,
        billing: peers.billing,
        metering: peers.metering,
        webhook_secrets,
    };
    stowage_accounts::build(config, deps).await.map_err(|error| part("accounts", error))
}

pub(crate) async fn build_storage(
    config: stowage_storage::Config,
    common: &Common,
    db: &Db,
    Driven { engines, fronts, opener, keyring }: Driven,
) -> Result<Role, StartError> {
    let deps = stowage_storage::Deps {
        db: db.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        page_key: common.signer.page_key(),
        stop: common.stop.clone(),
        engines,
        opener,
        keyring,
        fronts,
    };
    stowage_storage::build(config, deps).await.map_err(|error| part("storage", error))
}

pub(crate) async fn build_billing(
    (config, db): (stowage_billing::Config, &Db),
    common: &Common,
    metering: RoleChannel,
) -> Result<Role, StartError> {
    let provider = provider::of(&config, common, db)?;
    let secret = config.payment_hook_secret_file.as_deref().map(secret_in);
    let deps = stowage_billing::Deps {
        db: db.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
        provider,
        signer: common.signer.clone(),
        metering,
        payment_hook_secret: secret.transpose()?,
    };
    stowage_billing::build(config, deps).await.map_err(|error| part("billing", error))
}

pub(crate) async fn build_metering(
    config: stowage_metering::Config,
    common: &Common,
    db: &Db,
) -> Result<Role, StartError> {
    let deps = stowage_metering::Deps {
        db: db.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
    };
    stowage_metering::build(config, deps).await.map_err(|error| part("metering", error))
}

/// Builds the gateway over the four roles, wherever they are.
pub(crate) fn build_gateway(
    config: stowage_gateway::Config,
    common: &Common,
    [accounts, storage, billing, metering]: [RoleChannel; 4],
    ready: Vec<(&'static str, ReadyCheck)>,
) -> Gateway {
    let deps = stowage_gateway::Deps {
        accounts,
        storage,
        billing,
        metering,
        signer: common.signer.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        ready,
        metrics: Arc::new(telemetry::render_metrics),
    };
    let gateway = stowage_gateway::build(config, deps);
    for subscription in gateway.subscriptions() {
        common.bus.subscribe(subscription);
    }
    gateway
}

/// Says which part did not come up.
pub(crate) fn part<E>(part: &'static str, error: E) -> StartError
where
    E: std::error::Error + Send + Sync + 'static,
{
    StartError::Part { part, source: error.into() }
}
