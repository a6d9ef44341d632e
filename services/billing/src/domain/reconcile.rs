//! Reconciliation: what is billed here, against what the provider has, both ways.
//!
//! It looks without locks while all of it changes, so what is under way is left alone, and what
//! seems to differ is read once more, here and there, before it is told. What is mended is mended
//! by the same calls that should have done it, which may be repeated; nothing that runs is ended
//! that is not over here. Without being told to it mends nothing.

mod compare;
pub(crate) mod cursor;
pub(crate) mod finding;
mod mend;
mod rest;
mod round;
mod suspects;

pub(super) use suspects::Suspects;

use super::Billing;
use super::subscription::Subscription;
use crate::error::Error;
use crate::store;
use compare::{Difference, compare};

impl Billing {
    /// What a subscription and the provider's service differ in; what seems to differ is read once
    /// more. Answers the subscription as it was read last.
    async fn differences(
        &self,
        own: Subscription,
    ) -> Result<(Subscription, Vec<Difference>), Error> {
        let mut own = own;
        for is_last in [false, true] {
            let service = self.ask(self.provider.find_service(&own.order_ref())).await?;
            // Read behind the provider: what has changed here is there already.
            let again = store::subscription::find_by_key(&self.db, &own.key).await?;
            own = again.ok_or(Error::SubscriptionNotFound)?;
            let found = compare(&own, service.as_ref(), self.clock.now());
            if found.is_empty() || is_last {
                return Ok((own, found));
            }
        }
        Ok((own, Vec::new()))
    }
}
