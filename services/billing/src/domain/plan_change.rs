//! Moves of subscriptions to other plans, or to other versions of theirs.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_types::PlanId;

use super::Billing;
use super::closing::PlanChange;
use super::subscription::{State, Subscription};
use crate::error::Error;
use crate::store;
use crate::store::plan::Which;

impl Billing {
    /// Moves an active subscription to a plan and version, from this hour on. The provider is told
    /// behind that. What is left of the
    /// old price is given back and the new one charged when the period is closed. A move back under
    /// the key of the move takes it back.
    pub(crate) async fn change_plan(
        &self,
        cx: &RequestContext,
        service_id: i64,
        (change_key, (plan, version)): (&str, (PlanId, i32)),
    ) -> Result<Subscription, Error> {
        let key = self.find_own(cx, service_id).await?.key;
        let mut tx = self.db.begin().await?;
        let found = self.lock(&mut tx, &key).await?;
        if found.state != State::Active {
            return Err(found.refused());
        }
        let current = (found.plan, found.plan_version);
        let now = self.clock.now();
        let own_key = now.unix_timestamp_nanos().to_string();
        let change_key = if change_key.is_empty() { &own_key } else { change_key };
        if current == (plan, version) {
            return Ok(found);
        }
        let sold = Which::Version(found.plan_version);
        let old = store::plan::find(&mut tx, found.plan, sold).await?;
        let old = old.ok_or_else(|| Error::internal("a subscription's plan is gone"))?;
        let new = store::plan::find(&mut tx, plan, Which::Version(version)).await?;
        new.ok_or(Error::PlanNotFound)?.check_same_kind(&old, found.period_price.currency())?;
        store::subscription::set_plan(&mut tx, &key, (plan, version)).await?;
        let made = store::subscription::find_change(&mut tx, &key, change_key).await?;
        match made {
            // It is taken back by whoever made it: it never was.
            Some(made) if made.from == (plan, version) => {
                store::subscription::delete_change(&mut tx, &key, change_key);
            }
            Some(_) => return Err(Error::OrderKeyReused),
            None => {
                let change = PlanChange { from: current, to: (plan, version), time: now };
                store::subscription::insert_change(&mut tx, &key, change_key, &change);
            }
        }
        let changed = store::subscription::find_by_key(&mut tx, &key).await?;
        tx.notify_after_commit(Arc::clone(&self.schedule_changed));
        tx.commit().await?;
        changed.ok_or(Error::SubscriptionNotFound)
    }
}
