//! Metering: meters with their dimensions, usage facts, rollups per hour and day, rankings.
//!
//! Invariants:
//! - A fact and its effect are one transaction; what comes twice counts once.
//! - Figures depend on the set of facts taken, never on the order in which they came.
//! - What is stored is a step function of time: a sample holds until the next one. Only windows
//!   in which a sample fell have a row; the others follow from the row before them.
//! - An account's peak is the peak of the sum over its buckets, not the sum of their peaks.
//!
//! Rejected: a row for each account and hour whether something happened or not (most accounts are
//! quiet), and adding late samples to running sums without looking at their successors (peaks
//! cannot be mended that way).

mod config;
mod consumer;
mod domain;
mod error;
mod events;
mod grpc;
mod limits;
mod store;

use std::sync::Arc;
use std::time::Duration;

use stowage_auth::Verifier;
use stowage_bus::{Audience, Bus, Subscription};
use stowage_db::Db;
use stowage_proto::metering::dead_letter_service_server::DeadLetterServiceServer;
use stowage_proto::metering::fact_service_server::FactServiceServer;
use stowage_proto::metering::limit_service_server::LimitServiceServer;
use stowage_proto::metering::meter_service_server::MeterServiceServer;
use stowage_proto::metering::usage_service_server::UsageServiceServer;
use stowage_request::Requests;
use stowage_runtime::{Role, StackConfig, Task, role_stack};
use stowage_types::{Clock, Random, new_id};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::Config;
pub use consumer::USAGE_COLLECTED;
pub use error::BuildError;

use consumer::Consumer;
use domain::Metering;
use limits::{LIMITS_CHANGED, LimitsConsumer};

/// The role's tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Name of the role as a consumer of events.
pub const CONSUMER: &str = "metering";
/// Name of the role as a consumer of what accounts may use.
pub(crate) const LIMITS_CONSUMER: &str = "metering.limits";

/// What the role needs from outside.
#[derive(Debug)]
pub struct Deps {
    /// Its database, migrated with [`MIGRATOR`].
    pub db: Db,
    /// Where storage's events come from.
    pub bus: Bus,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Checks who calls.
    pub verifier: Verifier,
    /// Ends the role's tasks.
    pub stop: CancellationToken,
}

/// Builds the role: its server behind the layers, its tasks, and its subscription to events.
///
/// # Errors
/// [`BuildError`] if the configuration is bad.
pub async fn build(config: Config, deps: Deps) -> Result<Role, BuildError> {
    let faults = config.check();
    if !faults.is_empty() {
        return Err(BuildError { faults });
    }
    let call_timeout = Duration::from_secs(config.call_timeout_seconds);
    let (clock, random) = (Arc::clone(&deps.clock), deps.random);
    let owner = new_id(&*clock, &*random);
    let metering = Metering::new(deps.db.clone(), deps.clock, Arc::clone(&random), &config);
    metering.begin_facts().await.map_err(|error| BuildError::of_database(&error))?;
    // One process has the database to itself, so claims of another are those of a dead one.
    let requests = Requests::new(deps.db.clone(), Arc::clone(&clock), random, call_timeout)
        .taking_over(deps.db.is_exclusive());
    let routes = routes(&metering, &requests, &deps.stop);
    let stack = StackConfig { role: "metering", verifier: deps.verifier, call_timeout };
    let channel = role_stack(routes, stack);
    deps.bus.subscribe(metering.letters.kept(Subscription {
        consumer: CONSUMER,
        kinds: &[USAGE_COLLECTED],
        audience: Audience::OneReplica,
        handler: Arc::new(Consumer(metering.clone())),
    }));
    deps.bus.subscribe(metering.letters.kept(Subscription {
        consumer: LIMITS_CONSUMER,
        kinds: &[LIMITS_CHANGED],
        audience: Audience::OneReplica,
        handler: Arc::new(LimitsConsumer(metering.clone())),
    }));
    let db = deps.db.clone();
    let inbox = stowage_bus::inbox::clean_up(db.clone(), clock, deps.stop.clone());
    let relay = stowage_bus::relay(deps.db, &metering.outbox, deps.bus, deps.stop.clone());
    let tasks = vec![
        Task::new("metering.inbox", inbox),
        Task::new("metering.outbox", relay),
        Task::new("metering.dead_letters", metering.letters.watch(deps.stop.clone())),
        Task::new("metering.requests", requests.clean_up(deps.stop.clone())),
        Task::new("metering.limits", metering.check_on(owner, deps.stop.clone())),
        Task::new("metering.facts", metering.forget_on(deps.stop)),
    ];
    let ready = Arc::new(move || {
        let db = db.clone();
        let ping = async move { db.ping().await.map_err(|error| error.to_string()) };
        Box::pin(ping) as futures_util::future::BoxFuture<'static, Result<(), String>>
    });
    Ok(Role { name: "metering", channel, tasks, ready })
}

fn routes(metering: &Metering, requests: &Requests, stop: &CancellationToken) -> Routes {
    let (metering, requests, stop) = (metering.clone(), requests.clone(), stop.clone());
    let dead_letters = grpc::DeadLetters { metering: metering.clone(), requests: requests.clone() };
    let usage = grpc::Usage { metering: metering.clone(), requests, stop };
    let mut routes = Routes::builder();
    routes
        .add_service(DeadLetterServiceServer::new(dead_letters))
        .add_service(FactServiceServer::new(grpc::Facts(metering.clone())))
        .add_service(LimitServiceServer::new(grpc::LimitsGrpc(metering.clone())))
        .add_service(MeterServiceServer::new(grpc::Meters(metering)))
        .add_service(UsageServiceServer::new(usage));
    routes.routes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migration_holds_the_table_of_dead_letters_as_it_is_documented() {
        let migration = include_str!("../migrations/0004_dead_letter.sql");
        assert_eq!(migration, stowage_bus::DEAD_LETTER_SCHEMA);
    }
}
