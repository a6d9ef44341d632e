//! The storage role: locations, what accounts are on their engines, buckets, objects, and the
//! collection of usage.
//!
//! See `README.md` beside this crate for what it owns and promises. [`build`] is the one way in.

mod config;
mod domain;
mod error;
mod events;
mod grpc;
mod opener;
mod store;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stowage_auth::{PageKey, Verifier};
use stowage_bus::{Bus, Outbox};
use stowage_db::Db;
use stowage_db::lease::Turns;
use stowage_engine::Engine;
use stowage_keyring::Keyring;
use stowage_proto::storage::account_move_service_server::AccountMoveServiceServer;
use stowage_proto::storage::adoption_service_server::AdoptionServiceServer;
use stowage_proto::storage::bucket_deletion_service_server::BucketDeletionServiceServer;
use stowage_proto::storage::bucket_service_server::BucketServiceServer;
use stowage_proto::storage::engine_account_service_server::EngineAccountServiceServer;
use stowage_proto::storage::keyring_service_server::KeyringServiceServer;
use stowage_proto::storage::location_service_server::LocationServiceServer;
use stowage_proto::storage::object_service_server::ObjectServiceServer;
use stowage_proto::storage::saga_service_server::SagaServiceServer;
use stowage_proto::storage::upload_service_server::UploadServiceServer;
use stowage_proto::storage::usage_service_server::UsageServiceServer;
use stowage_request::Requests;
use stowage_runtime::{ReadyCheck, Role, RoleChannel, StackConfig, Task, role_stack};
use stowage_storage_front::Counts;
use stowage_types::{Clock, Random, new_id};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::{Config, LocationConfig, LocationState};
pub use events::USAGE_COLLECTED;
pub use opener::{EngineOpener, EngineSettings};

use domain::bucket_saga::{CreateBucket, DeleteBucket};
use domain::location::Location;
use domain::{Domain, Site, Sites, Storage};
use grpc::Api;

/// Migrations of the role's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// 1 while the engine of a location answers well, by location; as of the last look at readiness.
const ENGINE_UP: &str = "stowage_storage_engine_up";
/// How long a replica that vanished holds up moves of accounts.
const MOVES_LEASE: Duration = Duration::from_secs(60);
/// Longest time an engine may take to say that it is well.
const HEALTH_MAX: Duration = Duration::from_secs(2);

/// What the role is given.
#[derive(Debug)]
pub struct Deps {
    /// Its database, opened with [`MIGRATOR`].
    pub db: Db,
    /// Where its events go.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of events.
    pub random: Arc<dyn Random>,
    /// Checks callers.
    pub verifier: Verifier,
    /// Makes the tokens of object listings.
    pub page_key: PageKey,
    /// Ends the tasks.
    pub stop: CancellationToken,
    /// Locations with what drives them.
    pub engines: Vec<(LocationConfig, Arc<dyn Engine>)>,
    /// Opens the engines of locations that are added while it runs.
    pub opener: Arc<dyn EngineOpener>,
    /// Seals how those are reached.
    pub keyring: Arc<Keyring>,
    /// What the metering fronts of this process count; the role writes it.
    pub fronts: Vec<Arc<Counts>>,
}

/// Why the role cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Settings are wrong; every fault is listed.
    #[error("wrong settings: {}", faults.join("; "))]
    Config {
        /// Each names its setting.
        faults: Vec<String>,
    },
    /// The locations could not be written.
    #[error("the database of storage failed")]
    Database {
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Builds the role. Its tasks run once they are spawned by the caller.
///
/// # Errors
/// - [`BuildError::Config`]: nothing was written.
/// - [`BuildError::Database`]
pub async fn build(config: Config, deps: Deps) -> Result<Role, BuildError> {
    let faults = faults_of(&config, &deps.engines);
    if !faults.is_empty() {
        return Err(BuildError::Config { faults });
    }
    let (mut sites, mut locations) = (Vec::new(), Vec::new());
    for (location, engine) in &deps.engines {
        let site = Site::configured(&location.code, engine);
        locations.push(Location::configured(location.clone(), &site));
        sites.push(site);
    }
    let sites = Sites::new(sites);
    let call_timeout = config.call_timeout();
    let storage = Arc::new(storage_of(config, &deps, sites));
    write_locations(&storage, &locations).await?;
    let fronts = deps.fronts;
    let relay = stowage_bus::relay(deps.db, &storage.outbox, deps.bus, deps.stop.clone());
    let domain = domain_of(&storage, &deps.stop);
    let mut tasks = collectors(&domain, &deps.stop);
    tasks.extend(counters(&storage, fronts, &deps.stop));
    tasks.extend(deleters(&storage, &deps.stop));
    tasks.push(mover(&storage, &deps.stop));
    tasks.push(follower(&storage, &deps.stop));
    tasks.push(Task::new("storage.outbox", relay));
    tasks.push(Task::new("storage.sagas", domain.sagas.resume()));
    tasks.push(Task::new("storage.requests", storage.requests.clean_up(deps.stop)));
    let stack = StackConfig { role: "storage", verifier: deps.verifier, call_timeout };
    Ok(Role { name: "storage", channel: serve(domain, stack), tasks, ready: ready_check(storage) })
}

/// Writes the locations of the configuration, and opens those that were added.
async fn write_locations(storage: &Storage, locations: &[Location]) -> Result<(), BuildError> {
    let failed = |error: error::Error| match error {
        error::Error::LocationExists { .. } => BuildError::Config {
            faults: vec![format!("{error}; take it out of the configuration, or remove it there")],
        },
        other => BuildError::Database { source: Box::new(other) },
    };
    storage.write_locations(locations).await.map_err(failed)?;
    storage.follow_locations(&mut BTreeSet::new()).await.map_err(failed)?;
    if storage.sites.all().is_empty() {
        tracing::warn!("there is no location: `stowage admin location add` adds one");
    }
    Ok(())
}

fn faults_of(config: &Config, engines: &[(LocationConfig, Arc<dyn Engine>)]) -> Vec<String> {
    let mut faults = config.check();
    let mut codes = BTreeSet::new();
    for (location, _) in engines {
        faults.extend(location.check());
        if !codes.insert(location.code.as_str()) {
            faults.push(format!("location {:?} is configured twice", location.code));
        }
    }
    faults
}

fn storage_of(config: Config, deps: &Deps, sites: Sites) -> Storage {
    let (clock, random) = (Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let requests = Requests::new(deps.db.clone(), clock, random, config.call_timeout())
        .taking_over(config.takes_over && deps.db.is_exclusive());
    Storage {
        requests,
        config,
        db: deps.db.clone(),
        outbox: Outbox::new(events::SOURCE, Arc::clone(&deps.clock), Arc::clone(&deps.random)),
        process: new_id(&*deps.clock, &*deps.random),
        clock: Arc::clone(&deps.clock),
        random: Arc::clone(&deps.random),
        move_due: Notify::new(),
        deletion_due: Notify::new(),
        location_due: Notify::new(),
        configured: deps.engines.iter().map(|(location, _)| location.code.clone()).collect(),
        opener: Arc::clone(&deps.opener),
        keyring: Arc::clone(&deps.keyring),
        page_key: deps.page_key.clone(),
        sites,
    }
}

fn domain_of(storage: &Arc<Storage>, stop: &CancellationToken) -> Domain {
    let takeover = storage.config.takes_over && storage.db.is_exclusive();
    let settings = stowage_saga::Settings { takeover, ..storage.config.sagas.clone() };
    let (db, context) = (storage.db.clone(), Arc::clone(storage));
    let (clock, random) = (Arc::clone(&storage.clock), Arc::clone(&storage.random));
    let sagas = stowage_saga::Builder::new(db, context, clock, random)
        .kind::<CreateBucket>()
        .kind::<DeleteBucket>()
        .settings(settings)
        .stop(stop.clone())
        .build();
    Domain { storage: Arc::clone(storage), sagas }
}

fn serve(domain: Domain, stack: StackConfig) -> RoleChannel {
    let api = Api(domain);
    let routes = Routes::new(LocationServiceServer::new(api.clone()))
        .add_service(EngineAccountServiceServer::new(api.clone()))
        .add_service(AccountMoveServiceServer::new(api.clone()))
        .add_service(AdoptionServiceServer::new(api.clone()))
        .add_service(BucketServiceServer::new(api.clone()))
        .add_service(BucketDeletionServiceServer::new(api.clone()))
        .add_service(ObjectServiceServer::new(api.clone()))
        .add_service(KeyringServiceServer::new(api.clone()))
        .add_service(SagaServiceServer::new(api.clone()))
        .add_service(UploadServiceServer::new(api.clone()))
        .add_service(UsageServiceServer::new(api));
    role_stack(routes, stack)
}

/// One task per location of the configuration, so that an engine that is away holds up no other.
fn collectors(domain: &Domain, stop: &CancellationToken) -> Vec<Task> {
    let (storage, mut tasks) = (&domain.storage, Vec::new());
    let configured = |site: &&Arc<Site>| site.generation.is_none();
    for site in storage.sites.all().values().filter(configured) {
        let (storage, stop, site) = (Arc::clone(storage), stop.clone(), Arc::clone(site));
        tasks.push(Task::new("storage.collector", async move {
            let _: Option<()> = stop.run_until_cancelled(storage.collect_on(&site)).await;
        }));
    }
    let (domain, stop) = (domain.clone(), stop.clone());
    tasks.push(Task::new("storage.forget", async move {
        let _: Option<()> = stop.run_until_cancelled(domain.forget_on()).await;
    }));
    tasks
}

/// One task per front, so that an engine that does not say who pays holds up no other.
fn counters(
    storage: &Arc<Storage>,
    fronts: Vec<Arc<Counts>>,
    stop: &CancellationToken,
) -> Vec<Task> {
    let counter = |counts: Arc<Counts>| {
        let (storage, stop) = (Arc::clone(storage), stop.clone());
        Task::new("storage.front", async move {
            let _: Option<()> = stop.run_until_cancelled(storage.write_counts_on(&counts)).await;
        })
    };
    fronts.into_iter().map(counter).collect()
}

/// As many tasks as buckets may be deleted at once.
fn deleters(storage: &Arc<Storage>, stop: &CancellationToken) -> Vec<Task> {
    let deleter = |_| {
        let (storage, stop) = (Arc::clone(storage), stop.clone());
        Task::new("storage.bucket_deletion", async move {
            let _: Option<()> = stop.run_until_cancelled(storage.delete_buckets_on()).await;
        })
    };
    (0..storage.config.deletions_max).map(deleter).collect()
}

/// Moves accounts, in one replica at a time.
fn mover(storage: &Arc<Storage>, stop: &CancellationToken) -> Task {
    let (storage, stop) = (Arc::clone(storage), stop.clone());
    Task::new("storage.account_moves", async move {
        let owner = new_id(&*storage.clock, &*storage.random);
        let turns = Turns::new("storage.account_moves", owner, MOVES_LEASE, storage.db.clone());
        let now = || storage.clock.now();
        turns.run_until(stop.cancelled(), now, || storage.move_accounts_on()).await;
    })
}

/// Opens what is added and closes what is removed, and collects the usage of it.
fn follower(storage: &Arc<Storage>, stop: &CancellationToken) -> Task {
    let (storage, stop) = (Arc::clone(storage), stop.clone());
    Task::new("storage.locations", async move {
        let _: Option<()> = stop.run_until_cancelled(storage.follow_locations_on()).await;
    })
}

/// Ready when the database and every engine answer; else the answer names those that do not.
/// One engine that is away holds up its own accounts; whoever took the role out for it would hold
/// up those of every other. Without any, the role has nothing to do.
fn ready_check(storage: Arc<Storage>) -> ReadyCheck {
    Arc::new(move || {
        let storage = Arc::clone(&storage);
        Box::pin(async move {
            let mut faults = Vec::new();
            if storage.db.ping().await.is_err() {
                faults.push("database is unavailable".to_owned());
            }
            let away = engines_away(&storage).await;
            if away.len() == storage.sites.all().len() {
                let told = |code: &String| format!("engine of location {code} is unavailable");
                faults.extend(away.iter().map(told));
            }
            if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
        })
    })
}

/// Codes of the locations whose engine does not answer well; each is a gauge too.
async fn engines_away(storage: &Storage) -> Vec<String> {
    let sites = storage.sites.all();
    let checks = sites.values().map(|site| async move {
        let health = tokio::time::timeout(HEALTH_MAX, site.engine.health()).await;
        let is_up = matches!(health, Ok(Ok(())));
        metrics::gauge!(ENGINE_UP, "location" => site.code.clone()).set(f64::from(is_up));
        (!is_up).then(|| site.code.clone())
    });
    futures_util::future::join_all(checks).await.into_iter().flatten().collect()
}

/// Hooks for this crate's own tests of crashes.
#[doc(hidden)]
pub mod matrix {
    use stowage_saga::matrix::Case;

    use crate::{Config, Deps};

    /// Every kind of saga that the role registers, with all that it must survive.
    #[must_use]
    pub fn of_role(config: Config, deps: &Deps) -> Vec<(&'static str, Vec<Case>)> {
        let storage = std::sync::Arc::new(crate::storage_of(config, deps, Default::default()));
        crate::domain_of(&storage, &deps.stop).sagas.matrix()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migration_holds_the_table_of_sagas_as_it_is_documented() {
        let migration = include_str!("../migrations/0003_saga.sql");
        use stowage_saga::{SCHEMA, SCHEMA_ERROR, SCHEMA_STUCK};
        for part in [SCHEMA, SCHEMA_STUCK, SCHEMA_ERROR] {
            assert!(migration.contains(part), "{part}");
        }
        let trace = include_str!("../migrations/0005_trace.sql");
        assert!(trace.ends_with(stowage_saga::SCHEMA_TRACE));
    }
}
