//! The rules of billing.

pub(crate) mod bill;
pub(crate) mod billed_usage;
pub(crate) mod brief;
pub(crate) mod charge;
pub(crate) mod closing;
pub(crate) mod credit;
pub(crate) mod document;
pub(crate) mod dunning;
pub(crate) mod hook;
pub(crate) mod invoice;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod mirror;
pub(crate) mod payment;
pub(crate) mod period;
pub(crate) mod plan;
pub(crate) mod plan_change;
pub(crate) mod quote;
pub(crate) mod reconcile;
pub(crate) mod subscription;
pub(crate) mod terms;
pub(crate) mod verification;

use std::sync::Arc;
use std::time::Duration;

use stowage_auth::Scope;
use stowage_bus::Outbox;
use stowage_db::Db;
use stowage_provider::signed::Verifier;
use stowage_provider::{Error as ProviderError, Provider};
use stowage_types::{Clock, CustomerId};
use tokio::sync::Notify;

use crate::Config;
use crate::usage::Usage;

/// How long a replica that vanished holds up the timers of another.
const LEASE: Duration = Duration::from_secs(30);

/// Billing's rules over its database and its provider.
#[derive(Debug)]
pub(crate) struct Billing {
    db: Db,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    provider: Arc<dyn Provider>,
    provider_timeout: Duration,
    usage: Usage,
    /// Who issues invoices, as their page shows it.
    seller: String,
    /// How long after the end of a period figures for it are waited for.
    close_after: time::Duration,
    /// What an unpaid invoice comes to, in the order of time.
    dunning_steps: Vec<dunning::Step>,
    /// Woken when a scheduled end was changed.
    schedule_changed: Arc<Notify>,
    /// Woken when credit may have paid what an account is held for.
    credit_changed: Notify,
    /// Of messages of payment processors; absent: none are taken.
    payment_verifier: Option<Verifier>,
    /// Messages of the provider's own system that were taken.
    taken: hook::Taken,
    /// What such messages have led to, to be looked at again.
    suspects: reconcile::Suspects,
}

/// Whose things a caller gets: whom he asks for, of whom he sees. `None`: nobody's.
fn asked_for(scope: Scope, wanted: Option<CustomerId>) -> Option<Option<CustomerId>> {
    match (scope, wanted) {
        (Scope::Everything, wanted) => Some(wanted),
        (Scope::Customer(own), None) => Some(Some(own)),
        (Scope::Customer(own), Some(wanted)) => (own == wanted).then_some(Some(own)),
    }
}

impl Billing {
    pub(crate) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        outbox: Outbox,
        (provider, usage): (Arc<dyn Provider>, Usage),
        config: &Config,
    ) -> Self {
        let provider_timeout = config.provider_timeout();
        let schedule_changed = Arc::new(Notify::new());
        Self {
            db,
            clock,
            outbox,
            provider,
            provider_timeout,
            usage,
            seller: config.seller.clone(),
            close_after: config.close_after(),
            dunning_steps: config.dunning_steps(),
            schedule_changed,
            credit_changed: Notify::new(),
            payment_verifier: None,
            taken: hook::Taken::default(),
            suspects: reconcile::Suspects::default(),
        }
    }

    /// Believes payment processors whose messages this verifies.
    pub(crate) fn believing(mut self, processors: Option<Verifier>) -> Self {
        self.payment_verifier = processors;
        self
    }

    /// How orders note an installation: the first has no name there.
    fn noted_as<'n>(&self, installation: &'n str) -> &'n str {
        if installation == self.provider.name() { "" } else { installation }
    }

    /// Waits for the provider for its bounded time. What it has not answered by then is unclear.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        match tokio::time::timeout(self.provider_timeout, call).await {
            Ok(answer) => answer,
            Err(late) => Err(ProviderError::pending(late)),
        }
    }
}
