//! The built-in billing provider, `ledger`: orders, their first invoices and the payments of these,
//! booked twice over, in billing's own database.
//!
//! Invariants:
//! - its tables are `ledger_*`, written by this crate only; the migrations that make them are in
//!   billing's folder, since a database has one history of migrations;
//! - a state is only left by statements that name it, so that calls which race cannot undo each
//!   other's work; an undone key keeps a row and is refused for ever;
//! - the invoice of an order is a draft until the order is accepted, and then open until it is
//!   paid; an undo withdraws it. One of a closed period is open from the start;
//! - a customer who pays in advance has credit, part of which is held for an order until that is
//!   accepted (posted) or undone (voided). His balance is what the journal says, and never below
//!   zero; credit that he may use pays his open invoices, the one due first first;
//! - whatever is owed or paid is an entry of the journal, written once under its key in the
//!   transaction that changes the invoice: debit and credit of each are the same;
//! - what was paid for an order that was undone after all becomes his credit.
//!
//! Rejected: taking part in billing's own transaction. It would be one commit less, but a trait
//! that only the ledger could fulfil.

#![deny(clippy::float_arithmetic)]

mod books;
mod credit;
mod invoice;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use stowage_db::{Db, Tx, next_id, next_ids};
use stowage_provider::signed::{Disbelief, SignedMessage};
use stowage_provider::{
    BooksPart, ById, Client, CreditNote, Error, Hint, Invoice, InvoiceListing, KeyedInvoice,
    NewCredit, NewInvoice, NewOrder, OrderRef, OverdueListing, Part, Payment, PaymentTerms,
    PlacedOrder, Provider, Service, Standing,
};
use stowage_types::{Clock, CustomerId, Money, PlanId};
use time::{Duration, OffsetDateTime};

use store::journal::Kind;
use store::order;

/// What subscriptions billed by the ledger say in `provider`.
pub const NAME: &str = "ledger";

/// The built-in billing provider.
#[derive(Debug, Clone)]
pub struct Ledger {
    db: Db,
    clock: Arc<dyn Clock>,
    /// From the issue of an invoice to the day it is due.
    due_after: Duration,
    /// How customers pay for whom nothing else is set.
    terms: PaymentTerms,
}

impl Ledger {
    /// A ledger in `db`, the database of the billing role, with its migrations applied. Its
    /// invoices are due `due_after` their issue, those of customers who pay in advance at once.
    #[must_use]
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        (due_after, terms): (Duration, PaymentTerms),
    ) -> Self {
        Self { db, clock, due_after, terms }
    }
}

#[async_trait]
impl Provider for Ledger {
    fn name(&self) -> &'static str {
        NAME
    }

    fn renews(&self) -> bool {
        false
    }

    async fn check_order(&self, _: &str, customer: CustomerId, price: Money) -> Result<(), Error> {
        self.check_credit(customer, price).await
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        let amount_nanos = amount_column(order)?;
        let mut tx = self.db.begin().await.map_err(away)?;
        if let Some(known) = order::find(&mut tx, &order.key).await.map_err(away)? {
            return known;
        }
        let placed = take_ids(&mut tx, amount_nanos > 0).await.map_err(away)?;
        let now = self.clock.now();
        if !order::insert(&mut tx, order, placed, now).await.map_err(away)? {
            // A twin was first; the ids taken here are given back with the transaction.
            drop(tx);
            let known = order::find(&self.db, &order.key).await.map_err(away)?;
            return known.unwrap_or_else(|| Err(Error::pending("a twin of the order is running")));
        }
        self.hold(&mut tx, order, (amount_nanos, now)).await?;
        if amount_nanos > 0 {
            store::invoice::insert(&mut tx, order, (placed.invoice_id, amount_nanos), now);
        }
        tx.commit().await.map_err(away)?;
        Ok(placed)
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if order::activate(&mut tx, &order.key, self.clock.now()).await.map_err(away)? {
            self.issue(&mut tx, &order.key).await.map_err(away)?;
            return tx.commit().await.map_err(away);
        }
        match order::find(&mut tx, &order.key).await.map_err(away)? {
            None => Err(Error::NotFound),
            Some(_) => Err(Error::Undone),
        }
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        order::undo(&mut tx, order, self.clock.now()).await.map_err(away)?;
        self.withdraw(&mut tx, &order.key).await.map_err(away)?;
        tx.commit().await.map_err(away)
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if !order::terminate(&mut tx, &order.key, self.clock.now()).await.map_err(away)? {
            return Err(Error::NotFound);
        }
        // One that was never accepted keeps nothing any more.
        self.release_hold(&mut tx, &order.key, self.clock.now()).await.map_err(away)?;
        tx.commit().await.map_err(away)
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if !order::set_end(&mut tx, &order.key, end).await.map_err(away)? {
            return Err(Error::NotFound);
        }
        tx.commit().await.map_err(away)
    }

    async fn mirror_plan(&self, order: &OrderRef, _: PlanId, _: Money) -> Result<(), Error> {
        // Prices of periods are billing's own: it has them invoiced.
        let found = order::find(&self.db, &order.key).await.map_err(away)?;
        found.map(drop).ok_or(Error::NotFound)
    }

    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        self.issue_all(invoices).await
    }

    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error> {
        for credit in credits {
            self.add_credit(Kind::Grant, credit).await?;
        }
        Ok(())
    }

    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error> {
        self.add_credit(Kind::Credit, credit).await
    }

    async fn issue_credit_note(&self, note: &CreditNote) -> Result<Invoice, Error> {
        self.note(note).await
    }

    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        self.standing(customer).await
    }

    async fn set_payment_terms(
        &self,
        customer: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error> {
        self.set_terms(customer, terms).await
    }

    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        store::invoice::find_all(&self.db, ids).await.map_err(away)
    }

    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        store::invoice::list(&self.db, listing).await.map_err(away)
    }

    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        store::invoice::list_overdue(&self.db, listing).await.map_err(away)
    }

    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error> {
        self.pay(payment).await
    }

    fn installations(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn read_message(&self, _: &str, _: SignedMessage<'_>) -> Result<Hint, Disbelief> {
        // Nothing happens in it that billing does not do itself.
        Err(Disbelief::NoSecret)
    }

    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        order::find_service(&self.db, &order.key).await.map_err(Error::unavailable)
    }

    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error> {
        check(installation)?;
        let rows = order::list_services(&self.db, by).await.map_err(Error::unavailable)?;
        let through = through(&rows, by, |row| row.service_id);
        Ok(Part { rows, through })
    }

    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        check(installation)?;
        let rows = store::invoice::list_keyed(&self.db, by).await.map_err(Error::unavailable)?;
        let through = through(&rows, by, |row| row.id);
        Ok(Part { rows, through })
    }

    async fn find_client(&self, _: &str, _: i64) -> Result<Option<Client>, Error> {
        let why = "customers of the built-in ledger are billed as they are: there is nobody to \
            link them to";
        Err(Error::Refused { why: why.to_owned() })
    }

    async fn check_books(&self, installation: &str, from: &str) -> Result<BooksPart, Error> {
        check(installation)?;
        self.look_at_books(from).await
    }
}

fn check(installation: &str) -> Result<(), Error> {
    if installation == NAME { Ok(()) } else { Err(Error::NotFound) }
}

/// The last id of a part; `None` if it is the last part.
fn through<T>(rows: &[T], by: ById, id: impl Fn(&T) -> i64) -> Option<i64> {
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= by.max);
    rows.last().filter(|_| is_full).map(id)
}

/// The ids of a new order, and of its invoice if there is one.
async fn take_ids(tx: &mut Tx, has_invoice: bool) -> Result<PlacedOrder, stowage_db::Error> {
    let [order_id, service_id] = next_ids(tx, ["ledger_order", "ledger_service"]).await?;
    let invoice_id = if has_invoice { next_id(tx, "ledger_invoice").await? } else { 0 };
    Ok(PlacedOrder { order_id, service_id, invoice_id })
}

/// The price as the column holds it, in nano-units.
fn amount_column(order: &NewOrder) -> Result<i64, Error> {
    match i64::try_from(order.period_price.nanos()) {
        Ok(nanos) if nanos >= 0 => Ok(nanos),
        _ => Err(Error::Refused { why: "its price is out of range".to_owned() }),
    }
}

/// A transaction that failed has stored nothing, and says so, unless its commit had no answer.
fn away(error: stowage_db::Error) -> Error {
    match error {
        stowage_db::Error::Unclear { .. } => Error::pending(error),
        _ => Error::unavailable(error),
    }
}

#[cfg(test)]
mod tests;
