//! Tells the provider of scheduled ends and of changes of plans. Both are billing's own: a provider
//! that is away holds up no customer, it is told later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::Turns;
use stowage_provider::{Error as ProviderError, OrderKey};
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

    /// Tells the provider of every change it was not told of. An installation that is away is asked
    /// no more, and holds up no other.
    pub(crate) async fn mirror_changes(&self) -> Result<(), Error> {
        let mut away: Vec<(String, Error)> = Vec::new();
        let mut after = String::new();
        loop {
            let (provider, page) = (self.provider.name(), (after.as_str(), PAGE_ROWS));
            let changed = store::subscription::list_unmirrored(&self.db, provider, page).await?;
            let Some(last) = changed.last() else {
                return away.pop().map_or(Ok(()), |(_, error)| Err(error));
            };
            after = last.key.to_string();
            for subscription in &changed {
                let installation = &subscription.installation;
                if away.iter().any(|(known, _)| known == installation) {
                    continue;
                }
                if let Err(error) = self.mirror(subscription).await {
                    away.push((installation.clone(), error));
                }
            }
        }
    }

    async fn mirror(&self, subscription: &Subscription) -> Result<(), Error> {
        let (order, key) = (subscription.order_ref(), &subscription.key);
        if !subscription.is_plan_told {
            let (plan, price) = (subscription.plan, subscription.period_price);
            self.tell_provider(key, self.provider.mirror_plan(&order, plan, price)).await?;
            let mut tx = self.db.begin().await?;
            store::subscription::set_plan_told(&mut tx, key, subscription.plan_changes).await?;
            tx.commit().await?;
        }
        if !subscription.is_mirrored {
            let end = subscription.cancel_time;
            self.tell_provider(key, self.provider.mirror_end(&order, end)).await?;
            let mut tx = self.db.begin().await?;
            let version = subscription.schedule_version;
            store::subscription::set_mirrored(&mut tx, key, version).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn tell_provider(
        &self,
        key: &OrderKey,
        call: impl Future<Output = Result<(), ProviderError>>,
    ) -> Result<(), Error> {
        match self.ask(call).await {
            Ok(()) => {}
            Err(error) if error.is_transient() => return Err(error.into()),
            // It has ended there, or will not be told: a repeat changes nothing.
            Err(error @ (ProviderError::NotFound | ProviderError::Refused { .. })) => {
                tracing::error!(order.key = %key, %error, "an end or a plan is not mirrored");
            }
            Err(_) => {}
        }
        Ok(())
    }
}
