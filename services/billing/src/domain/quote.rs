//! Whether an order could be placed, and on what terms.

use stowage_auth::RequestContext;
use stowage_types::Money;

use super::Billing;
use super::plan::Plan;
use super::subscription::{Buyer, check_buyer, check_limit};
use crate::error::Error;
use crate::store;
use crate::store::plan::Which;

/// The terms an order would get.
#[derive(Debug, Clone)]
pub(crate) struct Quote {
    pub(crate) plan: Plan,
    pub(crate) billed_by: String,
}

impl Billing {
    /// Says whether an order could be placed, and on what terms.
    pub(crate) async fn quote_order(
        &self,
        cx: &RequestContext,
        buyer: &Buyer,
    ) -> Result<Quote, Error> {
        check_buyer(cx, buyer)?;
        let plan = store::plan::find(&self.db, buyer.plan, Which::At(self.clock.now())).await?;
        let plan = plan.ok_or(Error::PlanNotFound)?;
        let price = plan.sell(buyer.currency, &buyer.location)?.period;
        let held = store::subscription::count_open(&self.db, buyer.plan, buyer.customer).await?;
        check_limit(&plan, held)?;
        let price = Money::from_nanos(price.nanos(), buyer.currency);
        self.note_email(buyer).await?;
        let provider = &self.provider;
        let installation = provider.installation_at(&buyer.location);
        self.ask(provider.check_order(installation, buyer.customer, price)).await?;
        let billed_by = if installation.is_empty() { provider.name() } else { installation };
        Ok(Quote { plan: plan.priced_in(buyer.currency), billed_by: billed_by.to_owned() })
    }

    /// Notes the address that the provider may find a customer by, if it is new.
    async fn note_email(&self, buyer: &Buyer) -> Result<(), Error> {
        let known = store::customer_link::find_email(&self.db, buyer.customer).await?;
        if buyer.email.is_empty() || known.as_ref() == Some(&buyer.email) {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        let now = self.clock.now();
        store::customer_link::set_email(&mut tx, buyer.customer, &buyer.email, now);
        tx.commit().await?;
        Ok(())
    }
}
