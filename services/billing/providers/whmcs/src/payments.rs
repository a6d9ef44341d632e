//! Payments. Their reference is the one thing that WHMCS takes once only.

use stowage_provider::{Error, Invoice, Payment, PaymentRefusal};
use stowage_types::Money;
use time::macros::format_description;

use crate::Whmcs;
use crate::amount::text_of;
use crate::fault::Fault;
use crate::wire::Transaction;

impl Whmcs {
    /// Books a payment, unless it is there already.
    pub(crate) async fn pay(&self, payment: &Payment) -> Result<Invoice, Error> {
        let id = payment.invoice_id;
        let Some(found) = self.api.invoice(id).await? else { return Err(Error::NotFound) };
        let _turn = self.turns.hold(found.client).await?;
        let invoice = self.find_one(id).await?.ok_or(Error::NotFound)?;
        let booked = self.api.transactions(&payment.reference).await?;
        if let Some(booked) = booked.first() {
            return if is_same(payment, booked, &invoice) { Ok(invoice) } else { Err(reused()) };
        }
        let amount = amount_of(&invoice, payment.amount)?;
        self.book(payment, &amount).await?;
        let paid = self.find_one(id).await.map_err(Error::pending)?;
        paid.ok_or_else(|| Error::pending("an invoice that was paid is not to be seen"))
    }

    async fn book(&self, payment: &Payment, amount: &str) -> Result<(), Error> {
        let id = payment.invoice_id.to_string();
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let date = self.clock.now().format(form).map_err(Error::unavailable)?;
        let what = [
            ("invoiceid", id.as_str()),
            ("transid", &payment.reference),
            ("gateway", &self.options.payment_method),
            ("amount", amount),
            ("date", &date),
        ];
        match self.api.write("AddInvoicePayment", &what).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused { message }) => {
                // It may be there since we looked; the words for it are written nowhere.
                let booked = self.api.transactions(&payment.reference).await;
                match booked.map_err(Fault::halfway)?.first() {
                    Some(booked) if booked.invoice == payment.invoice_id => Ok(()),
                    Some(_) => Err(reused()),
                    None => {
                        tracing::warn!(message, invoice.id = payment.invoice_id, "not booked");
                        Err(Error::pending(Fault::Refused { message }))
                    }
                }
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

/// What is booked, as WHMCS takes it.
fn amount_of(invoice: &Invoice, amount: Option<Money>) -> Result<String, Error> {
    let amount = invoice.payable(amount)?;
    let why = "the billing system books whole hundredths of the currency's unit";
    text_of(amount.nanos()).ok_or_else(|| PaymentRefusal::Other { why }.into())
}

/// Whether a payment is the one that was booked under its reference. One that named no amount is
/// whatever was left then.
fn is_same(payment: &Payment, booked: &Transaction, invoice: &Invoice) -> bool {
    let same_amount = payment.amount.is_none_or(|amount| {
        amount.nanos() == booked.amount && amount.currency() == invoice.total.currency()
    });
    payment.invoice_id == booked.invoice && same_amount
}

fn reused() -> Error {
    PaymentRefusal::Other { why: "its reference is that of another payment" }.into()
}
