//! The accounts role: customers, API keys and tokens, S3 accounts and their life cycle, sealed
//! access keys, orders and deletions as sagas, history.
//!
//! Layers: `grpc` translates, `domain` decides, `store` holds the SQL. `roles` calls the others.
//! [`build`] is the one way in.

mod caps;
mod config;
mod domain;
mod dunning;
mod error;
mod events;
mod grpc;
mod janitor;
mod roles;
mod store;
mod vault;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_auth::{Signer, TokenHash, Verifier};
use stowage_bus::{Audience, Bus, DeadLetters, Outbox, Subscription};
use stowage_db::Db;
use stowage_keyring::Keyring;
use stowage_request::Requests;
use stowage_runtime::{Role, RoleChannel, StackConfig, Task, calling_as, role_stack};
use stowage_saga::{Builder, Sagas};
use stowage_types::{Clock, Random, SecretString};
use tokio_util::sync::CancellationToken;

pub use config::{Config, DriftTimes, Webhook};
pub use error::Error;

use caps::{CAP_CHANGED, CAPS_CONSUMER, Caps};
use domain::account_move_saga::{GoOnMove, StartMove};
use domain::adoption_saga::AdoptAccount;
use domain::cancellation_saga::ChangeCancellation;
use domain::change_saga::{ChangeAccount, EndAccount};
use domain::deletion::{DeleteAccount, DeleteAccountV1};
use domain::order_saga::CreateAccount;
use domain::webhook::Webhooks;
use domain::{Domain, Shared};
use dunning::{DUNNING_CONSUMER, Dunning, INVOICE_EASED, INVOICE_OVERDUE, INVOICE_SETTLED};
use events::{
    CONTENT_CHANGED, HISTORY_CONSUMER, History, LOCATION_CHANGED, PAYMENT_RECORDED, PLAN_CHANGED,
    STANDING_CHANGED, USAGE_CORRECTED,
};
use vault::AnswerVault;
use webhooks::WEBHOOKS_CONSUMER;

/// The role's migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Name of the role.
const ROLE: &str = "accounts";
/// Who calls of this role are made as.
const SUBJECT: &str = "services/accounts";

/// What the role is built of.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Its database, opened with [`MIGRATOR`].
    pub db: Db,
    /// Carries events.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids, keys and tokens.
    pub random: Arc<dyn Random>,
    /// Verifies who calls.
    pub verifier: Verifier,
    /// Signs whom tokens belong to, and this role's own calls.
    pub signer: Signer,
    /// Seals access keys.
    pub keyring: Arc<Keyring>,
    /// The storage role.
    pub storage: RoleChannel,
    /// The billing role.
    pub billing: RoleChannel,
    /// The metering role.
    pub metering: RoleChannel,
    /// What webhooks are signed with, by the names of the settings.
    pub webhook_secrets: BTreeMap<String, SecretString>,
    /// Ends the role's tasks.
    pub stop: CancellationToken,
}

/// The role could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Settings are wrong; all faults.
    #[error("accounts: {}", .0.join("; "))]
    Config(Vec<String>),
    /// A webhook has no secret, or its authorities cannot be read.
    #[error("accounts: {0}")]
    Webhooks(#[source] stowage_runtime::BoxError),
    /// The entries of history of before could not be chained; the next start goes on.
    #[error("accounts: history could not be chained: {0}")]
    Audit(#[from] stowage_db::Error),
}

/// Builds the role. Its tasks do not run before they are spawned.
///
/// # Errors
/// - [`BuildError::Config`]
/// - [`BuildError::Webhooks`]
/// - [`BuildError::Audit`]
pub async fn build(config: Config, deps: Deps) -> Result<Role, BuildError> {
    let faults = config.check();
    if !faults.is_empty() {
        return Err(BuildError::Config(faults));
    }
    // Nothing is subscribed and nobody can call yet, so nothing gets in between.
    domain::audit::chain_what_was_before(&deps.db).await?;
    let outbox = Outbox::new("stowage/accounts", Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let domain = domain_of(config, &deps, outbox.clone()).map_err(BuildError::Webhooks)?;
    subscribe(&domain, &deps);
    let stack = StackConfig {
        role: ROLE,
        verifier: deps.verifier.clone(),
        call_timeout: domain.config.call_timeout(),
    };
    let clean_up =
        stowage_bus::inbox::clean_up(deps.db.clone(), deps.clock.clone(), deps.stop.clone());
    let relay = stowage_bus::relay(deps.db.clone(), &outbox, deps.bus, deps.stop.clone());
    let tasks = vec![
        Task::new("accounts.outbox", relay),
        Task::new("accounts.inbox", clean_up),
        Task::new("accounts.dead_letters", domain.letters.watch(deps.stop.clone())),
        Task::new("accounts.requests", domain.requests.clean_up(deps.stop.clone())),
        Task::new("accounts.sagas", domain.sagas.resume()),
        Task::new("accounts.reconcile", janitor::reconcile(domain.clone(), deps.stop.clone())),
        Task::new("accounts.drift", janitor::drift(domain.clone(), deps.stop.clone())),
        Task::new("accounts.moves", janitor::moves(domain.clone(), deps.stop.clone())),
        Task::new("accounts.webhooks", domain.webhooks.clone().deliver_until(deps.stop.clone())),
        Task::new("accounts.janitor", janitor::run(domain.clone(), deps.stop)),
    ];
    let db = deps.db;
    Ok(Role {
        name: ROLE,
        channel: role_stack(grpc::routes(domain), stack),
        tasks,
        ready: Arc::new(move || {
            let db = db.clone();
            Box::pin(async move { db.ping().await.map_err(|error| error.to_string()) })
        }),
    })
}

/// What is refused for good is kept as dead letters.
fn subscribe(domain: &Domain, deps: &Deps) {
    let history = Subscription {
        consumer: HISTORY_CONSUMER,
        kinds: &[
            PAYMENT_RECORDED,
            STANDING_CHANGED,
            PLAN_CHANGED,
            CONTENT_CHANGED,
            LOCATION_CHANGED,
            USAGE_CORRECTED,
        ],
        audience: Audience::OneReplica,
        handler: Arc::new(History { db: deps.db.clone(), clock: Arc::clone(&deps.clock) }),
    };
    let dunning = Subscription {
        consumer: DUNNING_CONSUMER,
        kinds: &[INVOICE_OVERDUE, INVOICE_EASED, INVOICE_SETTLED],
        audience: Audience::OneReplica,
        handler: Arc::new(Dunning(domain.clone())),
    };
    let caps = Subscription {
        consumer: CAPS_CONSUMER,
        kinds: &[CAP_CHANGED],
        audience: Audience::OneReplica,
        handler: Arc::new(Caps(domain.clone())),
    };
    let webhooks = Subscription {
        consumer: WEBHOOKS_CONSUMER,
        kinds: webhooks::KINDS,
        audience: Audience::OneReplica,
        handler: webhooks::handler(domain),
    };
    for subscription in [history, dunning, caps, webhooks] {
        deps.bus.subscribe(domain.letters.kept(subscription));
    }
}

fn domain_of(
    config: Config,
    deps: &Deps,
    outbox: Outbox,
) -> Result<Domain, stowage_runtime::BoxError> {
    let calling = |channel: &RoleChannel| calling_as(channel.clone(), SUBJECT, deps.signer.clone());
    let shared = Arc::new(Shared {
        db: deps.db.clone(),
        clock: Arc::clone(&deps.clock),
        random: Arc::clone(&deps.random),
        outbox,
        keyring: Arc::clone(&deps.keyring),
        roles: roles::Roles::new(
            calling(&deps.storage),
            calling(&deps.billing),
            calling(&deps.metering),
        ),
    });
    let takes_over = config.takes_over && deps.db.is_exclusive();
    let settings = stowage_saga::Settings { takeover: takes_over, ..config.sagas.clone() };
    let (clock, random) = (Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let sagas: Sagas<Shared> = Builder::new(deps.db.clone(), Arc::clone(&shared), clock, random)
        .kind::<CreateAccount>()
        .kind::<AdoptAccount>()
        .kind::<DeleteAccount>()
        .kind::<DeleteAccountV1>()
        .kind::<ChangeAccount>()
        .kind::<EndAccount>()
        .kind::<ChangeCancellation>()
        .kind::<StartMove>()
        .kind::<GoOnMove>()
        .settings(settings)
        .stop(deps.stop.clone())
        .build();
    let (clock, random) = (Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let requests = Requests::new(deps.db.clone(), clock, random, config.call_timeout())
        .taking_over(takes_over)
        .sealed_by(Arc::new(AnswerVault(Arc::clone(&deps.keyring))));
    let (clock, random) = (Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let letters = DeadLetters::new(deps.db.clone(), clock, random);
    let with = (deps.db.clone(), Arc::clone(&deps.clock), Arc::clone(&deps.random));
    let webhooks = Webhooks::new(with, &config.webhooks, &deps.webhook_secrets)?;
    let (signer, webhooks, config) = (deps.signer.clone(), Arc::new(webhooks), Arc::new(config));
    Ok(Domain { shared, sagas, requests, letters, signer, webhooks, config })
}

/// Makes the token of this hash ([`stowage_auth::hash_token`]) the administrator's one and only:
/// role administrator, no end. Repeating it changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn ensure_administrator_token(
    db: &Db,
    token_hash: TokenHash,
    clock: &dyn Clock,
) -> Result<(), stowage_db::Error> {
    let token = domain::session::administrator(clock);
    if store::token::find(db, token_hash).await?.is_some() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    store::token::delete_others(&mut tx, token.role, token_hash).await?;
    store::token::insert(&mut tx, token_hash, &token, None).await?;
    tx.commit().await
}

/// Hooks for this crate's own tests of crashes.
#[doc(hidden)]
pub mod matrix {
    use stowage_bus::Outbox;
    use stowage_saga::matrix::Case;

    use crate::{Config, Deps};

    /// Every kind of saga that the role registers, with all that it must survive.
    #[must_use]
    pub fn of_role(config: Config, deps: &Deps) -> Vec<(&'static str, Vec<Case>)> {
        let outbox = Outbox::new("test", deps.clock.clone(), deps.random.clone());
        let domain = crate::domain_of(config, deps, outbox);
        domain.expect("without webhooks nothing is read").sagas.matrix()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migration_holds_the_table_of_sagas_as_it_is_documented() {
        let migration = include_str!("../migrations/0001_first.sql");
        assert!(migration.contains(stowage_saga::SCHEMA));
        let later = include_str!("../migrations/0004_saga.sql");
        assert_eq!(later, stowage_saga::SCHEMA_STUCK);
        let error = include_str!("../migrations/0006_saga_error.sql");
        assert_eq!(error, stowage_saga::SCHEMA_ERROR);
        let trace = include_str!("../migrations/0008_trace.sql");
        assert!(trace.ends_with(stowage_saga::SCHEMA_TRACE));
    }

    #[test]
    fn the_migration_holds_the_table_of_dead_letters_as_it_is_documented() {
        let migration = include_str!("../migrations/0007_dead_letter.sql");
        assert_eq!(migration, stowage_bus::DEAD_LETTER_SCHEMA);
    }
}
