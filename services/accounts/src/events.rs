//! Events: those that accounts sends, and billing's that it takes into history.

use std::sync::Arc;

use async_trait::async_trait;
use prost::Message as _;
use stowage_bus::{BoxError, Handler, Outbox, first_time};
use stowage_db::{Db, Error, Tx};
use stowage_proto::{accounts, billing};
use stowage_types::{Clock, CustomerId, PlanId, S3uid, name};

use crate::domain::history::Entry;

const ACTIVATED: &str = "stowage.accounts.account.activated.v1";
const DELETED: &str = "stowage.accounts.account.deleted.v1";
const REVOKED: &str = "stowage.accounts.token.revoked.v1";

/// Type of billing's event of a changed plan.
pub(crate) const PLAN_CHANGED: &str = "stowage.billing.plan.changed.v1";
/// Names the consumer of history in the inbox.
pub(crate) const HISTORY_CONSUMER: &str = "accounts.history";

/// Most hashes in one event.
const HASHES_MAX: usize = 1000;

pub(crate) async fn push_activated(
    outbox: &Outbox,
    tx: &mut Tx,
    s3uid: &S3uid,
    (customer, plan): (CustomerId, PlanId),
) -> Result<(), Error> {
    let (customer_id, plan_id) = (customer.0, plan.0);
    let message = accounts::AccountActivated { s3uid: s3uid.to_string(), customer_id, plan_id };
    outbox.push(tx, ACTIVATED, &name::account(s3uid), &message).await
}

pub(crate) async fn push_deleted(
    outbox: &Outbox,
    tx: &mut Tx,
    s3uid: &S3uid,
    customer: CustomerId,
) -> Result<(), Error> {
    let message = accounts::AccountDeleted { s3uid: s3uid.to_string(), customer_id: customer.0 };
    outbox.push(tx, DELETED, &name::account(s3uid), &message).await
}

pub(crate) async fn push_tokens_revoked(
    outbox: &Outbox,
    tx: &mut Tx,
    hashes: &[Vec<u8>],
) -> Result<(), Error> {
    for part in hashes.chunks(HASHES_MAX) {
        let message =
            accounts::TokenRevoked { token_hashes: part.iter().map(hex::encode).collect() };
        outbox.push(tx, REVOKED, "tokens", &message).await?;
    }
    Ok(())
}

/// Writes billing's changes of plans into history.
pub(crate) struct PlanHistory {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Handler for PlanHistory {
    async fn handle(&self, event: &stowage_bus::Event) -> Result<(), BoxError> {
        let changed = billing::PlanChanged::decode(event.data.as_slice())?;
        let entry = Entry {
            event: changed.event,
            actor: changed.actor,
            customer_id: 0,
            plan_id: changed.plan_id,
            s3uid: String::new(),
            old_json: changed.old_json,
            new_json: changed.new_json,
        };
        let mut tx = self.db.begin().await?;
        if first_time(&mut tx, HISTORY_CONSUMER, event, &*self.clock).await? {
            entry.write(&mut tx, event.time).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
