//! Invoices: the provider's, shown with the account they are for, and their payments.

use std::collections::BTreeMap;

use stowage_auth::{RequestContext, Scope};
use stowage_db::Tx;
use stowage_provider::{
    Error as ProviderError, Invoice, InvoiceListing, InvoiceState, Payment, PaymentRefusal,
};
use stowage_request::Once;
use stowage_types::{CustomerId, Malformed, Money, name, page};
use time::OffsetDateTime;

use super::charge::Line;
use super::dunning::Stage;
use super::payment::{Bound, Target};
use super::subscription::Subscription;
use super::{Billing, asked_for};
use crate::error::Error;
use crate::events::{PAYMENT_RECORDED, PaymentRecorded};
use crate::store;

/// An invoice, and what billing knows of it beside what the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownInvoice {
    pub(crate) invoice: Invoice,
    /// The account it is for; empty: none of ours.
    pub(crate) s3uid: String,
    /// When it was first announced as overdue.
    pub(crate) overdue_time: Option<OffsetDateTime>,
    /// The highest stage that it was announced at.
    pub(crate) dunning_stage: Option<Stage>,
    /// What it is for; empty in lists, and if nothing was rated for it.
    pub(crate) lines: Vec<Line>,
}

/// Which invoices are listed.
#[derive(Debug, Clone)]
pub(crate) struct InvoicesListing {
    /// Rows of a page.
    pub(crate) size: i64,
    pub(crate) token: String,
    pub(crate) customer: Option<CustomerId>,
    pub(crate) state: Option<InvoiceState>,
}

/// A payment that came in.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) invoice_id: i64,
    /// Absent: all that is left to pay.
    pub(crate) amount: Option<Money>,
    pub(crate) reference: String,
}

impl InvoicesListing {
    /// What a token of this listing is bound to.
    fn scope_text(&self, customer: Option<CustomerId>) -> String {
        let customer = customer.map(|id| id.to_string()).unwrap_or_default();
        format!("{customer}/{:?}", self.state)
    }
}

impl Billing {
    /// Returns an invoice that the caller sees.
    pub(crate) async fn get_invoice(
        &self,
        cx: &RequestContext,
        id: i64,
    ) -> Result<ShownInvoice, Error> {
        let found = self.find_seen(cx, id).await?;
        let mut shown = self.to_shown(found).await?;
        shown.lines = self.lines_of(id).await?;
        Ok(shown)
    }

    /// Returns a page of invoices, newest first, and the token of the next one; empty: the end.
    pub(crate) async fn list_invoices(
        &self,
        cx: &RequestContext,
        listing: InvoicesListing,
    ) -> Result<(Vec<ShownInvoice>, String), Error> {
        let Some(customer) = asked_for(cx.principal.scope(), listing.customer) else {
            return Ok((Vec::new(), String::new()));
        };
        let scope = listing.scope_text(customer);
        let refused = |bad: Malformed| Error::PageToken { why: bad.why };
        let before = match page::decode("invoices", &scope, &listing.token).map_err(refused)? {
            None => None,
            Some(cursor) => Some(
                cursor
                    .parse()
                    .map_err(|_| refused(Malformed::new("is not a token of this listing")))?,
            ),
        };
        let wanted =
            InvoiceListing { customer, state: listing.state, before, max: listing.size + 1 };
        let mut found = self.ask(self.provider.list_invoices(wanted)).await?;
        let rows = usize::try_from(listing.size).map_err(Error::internal)?;
        let has_more = found.len() > rows;
        found.truncate(rows);
        let next = match found.last() {
            Some(last) if has_more => page::encode("invoices", &scope, &last.id.to_string()),
            _ => String::new(),
        };
        Ok((self.to_all_shown(found).await?, next))
    }

    /// Books a payment with the provider, and lets the account go if it was held for this.
    pub(crate) async fn record_payment(
        &self,
        cx: &RequestContext,
        receipt: Receipt,
        once: &Once<ShownInvoice>,
    ) -> Result<ShownInvoice, Error> {
        let invoice_id = receipt.invoice_id;
        self.find_seen(cx, invoice_id).await?;
        let Receipt { amount, reference, .. } = receipt;
        let wanted = Bound::new(Target::Invoice(invoice_id), amount);
        self.bind_reference(&reference, wanted).await?;
        let payment = Payment { reference, invoice_id, amount, actor: cx.actor() };
        let paid = match self.ask(self.provider.record_payment(&payment)).await {
            Ok(paid) => paid,
            Err(error) => return Err(self.let_go_of(&payment.reference, of_payment(error)).await),
        };
        let mut tx = self.db.begin().await?;
        if paid.state != InvoiceState::Open {
            self.settle(&mut tx, invoice_id).await?;
        }
        let shown = self.to_shown(paid).await?;
        store::payment::set_booked(&mut tx, &payment.reference);
        self.tell_payment(cx, &mut tx, &payment.reference, &shown).await?;
        once.answer(&mut tx, &shown).await?;
        tx.commit().await?;
        Ok(shown)
    }

    /// Tells of a payment, the first time it is met.
    async fn tell_payment(
        &self,
        cx: &RequestContext,
        tx: &mut Tx,
        reference: &str,
        ShownInvoice { invoice, s3uid, .. }: &ShownInvoice,
    ) -> Result<(), Error> {
        let key = (self.provider.name(), reference);
        if !store::payment::insert(tx, key, invoice.id, self.clock.now()).await? {
            return Ok(());
        }
        let new = serde_json::json!({
            "invoice_id": invoice.id,
            "reference": reference,
            "total": invoice.total.to_string(),
            "paid": invoice.paid.to_string(),
            "balance": invoice.balance().to_string(),
        });
        let message = PaymentRecorded {
            customer_id: invoice.customer.0,
            s3uid: s3uid.clone(),
            actor: cx.actor(),
            request_id: cx.request_id.clone(),
            new_json: new.to_string(),
        };
        let subject = name::invoice(invoice.id);
        self.outbox.push(tx, PAYMENT_RECORDED, &subject, &message).await?;
        Ok(())
    }

    /// The provider's invoice, if the caller sees it.
    pub(super) async fn find_seen(&self, cx: &RequestContext, id: i64) -> Result<Invoice, Error> {
        let found = self.ask(self.provider.find_invoices(&[id])).await?.pop();
        found.filter(|found| cx.sees(found.customer)).ok_or(Error::InvoiceNotFound)
    }

    /// The subscriptions that invoices are for, by service.
    pub(super) async fn subscriptions_of(
        &self,
        invoices: &[Invoice],
    ) -> Result<BTreeMap<i64, Subscription>, Error> {
        let services: Vec<i64> = invoices.iter().map(|invoice| invoice.service_id).collect();
        let (provider, scope) = (self.provider.name(), Scope::Everything);
        let found = store::subscription::list(&self.db, provider, scope, &services).await?;
        let by_service = |of: Subscription| Some((of.placed?.service_id, of));
        Ok(found.into_iter().filter_map(by_service).collect())
    }

    pub(super) async fn to_shown(&self, invoice: Invoice) -> Result<ShownInvoice, Error> {
        let mut shown = self.to_all_shown(vec![invoice]).await?;
        shown.pop().ok_or(Error::InvoiceNotFound)
    }

    async fn to_all_shown(&self, invoices: Vec<Invoice>) -> Result<Vec<ShownInvoice>, Error> {
        let of = self.subscriptions_of(&invoices).await?;
        let ids: Vec<i64> = invoices.iter().map(|invoice| invoice.id).collect();
        let announced = store::dunning::announced(&self.db, self.provider.name(), &ids).await?;
        let s3uid = |service_id| of.get(&service_id).map(|of| of.s3uid.to_string());
        let shown = |invoice: Invoice| ShownInvoice {
            s3uid: s3uid(invoice.service_id).unwrap_or_default(),
            overdue_time: announced.get(&invoice.id).map(|known| known.overdue_time),
            dunning_stage: announced.get(&invoice.id).map(|known| known.reached.stage),
            lines: Vec::new(),
            invoice,
        };
        Ok(invoices.into_iter().map(shown).collect())
    }
}

fn of_payment(error: ProviderError) -> Error {
    match error {
        ProviderError::NotFound => Error::InvoiceNotFound,
        ProviderError::Payment(refusal) => refused(refusal),
        error => error.into(),
    }
}

pub(super) fn refused(refusal: PaymentRefusal) -> Error {
    match refusal {
        PaymentRefusal::NotOpen => Error::InvoiceState,
        PaymentRefusal::TooHigh { balance } => Error::PaymentTooHigh { balance },
        PaymentRefusal::Other { why } => Error::PaymentRefused { why },
    }
}
