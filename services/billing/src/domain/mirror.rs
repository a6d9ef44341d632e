//! Tells the provider of scheduled ends. The schedule itself is billing's own: a provider that is
//! away holds up no customer, it is told later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::Turns;
use stowage_provider::Error as ProviderError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::subscription::Subscription;
use super::{Billing, LEASE};
use crate::error::Error;
use crate::store;

/// Most changes read at once.
const PAGE_ROWS: i64 = 100;
impl Billing {
    /// Mirrors changes as they come, and every `interval` those that failed, until `stop`. One
    /// replica does, named by `owner`: of two that tell at once the one with the older news could
    /// be heard last. What another replica has changed it finds within `interval`.
    pub(crate) fn mirror_until(
        self: Arc<Self>,
        interval: Duration,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                loop {
                    let changed = self.schedule_changed.notified();
                    self.mirror_or_say().await;
                    let _: Result<(), _> = tokio::time::timeout(interval, changed).await;
                }
            };
            let turns = Turns::new("mirror", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    async fn mirror_or_say(&self) {
        if let Err(error) = self.mirror_changes().await {
            tracing::warn!(%error, "the provider was not told of a scheduled end; it will be");
        }
    }

    /// Tells the provider of every change it was not told of; stops at the first that fails.
    pub(crate) async fn mirror_changes(&self) -> Result<(), Error> {
        loop {
            let provider = self.provider.name();
            let changed =
                store::subscription::list_unmirrored(&self.db, provider, PAGE_ROWS).await?;
            if changed.is_empty() {
                return Ok(());
            }
            for subscription in &changed {
                self.mirror(subscription).await?;
            }
        }
    }

    async fn mirror(&self, subscription: &Subscription) -> Result<(), Error> {
        let (order, end) = (subscription.order_ref(), subscription.cancel_time);
        match self.ask(self.provider.mirror_end(&order, end)).await {
            Ok(()) => {}
            Err(error) if error.is_transient() => return Err(error.into()),
            // It has ended there, or will not be told: a repeat changes nothing.
            Err(error @ (ProviderError::NotFound | ProviderError::Refused { .. })) => {
                tracing::error!(order.key = %order.key, %error, "a scheduled end is not mirrored");
            }
            Err(_) => {}
        }
        let mut tx = self.db.begin().await?;
        let version = subscription.schedule_version;
        store::subscription::set_mirrored(&mut tx, &subscription.key, version).await?;
        tx.commit().await?;
        Ok(())
    }
}
