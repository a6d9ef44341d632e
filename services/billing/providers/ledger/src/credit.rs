//! Credit: paid in, given back, kept for orders, and used up by invoices.
//!
//! Whoever changes a balance locks its row first, and an invoice behind it, never the other way.

use stowage_db::Tx;
use stowage_provider::{
    Credit, CreditNote, Error, Invoice, InvoiceState, NewCredit, NewOrder, OrderKey,
    PaymentRefusal, PaymentTerms, Standing,
};
use stowage_types::{Currency, CustomerId, Money};
use time::OffsetDateTime;

use crate::store::balance::{self, Whose};
use crate::store::hold::{self, Hold};
use crate::store::journal::{self, Booked, CASH, Entry, Kind, REVENUE, credit, held, receivable};
use crate::store::{customer, invoice};
use crate::{Ledger, NAME, away};

/// Open invoices that credit is used for at once.
const OPEN_MAX: i64 = 1000;

/// An entry about a customer's credit and no invoice.
fn entry(kind: Kind, key: String, (customer_id, currency): Whose, amount_nanos: i64) -> Entry {
    let (debit, credit) = match kind {
        Kind::Credit => (CASH.to_owned(), credit(customer_id)),
        Kind::Hold => (credit(customer_id), held(customer_id)),
        Kind::Release => (held(customer_id), credit(customer_id)),
        Kind::Post => (held(customer_id), receivable(customer_id)),
        Kind::Apply => (credit(customer_id), receivable(customer_id)),
        Kind::Return => (receivable(customer_id), credit(customer_id)),
        Kind::Issue => (receivable(customer_id), REVENUE.to_owned()),
        Kind::Note | Kind::Void => (REVENUE.to_owned(), receivable(customer_id)),
        Kind::Grant => (REVENUE.to_owned(), credit(customer_id)),
        Kind::Payment => (CASH.to_owned(), receivable(customer_id)),
    };
    Entry {
        key,
        kind,
        customer_id,
        invoice_id: None,
        text: String::new(),
        // No person asked for it.
        actor: NAME.to_owned(),
        currency,
        debit,
        credit,
        amount_nanos,
    }
}

/// An entry about an invoice.
pub(crate) fn entry_of(
    kind: Kind,
    (key, invoice_id): (String, i64),
    whose: Whose,
    amount_nanos: i64,
) -> Entry {
    Entry { invoice_id: Some(invoice_id), ..entry(kind, key, whose, amount_nanos) }
}

impl Ledger {
    /// How a customer pays, and whether that was set for him.
    async fn terms(
        &self,
        from: impl stowage_db::Query,
        id: CustomerId,
    ) -> Result<(PaymentTerms, bool), stowage_db::Error> {
        let own = customer::find(from, &[id.0]).await?.remove(&id.0);
        Ok((own.unwrap_or(self.terms), own.is_some()))
    }

    pub(crate) async fn check_credit(&self, id: CustomerId, price: Money) -> Result<(), Error> {
        let (terms, _) = self.terms(&self.db, id).await.map_err(away)?;
        if terms == PaymentTerms::Invoiced || price.is_zero() {
            return Ok(());
        }
        let balances = balance::list(&self.db, id.0).await.map_err(away)?;
        let currency = price.currency();
        let own = balances.iter().find(|(text, _)| text == currency.as_str());
        let usable = own.map_or(0, |(_, balance)| balance.credit_nanos);
        enough(usable, price)
    }

    /// Keeps credit for an order, if its customer pays in advance.
    pub(crate) async fn hold(
        &self,
        tx: &mut Tx,
        order: &NewOrder,
        (amount_nanos, now): (i64, OffsetDateTime),
    ) -> Result<(), Error> {
        let (terms, _) = self.terms(&mut *tx, order.customer).await.map_err(away)?;
        if terms == PaymentTerms::Invoiced || amount_nanos == 0 {
            return Ok(());
        }
        let whose = (order.customer.0, order.period_price.currency());
        let balance = balance::lock(tx, whose).await.map_err(away)?;
        enough(balance.credit_nanos, order.period_price)?;
        let (customer_id, currency) = whose;
        hold::insert(tx, &order.key, &Hold { customer_id, currency, amount_nanos }, now);
        balance::add(tx, whose, (-amount_nanos, amount_nanos));
        let entry = entry(Kind::Hold, format!("hold/{}", order.key), whose, amount_nanos);
        journal::write(tx, vec![entry], now).await.map_err(away)
    }

    /// Pays an order's invoice from what was kept for it. False if nothing was.
    pub(crate) async fn post_hold(
        &self,
        tx: &mut Tx,
        (key, invoice_id): (&OrderKey, i64),
        now: OffsetDateTime,
    ) -> Result<bool, stowage_db::Error> {
        let Some(hold) = hold::settle(tx, key, ("posted", now)).await? else { return Ok(false) };
        let whose = (hold.customer_id, hold.currency);
        balance::lock(tx, whose).await?;
        balance::add(tx, whose, (0, -hold.amount_nanos));
        invoice::pay(tx, invoice_id, (hold.amount_nanos, 0), now).await?;
        let key = (format!("post/{key}"), invoice_id);
        let entry = entry_of(Kind::Post, key, whose, hold.amount_nanos);
        journal::write(tx, vec![entry], now).await?;
        Ok(true)
    }

    /// Gives back what was kept for an order that does not come.
    pub(crate) async fn release_hold(
        &self,
        tx: &mut Tx,
        key: &OrderKey,
        now: OffsetDateTime,
    ) -> Result<(), stowage_db::Error> {
        let Some(hold) = hold::settle(tx, key, ("voided", now)).await? else { return Ok(()) };
        let whose = (hold.customer_id, hold.currency);
        balance::lock(tx, whose).await?;
        balance::add(tx, whose, (hold.amount_nanos, -hold.amount_nanos));
        let entry = entry(Kind::Release, format!("release/{key}"), whose, hold.amount_nanos);
        journal::write(tx, vec![entry], now).await?;
        self.use_credit(tx, whose, now).await
    }

    /// Pays a customer's open invoices from his credit, the one due first first.
    pub(crate) async fn use_credit(
        &self,
        tx: &mut Tx,
        whose: Whose,
        now: OffsetDateTime,
    ) -> Result<(), stowage_db::Error> {
        // What was added before in this transaction is read with it.
        let mut left = balance::lock(tx, whose).await?.credit_nanos;
        if left == 0 {
            return Ok(());
        }
        let mut entries = Vec::new();
        for (id, owed) in invoice::lock_open(tx, whose, OPEN_MAX).await? {
            let amount = owed.min(left);
            if amount == 0 {
                break;
            }
            left -= amount;
            invoice::pay(tx, id, (amount, 0), now).await?;
            // An invoice may be paid from credit more than once, each time less being left of it.
            let key = (format!("apply/{id}/{owed}"), id);
            entries.push(entry_of(Kind::Apply, key, whose, amount));
        }
        let used: i64 = entries.iter().map(|entry| entry.amount_nanos).sum();
        if used > 0 {
            balance::add(tx, whose, (-used, 0));
            journal::write(tx, entries, now).await?;
        }
        Ok(())
    }

    /// Books credit, once under its key, and pays open invoices with it.
    pub(crate) async fn add_credit(&self, kind: Kind, new: &NewCredit) -> Result<(), Error> {
        let amount_nanos = positive(new.amount)?;
        let whose = (new.customer.0, new.amount.currency());
        let key = match kind {
            Kind::Grant => format!("grant/{}", new.key),
            _ => format!("credit/{}", new.key),
        };
        let mut tx = self.db.begin().await.map_err(away)?;
        balance::lock(&mut tx, whose).await.map_err(away)?;
        if let Some(booked) = journal::find(&mut tx, &key).await.map_err(away)? {
            let currency = whose.1.as_str().to_owned();
            let same = Booked { customer_id: whose.0, invoice_id: 0, amount_nanos, currency };
            return if booked == same { Ok(()) } else { Err(reused()) };
        }
        let now = self.clock.now();
        balance::add(&mut tx, whose, (amount_nanos, 0));
        let entry = Entry {
            text: new.text.clone(),
            actor: new.actor.clone(),
            ..entry(kind, key, whose, amount_nanos)
        };
        journal::write(&mut tx, vec![entry], now).await.map_err(twin)?;
        self.use_credit(&mut tx, whose, now).await.map_err(away)?;
        tx.commit().await.map_err(away)
    }

    /// Takes back a part of an invoice.
    pub(crate) async fn note(&self, note: &CreditNote) -> Result<Invoice, Error> {
        let id = note.invoice_id;
        let key = format!("note/{}", note.key);
        let mut tx = self.db.begin().await.map_err(away)?;
        let found = invoice::find(&mut tx, id).await.map_err(away)?.ok_or(Error::NotFound)?;
        if !matches!(found.state, InvoiceState::Open | InvoiceState::Paid) {
            return Err(PaymentRefusal::NotOpen.into());
        }
        let whose = (found.customer.0, found.total.currency());
        balance::lock(&mut tx, whose).await.map_err(away)?;
        invoice::lock(&mut tx, id).await.map_err(away)?;
        let found = invoice::find(&mut tx, id).await.map_err(away)?.ok_or(Error::NotFound)?;
        if let Some(booked) = journal::find(&mut tx, &key).await.map_err(away)? {
            let is_same_amount = note.amount.is_none_or(|amount| {
                amount.nanos() == i128::from(booked.amount_nanos)
                    && amount.currency().as_str() == booked.currency
            });
            let is_same = booked.invoice_id == id && is_same_amount;
            return if is_same { Ok(found) } else { Err(reused()) };
        }
        let credited = invoice::credited(&mut tx, id).await.map_err(away)?;
        let amount = note_amount(&found, (note.amount, credited))?;
        let now = self.clock.now();
        let owed = i64::try_from(found.balance().nanos()).map_err(Error::unavailable)?;
        let (pays, gives_back) = (amount.min(owed), amount - amount.min(owed));
        let mut entries = vec![Entry {
            text: note.text.clone(),
            actor: note.actor.clone(),
            ..entry_of(Kind::Note, (key.clone(), id), whose, amount)
        }];
        invoice::pay(&mut tx, id, (pays, amount), now).await.map_err(away)?;
        if gives_back > 0 {
            balance::add(&mut tx, whose, (gives_back, 0));
            let key = (format!("return/{key}"), id);
            entries.push(entry_of(Kind::Return, key, whose, gives_back));
        }
        journal::write(&mut tx, entries, now).await.map_err(twin)?;
        self.use_credit(&mut tx, whose, now).await.map_err(away)?;
        let noted = invoice::find(&mut tx, id).await.map_err(away)?.ok_or(Error::NotFound)?;
        tx.commit().await.map_err(away)?;
        Ok(noted)
    }

    pub(crate) async fn standing(&self, id: CustomerId) -> Result<Standing, Error> {
        let (terms, has_own_terms) = self.terms(&self.db, id).await.map_err(away)?;
        let mut credits = Vec::new();
        for (text, balance) in balance::list(&self.db, id.0).await.map_err(away)? {
            let currency = Currency::parse(&text).map_err(Error::unavailable)?;
            let money = |nanos: i64| Money::from_nanos(nanos.into(), currency);
            let (usable, held) = (money(balance.credit_nanos), money(balance.held_nanos));
            credits.push(Credit { usable, held });
        }
        Ok(Standing { terms, has_own_terms, credits })
    }

    pub(crate) async fn set_terms(
        &self,
        id: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        customer::set(&mut tx, id.0, terms).await.map_err(away)?;
        tx.commit().await.map_err(away)
    }
}

/// What is taken back: all that was not before, or what is asked for if it is not more.
fn note_amount(invoice: &Invoice, (amount, credited): (Option<Money>, i64)) -> Result<i64, Error> {
    if !matches!(invoice.state, InvoiceState::Open | InvoiceState::Paid) {
        return Err(PaymentRefusal::NotOpen.into());
    }
    let (total, currency) = (invoice.total.nanos(), invoice.total.currency());
    let left = Money::from_nanos(total - i128::from(credited), currency);
    let amount = amount.unwrap_or(left);
    if amount.currency() != currency || amount.nanos() > left.nanos() || left.is_zero() {
        return Err(PaymentRefusal::TooHigh { balance: left.to_string() }.into());
    }
    positive(amount)
}

fn positive(amount: Money) -> Result<i64, Error> {
    match i64::try_from(amount.nanos()) {
        Ok(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(PaymentRefusal::Other { why: "its amount is out of range" }.into()),
    }
}

fn enough(usable_nanos: i64, price: Money) -> Result<(), Error> {
    if i128::from(usable_nanos) >= price.nanos() {
        return Ok(());
    }
    let credit = Money::from_nanos(usable_nanos.into(), price.currency());
    Err(Error::CreditTooLow { credit: credit.to_string(), needed: price.to_string() })
}

/// Another call took the key at this very moment.
pub(crate) fn twin(error: stowage_db::Error) -> Error {
    if error.is_unique("ledger_entry.entry_key") || error.is_unique("ledger_entry_once") {
        reused()
    } else {
        away(error)
    }
}

pub(crate) fn reused() -> Error {
    PaymentRefusal::Other { why: "its reference is that of another payment" }.into()
}
