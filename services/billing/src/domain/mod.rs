//! The rules of billing.

pub(crate) mod dunning;
pub(crate) mod invoice;
pub(crate) mod mirror;
pub(crate) mod period;
pub(crate) mod plan;
pub(crate) mod subscription;
pub(crate) mod terms;

use std::sync::Arc;
use std::time::Duration;

use stowage_bus::Outbox;
use stowage_db::Db;
use stowage_provider::{Error as ProviderError, Provider};
use stowage_types::Clock;
use tokio::sync::Notify;

use crate::Config;

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
    /// What an unpaid invoice comes to, in the order of time.
    dunning_steps: Vec<dunning::Step>,
    /// Woken when a scheduled end was changed.
    schedule_changed: Arc<Notify>,
}

impl Billing {
    pub(crate) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        outbox: Outbox,
        provider: Arc<dyn Provider>,
        config: &Config,
    ) -> Self {
        let provider_timeout = config.provider_timeout();
        let schedule_changed = Arc::new(Notify::new());
        let dunning_steps = config.dunning_steps();
        Self { db, clock, outbox, provider, provider_timeout, dunning_steps, schedule_changed }
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
