//! How customers pay, their credit, and credit notes. The provider keeps them.

use stowage_auth::{RequestContext, Scope};
use stowage_db::Tx;
use stowage_provider::{CreditNote, Error as ProviderError, NewCredit, PaymentTerms, Standing};
use stowage_request::Once;
use stowage_types::{CustomerId, Money, name};

use super::Billing;
use super::invoice::{ShownInvoice, refused};
use super::payment::{Bound, Target};
use crate::error::Error;
use crate::events::{STANDING_CHANGED, StandingChanged};
use crate::store;

/// How a customer pays, and his credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CustomerStanding {
    pub(crate) customer: CustomerId,
    pub(crate) standing: Standing,
}

/// Credit that came in.
#[derive(Debug, Clone)]
pub(crate) struct CreditReceipt {
    pub(crate) customer: CustomerId,
    pub(crate) amount: Money,
    pub(crate) reference: String,
    /// At which of the provider's installations; empty: the first.
    pub(crate) installation: String,
}

/// A part of an invoice to take back.
#[derive(Debug, Clone)]
pub(crate) struct NoteRequest {
    pub(crate) invoice_id: i64,
    /// Absent: all that was not taken back before.
    pub(crate) amount: Option<Money>,
    pub(crate) reason: String,
    pub(crate) reference: String,
}

/// What is told of a change, once for each reference.
pub(super) struct Told<'a> {
    pub(super) event: &'static str,
    pub(super) customer: CustomerId,
    pub(super) s3uid: &'a str,
    /// The provider's name for it; empty: told every time. That of a payment has no space before
    /// it, these have.
    pub(super) reference: String,
    pub(super) invoice_id: i64,
    pub(super) new: serde_json::Value,
}

impl Billing {
    /// Returns how a customer pays, and his credit; `None`: the caller himself.
    pub(crate) async fn get_standing(
        &self,
        cx: &RequestContext,
        customer: Option<CustomerId>,
    ) -> Result<CustomerStanding, Error> {
        let customer = match (customer, cx.principal.scope()) {
            (Some(customer), _) if cx.sees(customer) => customer,
            (None, Scope::Customer(own)) => own,
            (Some(_), _) => return Err(Error::CustomerNotFound),
            (None, Scope::Everything) => {
                let why = "is required of one who is no customer";
                return Err(stowage_types::Violations::of("customer", why).into());
            }
        };
        let standing = self.ask(self.provider.find_standing(customer)).await?;
        Ok(CustomerStanding { customer, standing })
    }

    /// Books credit that has come in. Invoices it pays are settled.
    pub(crate) async fn record_credit(
        &self,
        cx: &RequestContext,
        receipt: CreditReceipt,
        once: &Once<CustomerStanding>,
    ) -> Result<CustomerStanding, Error> {
        let CreditReceipt { customer, amount, reference, installation } = receipt;
        if !cx.sees(customer) {
            return Err(Error::CustomerNotFound);
        }
        let installation = self.noted_as(&installation).to_owned();
        let known = self.provider.installations();
        if !known.iter().any(|name| self.noted_as(name) == installation) {
            let why = "is not the name of an installation";
            return Err(stowage_types::Violations::of("installation", why).into());
        }
        let new = NewCredit {
            key: reference.clone(),
            customer,
            installation,
            amount,
            text: "paid in".to_owned(),
            actor: cx.actor(),
        };
        let wanted = Bound::new(Target::Customer(Some(customer)), Some(amount));
        self.bind_reference(&reference, wanted).await?;
        if let Err(error) = self.ask(self.provider.record_credit(&new)).await {
            return Err(self.let_go_of(&reference, of_provider(error)).await);
        }
        let standing = self.get_standing(cx, Some(customer)).await?;
        let mut tx = self.db.begin().await?;
        let told = Told {
            event: "credit.recorded",
            customer,
            s3uid: "",
            reference: format!(" credit/{reference}"),
            invoice_id: 0,
            new: serde_json::json!({ "amount": amount.to_string(), "reference": reference }),
        };
        store::payment::set_booked(&mut tx, &reference);
        self.tell_standing(cx, &mut tx, told).await?;
        once.answer(&mut tx, &standing).await?;
        tx.commit().await?;
        self.credit_changed.notify_one();
        Ok(standing)
    }

    /// Sets how a customer pays; `None`: as the installation's others.
    pub(crate) async fn set_payment_terms(
        &self,
        cx: &RequestContext,
        (customer, terms): (CustomerId, Option<PaymentTerms>),
        once: &Once<CustomerStanding>,
    ) -> Result<CustomerStanding, Error> {
        if !cx.sees(customer) {
            return Err(Error::CustomerNotFound);
        }
        self.ask(self.provider.set_payment_terms(customer, terms)).await?;
        let standing = self.get_standing(cx, Some(customer)).await?;
        let text = match terms {
            None => "as the others",
            Some(PaymentTerms::Prepaid) => "prepaid",
            Some(PaymentTerms::Invoiced) => "invoiced",
        };
        let mut tx = self.db.begin().await?;
        let told = Told {
            event: "payment_terms.set",
            customer,
            s3uid: "",
            reference: String::new(),
            invoice_id: 0,
            new: serde_json::json!({ "payment_terms": text }),
        };
        self.tell_standing(cx, &mut tx, told).await?;
        once.answer(&mut tx, &standing).await?;
        tx.commit().await?;
        Ok(standing)
    }

    /// Takes back a part of an invoice.
    pub(crate) async fn issue_credit_note(
        &self,
        cx: &RequestContext,
        request: NoteRequest,
        once: &Once<ShownInvoice>,
    ) -> Result<ShownInvoice, Error> {
        let NoteRequest { invoice_id, amount, reason, reference } = request;
        self.find_seen(cx, invoice_id).await?;
        let (key, text, actor) = (reference.clone(), reason.clone(), cx.actor());
        let note = CreditNote { key, invoice_id, amount, text, actor };
        let noted = self.ask(self.provider.issue_credit_note(&note)).await;
        let shown = self.to_shown(noted.map_err(of_provider)?).await?;
        let mut tx = self.db.begin().await?;
        let told = Told {
            event: "credit_note.issued",
            customer: shown.invoice.customer,
            s3uid: &shown.s3uid,
            reference: format!(" note/{reference}"),
            invoice_id,
            new: serde_json::json!({
                "invoice_id": invoice_id,
                "amount": amount.map(|amount| amount.to_string()),
                "reason": reason,
                "reference": reference,
            }),
        };
        self.tell_standing(cx, &mut tx, told).await?;
        once.answer(&mut tx, &shown).await?;
        tx.commit().await?;
        self.credit_changed.notify_one();
        Ok(shown)
    }

    /// Tells of a change, the first time its reference is met.
    pub(super) async fn tell_standing(
        &self,
        cx: &RequestContext,
        tx: &mut Tx,
        told: Told<'_>,
    ) -> Result<(), Error> {
        if !told.reference.is_empty() {
            let key = (self.provider.name(), told.reference.as_str());
            let now = self.clock.now();
            if !store::payment::insert(tx, key, told.invoice_id, now).await? {
                return Ok(());
            }
        }
        let message = StandingChanged {
            customer_id: told.customer.0,
            s3uid: told.s3uid.to_owned(),
            event: told.event.to_owned(),
            actor: cx.actor(),
            request_id: cx.request_id.clone(),
            new_json: told.new.to_string(),
        };
        let subject = name::customer(told.customer);
        self.outbox.push(tx, STANDING_CHANGED, &subject, &message).await?;
        Ok(())
    }
}

fn of_provider(error: ProviderError) -> Error {
    match error {
        ProviderError::NotFound => Error::InvoiceNotFound,
        ProviderError::Payment(refusal) => refused(refusal),
        error => error.into(),
    }
}
