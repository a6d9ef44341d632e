//! What billing says of unpaid invoices: an account is suspended, and let go again.

use async_trait::async_trait;
use prost::Message as _;
use stowage_auth::RequestContext;
use stowage_bus::{BoxError, Event, Handler, Refused, first_time};
use stowage_proto::billing::{InvoiceOverdue, InvoiceSettled};
use stowage_types::S3uid;

use crate::domain::Domain;
use crate::error::Error;

/// Type of [`InvoiceOverdue`].
pub(crate) const INVOICE_OVERDUE: &str = "stowage.billing.invoice.overdue.v1";
/// Type of [`InvoiceSettled`].
pub(crate) const INVOICE_SETTLED: &str = "stowage.billing.invoice.settled.v1";
/// Names the consumer in the inbox.
pub(crate) const DUNNING_CONSUMER: &str = "accounts.dunning";

/// Takes both events.
pub(crate) struct Dunning(pub(crate) Domain);

#[async_trait]
impl Handler for Dunning {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        let shared = &self.0.shared;
        // An old event that comes again must not undo what a newer one has done.
        let mut tx = shared.db.begin().await?;
        if !first_time(&mut tx, DUNNING_CONSUMER, event, &*shared.clock).await? {
            return Ok(());
        }
        drop(tx);
        let done = match event.kind.as_str() {
            INVOICE_OVERDUE => {
                let InvoiceOverdue { s3uid, invoice_id } =
                    InvoiceOverdue::decode(event.data.as_slice())?;
                let (cx, why) = because(invoice_id, "is unpaid");
                self.0.suspend_unpaid(&cx, read(&s3uid)?, why).await
            }
            _ => {
                let InvoiceSettled { s3uid, invoice_id } =
                    InvoiceSettled::decode(event.data.as_slice())?;
                let (cx, why) = because(invoice_id, "is settled");
                self.0.resume_paid(&cx, read(&s3uid)?, why).await
            }
        };
        match done {
            // It has ended or is gone: there is nothing to hold.
            Ok(()) | Err(Error::AccountNotFound | Error::AccountState { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut tx = shared.db.begin().await?;
        first_time(&mut tx, DUNNING_CONSUMER, event, &*shared.clock).await?;
        Ok(tx.commit().await?)
    }
}

fn because(invoice_id: i64, is: &str) -> (RequestContext, String) {
    let cx = RequestContext::background(format!("invoice-{invoice_id}"));
    (cx, format!("invoice {invoice_id} {is}"))
}

fn read(s3uid: &str) -> Result<S3uid, BoxError> {
    S3uid::parse(s3uid)
        .map_err(|_| Box::new(Refused { why: "it names no account".to_owned() }) as BoxError)
}
