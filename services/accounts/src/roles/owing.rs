//! What a customer owes, as billing says.

use stowage_auth::RequestContext;
use stowage_proto::billing;
use stowage_proto::billing::{DunningStage, InvoiceState};
use stowage_types::{CustomerId, S3uid, name};

use super::{CallError, Roles};

/// Invoices of one call.
const PAGE: i32 = 1000;

impl Roles {
    /// Whether an open invoice of an account was announced at the last stage.
    pub(crate) async fn is_unpaid_to_the_last(
        &self,
        cx: &RequestContext,
        customer: CustomerId,
        s3uid: &S3uid,
    ) -> Result<bool, CallError> {
        let mut page_token = String::new();
        loop {
            let message = billing::ListInvoicesRequest {
                customer: name::customer(customer),
                state: InvoiceState::Open.into(),
                page_size: PAGE,
                page_token,
            };
            let page = self.invoices.clone().list_invoices(cx.outgoing(message)).await?;
            let page = page.into_inner();
            let is_last = |invoice: &billing::Invoice| {
                invoice.s3uid == s3uid.as_str() && invoice.dunning_stage() == DunningStage::Ended
            };
            if page.invoices.iter().any(is_last) {
                return Ok(true);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(false);
            }
        }
    }
}
