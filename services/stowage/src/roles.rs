//! Builds the roles and connects them.
//!
//! Each role gets its own database, and the channels of the roles it calls; it says itself who is
//! calling. A channel wraps the called role's server directly, layers included, so that one process
//! behaves as five would. No task runs before every role is built: an event sent before its
//! consumer has subscribed would count as delivered.

use std::sync::Arc;

use stowage_auth::Signer;
use stowage_bus::Bus;
use stowage_db::{Db, OpenError, Server};
use stowage_engine::Engine;
use stowage_keyring::Keyring;
use stowage_provider_ledger::Ledger;
use stowage_runtime::Role;
use stowage_storage::LocationConfig;
use stowage_types::{Clock, Random};
use tokio_util::sync::CancellationToken;

use crate::data::DataDir;
use crate::error::StartError;

/// What every role is built with.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) signer: Signer,
    pub(crate) stop: CancellationToken,
}

/// One database for each role.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    pub(crate) accounts: Db,
    pub(crate) storage: Db,
    pub(crate) billing: Db,
    pub(crate) metering: Db,
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

impl Databases {
    /// Finds out whether any of them would be refused, before one is changed.
    pub(crate) async fn check(data: &DataDir, server: Option<&Server>) -> Result<(), StartError> {
        for (role, migrator) in [
            ("accounts", &stowage_accounts::MIGRATOR),
            ("storage", &stowage_storage::MIGRATOR),
            ("billing", &stowage_billing::MIGRATOR),
            ("metering", &stowage_metering::MIGRATOR),
        ] {
            let checked = match server {
                Some(server) => server.check(role, migrator).await,
                None => Db::check(&data.database(role), migrator).await,
            };
            checked.map_err(refused)?;
        }
        Ok(())
    }

    /// Opens all four, and brings each up to date.
    pub(crate) async fn open(data: &DataDir, server: Option<&Server>) -> Result<Self, StartError> {
        let open = async |role, migrator| match server {
            Some(server) => Db::connect(server, role, migrator).await,
            None => Db::open(&data.database(role), migrator).await,
        };
        let (accounts, storage, billing, metering) = tokio::try_join!(
            open("accounts", &stowage_accounts::MIGRATOR),
            open("storage", &stowage_storage::MIGRATOR),
            open("billing", &stowage_billing::MIGRATOR),
            open("metering", &stowage_metering::MIGRATOR),
        )
        .map_err(refused)?;
        Ok(Self { accounts, storage, billing, metering })
    }

    /// Every database.
    pub(crate) fn all(&self) -> [&Db; 4] {
        [&self.accounts, &self.storage, &self.billing, &self.metering]
    }
}

/// Adds what to do to what is wrong.
pub(crate) fn refused(source: OpenError) -> StartError {
    let advice = match &source {
        OpenError::Newer { .. } => {
            "start the newer program, or restore the data folder as it was before the upgrade"
        }
        OpenError::NotADatabase { .. } => "restore it from a backup",
        OpenError::NotWritable { .. } => "give this user the right to write it",
        OpenError::BadAddress => "correct the setting database.url",
        OpenError::Unreachable { .. } => {
            "see whether the server runs, and whether database.url has its address and a user it \
             lets in"
        }
        OpenError::Other { .. } => "see whether the disk is full; else restore it from a backup",
    };
    StartError::Database { source, advice }
}

/// Builds the four roles, in the order in which they are called.
pub(crate) async fn build(
    settings: Settings,
    common: &Common,
    dbs: &Databases,
    engine: (LocationConfig, Arc<dyn Engine>),
    keyring: Arc<Keyring>,
) -> Result<Roles, StartError> {
    let storage = build_storage(settings.storage, common, dbs, engine).await?;
    let billing = build_billing(settings.billing, common, dbs).await?;
    let metering = build_metering(settings.metering, common, dbs).await?;
    let deps = stowage_accounts::Deps {
        db: dbs.accounts.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
        signer: common.signer.clone(),
        keyring,
        storage: storage.channel.clone(),
        billing: billing.channel.clone(),
        metering: metering.channel.clone(),
    };
    let accounts = stowage_accounts::build(settings.accounts, deps).await;
    let accounts = accounts.map_err(|error| part("accounts", error))?;
    Ok(Roles { accounts, storage, billing, metering })
}

async fn build_storage(
    config: stowage_storage::Config,
    common: &Common,
    dbs: &Databases,
    engine: (LocationConfig, Arc<dyn Engine>),
) -> Result<Role, StartError> {
    let deps = stowage_storage::Deps {
        db: dbs.storage.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        page_key: common.signer.page_key(),
        stop: common.stop.clone(),
        engines: vec![engine],
    };
    stowage_storage::build(config, deps).await.map_err(|error| part("storage", error))
}

async fn build_billing(
    config: stowage_billing::Config,
    common: &Common,
    dbs: &Databases,
) -> Result<Role, StartError> {
    let provider = Ledger::new(dbs.billing.clone(), Arc::clone(&common.clock));
    let deps = stowage_billing::Deps {
        db: dbs.billing.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
        provider: Arc::new(provider),
    };
    stowage_billing::build(config, deps).await.map_err(|error| part("billing", error))
}

async fn build_metering(
    config: stowage_metering::Config,
    common: &Common,
    dbs: &Databases,
) -> Result<Role, StartError> {
    let deps = stowage_metering::Deps {
        db: dbs.metering.clone(),
        bus: common.bus.clone(),
        clock: Arc::clone(&common.clock),
        random: Arc::clone(&common.random),
        verifier: common.signer.verifier(),
        stop: common.stop.clone(),
    };
    stowage_metering::build(config, deps).await.map_err(|error| part("metering", error))
}

/// Says which part did not come up.
pub(crate) fn part<E>(part: &'static str, error: E) -> StartError
where
    E: std::error::Error + Send + Sync + 'static,
{
    StartError::Part { part, source: error.into() }
}
