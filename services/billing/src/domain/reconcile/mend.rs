//! Makes the provider be as billing says, by the calls that should have done it.

use stowage_db::Tx;
use stowage_provider::{Error as ProviderError, OrderRef};
use stowage_types::name;

use super::compare::{Difference, Mend};
use super::finding::{Finding, Outcome};
use super::round::Round;
use crate::domain::subscription::Subscription;
use crate::error::Error;
use crate::events::{STANDING_CHANGED, StandingChanged};
use crate::store;

impl Round<'_> {
    /// Mends a difference of a subscription, if that is wanted and safe.
    pub(super) async fn mend_own(
        &self,
        own: &Subscription,
        difference: &Difference,
    ) -> Result<Outcome, Error> {
        let Some(mend) = difference.mend.filter(|_| self.mends) else { return Ok(Outcome::Left) };
        let outcome = outcome_of(self.call(mend, own).await);
        if outcome == Outcome::Mended {
            let mut tx = self.billing.db.begin().await?;
            if mend == Mend::Mirror {
                let version = own.schedule_version;
                store::subscription::set_mirrored(&mut tx, &own.key, version).await?;
            }
            let installation = self.billing.installation_of(own);
            let told = Finding::of(own, &installation, difference.clone(), Outcome::Mended);
            self.audit(&mut tx, &told).await?;
            tx.commit().await?;
        }
        Ok(outcome)
    }

    async fn call(&self, mend: Mend, own: &Subscription) -> Result<(), ProviderError> {
        let (billing, order) = (self.billing, own.order_ref());
        let provider = &billing.provider;
        match mend {
            Mend::Accept => billing.ask(provider.activate(&order)).await,
            Mend::Terminate => billing.ask(provider.terminate(&order)).await,
            Mend::Undo => billing.ask(provider.undo_order(&order)).await,
            Mend::Mirror => billing.ask(provider.mirror_end(&order, own.cancel_time)).await,
        }
    }

    /// Cancels a pending order that is nobody's, if that is wanted. Its key is spent from then on.
    pub(super) async fn mend_stranger(
        &self,
        order: &OrderRef,
        finding: &Finding,
    ) -> Result<Outcome, Error> {
        if !self.mends {
            return Ok(Outcome::Left);
        }
        let billing = self.billing;
        let outcome = outcome_of(billing.ask(billing.provider.undo_order(order)).await);
        if outcome == Outcome::Mended {
            let mut tx = billing.db.begin().await?;
            store::subscription::spend_key(&mut tx, &order.key, billing.now()).await?;
            self.audit(&mut tx, finding).await?;
            tx.commit().await?;
        }
        Ok(outcome)
    }

    /// Tells the audit what was made to agree.
    async fn audit(&self, tx: &mut Tx, finding: &Finding) -> Result<(), Error> {
        let new = serde_json::json!({
            "kind": finding.kind.text(),
            "installation": finding.installation,
            "service_id": finding.service_id,
            "here": finding.here,
            "there": finding.there,
        });
        let customer = finding.customer;
        let message = StandingChanged {
            customer_id: customer.map_or(0, |customer| customer.0),
            s3uid: finding.s3uid.clone(),
            event: "billing.mended".to_owned(),
            actor: self.cx.actor(),
            request_id: self.cx.request_id.clone(),
            new_json: new.to_string(),
        };
        let subject = name::subscription(finding.service_id);
        self.billing.outbox.push(tx, STANDING_CHANGED, &subject, &message).await?;
        Ok(())
    }
}

fn outcome_of(answer: Result<(), ProviderError>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Mended,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
