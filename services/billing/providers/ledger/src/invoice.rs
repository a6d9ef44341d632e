//! Invoices: issued with their order, withdrawn with it, paid once for each payment.

use stowage_db::Tx;
use stowage_provider::{Error, Invoice, InvoiceState, OrderKey, Payment, PaymentRefusal};
use stowage_types::Money;

use crate::store::invoice::{self, Issued};
use crate::store::journal::{self, CASH, Entry, REVENUE, receivable};
use crate::{Ledger, away};

/// Who writes entries that no person asked for.
const LEDGER: &str = "ledger";

impl Ledger {
    /// Issues the draft of an order that was accepted. A second time there is none.
    pub(crate) async fn issue(&self, tx: &mut Tx, key: &OrderKey) -> Result<(), stowage_db::Error> {
        let now = self.clock.now();
        let due = now.checked_add(self.due_after).unwrap_or(now);
        let Some(issued) = invoice::issue(tx, key, (now, due)).await? else {
            return Ok(());
        };
        let entry = Entry {
            key: format!("issue/{}", issued.invoice_id),
            kind: "issue",
            invoice_id: issued.invoice_id,
            actor: LEDGER,
            currency: issued.currency,
            debit: receivable(issued.customer_id),
            credit: REVENUE.to_owned(),
            amount_nanos: issued.amount_nanos,
        };
        journal::write(tx, &entry, now);
        Ok(())
    }

    /// Withdraws the invoices of an order that was undone.
    pub(crate) async fn withdraw(
        &self,
        tx: &mut Tx,
        key: &OrderKey,
    ) -> Result<(), stowage_db::Error> {
        let now = self.clock.now();
        for Issued { invoice_id, customer_id, currency, amount_nanos } in
            invoice::withdraw(tx, key, now).await?
        {
            let entry = Entry {
                key: format!("void/{invoice_id}"),
                kind: "void",
                invoice_id,
                actor: LEDGER,
                currency,
                debit: REVENUE.to_owned(),
                credit: receivable(customer_id),
                amount_nanos,
            };
            journal::write(tx, &entry, now);
        }
        Ok(())
    }

    /// Books a payment, unless it is there already.
    pub(crate) async fn pay(&self, payment: &Payment) -> Result<Invoice, Error> {
        let id = payment.invoice_id;
        let mut tx = self.db.begin().await.map_err(away)?;
        if !invoice::lock(&mut tx, id).await.map_err(away)? {
            return Err(Error::NotFound);
        }
        let found = invoice::find(&mut tx, id).await.map_err(away)?.ok_or(Error::NotFound)?;
        let key = format!("payment/{}", payment.reference);
        if let Some(booked) = journal::find(&mut tx, &key).await.map_err(away)? {
            return if is_same(payment, &booked) { Ok(found) } else { Err(reused()) };
        }
        let amount = check(&found, payment.amount)?;
        let amount_nanos = i64::try_from(amount.nanos()).map_err(Error::unavailable)?;
        let now = self.clock.now();
        invoice::pay(&mut tx, id, amount_nanos, now).await.map_err(away)?;
        let entry = Entry {
            key,
            kind: "payment",
            invoice_id: id,
            actor: &payment.actor,
            currency: found.total.currency(),
            debit: CASH.to_owned(),
            credit: receivable(found.customer.0),
            amount_nanos,
        };
        journal::write(&mut tx, &entry, now);
        let paid = invoice::find(&mut tx, id).await.map_err(|error| {
            // Another payment took the reference at this very moment, for another invoice.
            if error.is_unique("ledger_entry.entry_key") { reused() } else { away(error) }
        })?;
        let paid = paid.ok_or(Error::NotFound)?;
        tx.commit().await.map_err(away)?;
        Ok(paid)
    }
}

/// What is booked: all that is left, or what came in if it is not more.
fn check(invoice: &Invoice, amount: Option<Money>) -> Result<Money, Error> {
    if invoice.state != InvoiceState::Open {
        return Err(PaymentRefusal::NotOpen.into());
    }
    let balance = invoice.balance();
    let amount = amount.unwrap_or(balance);
    if amount.currency() != balance.currency() || amount.nanos() > balance.nanos() {
        return Err(PaymentRefusal::TooHigh { balance: balance.to_string() }.into());
    }
    Ok(amount)
}

/// Whether a payment is the one that was booked under its reference. One that named no amount is
/// whatever was left then.
fn is_same(payment: &Payment, (invoice_id, nanos, currency): &(i64, i64, String)) -> bool {
    let same_amount = payment.amount.is_none_or(|amount| {
        amount.nanos() == i128::from(*nanos) && amount.currency().as_str() == currency
    });
    payment.invoice_id == *invoice_id && same_amount
}

fn reused() -> Error {
    PaymentRefusal::Other { why: "its reference is that of another payment" }.into()
}
