//! Invoices: issued with their order or for a closed period, withdrawn with their order, paid once
//! for each payment.

use std::collections::{BTreeMap, BTreeSet};

use stowage_db::{Tx, next_range};
use stowage_provider::{Error, Invoice, NewInvoice, OrderKey, Payment, PaymentTerms};
use stowage_types::Money;
use time::OffsetDateTime;

use crate::credit::{entry_of, reused, twin};
use crate::store::invoice::{self, Issued, Issuing};
use crate::store::journal::{self, Booked, Entry, Kind};
use crate::store::{balance, customer, order};
use crate::{Ledger, away};

impl Ledger {
    /// Issues the draft of an order that was accepted, and pays it from what was kept for it or
    /// from credit. A second time there is none.
    pub(crate) async fn issue(&self, tx: &mut Tx, key: &OrderKey) -> Result<(), stowage_db::Error> {
        let now = self.clock.now();
        let due = now.checked_add(self.due_after).unwrap_or(now);
        // Nobody who has locked a balance waits for a draft, so that this may lock it first.
        let Some(issued) = invoice::issue(tx, key, (now, due)).await? else {
            return Ok(());
        };
        let Issued { invoice_id, customer_id, currency, amount_nanos, .. } = issued;
        let whose = (customer_id, currency);
        let entry_key = (format!("issue/{invoice_id}"), invoice_id);
        let entry = entry_of(Kind::Issue, entry_key, whose, amount_nanos);
        journal::write(tx, vec![entry], now).await?;
        if !self.post_hold(tx, (key, invoice_id), now).await? {
            self.use_credit(tx, whose, now).await?;
        }
        Ok(())
    }

    /// Issues invoices, each once under its key.
    pub(crate) async fn issue_all(&self, new: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        let keys: Vec<&str> = new.iter().map(|new| new.key.as_str()).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await.map_err(away)?;
        let mut ids = invoice::find_by_keys(&mut tx, &keys).await.map_err(away)?;
        let absent: Vec<&NewInvoice> =
            new.iter().filter(|new| !ids.contains_key(&new.key)).collect();
        if !absent.is_empty() {
            let issued = self.issue_new(&mut tx, &absent).await?;
            tx.commit().await.map_err(away)?;
            ids.extend(issued);
        }
        let id = |new: &NewInvoice| ids.get(&new.key).copied();
        let ids: Option<Vec<i64>> = new.iter().map(id).collect();
        ids.ok_or_else(|| Error::unavailable("an invoice is gone"))
    }

    async fn issue_new(
        &self,
        tx: &mut Tx,
        new: &[&NewInvoice],
    ) -> Result<BTreeMap<String, i64>, Error> {
        let orders: Vec<&str> = new.iter().map(|new| new.order.key.as_str()).collect();
        let placed = order::find_placed(&mut *tx, &orders).await.map_err(away)?;
        if orders.iter().any(|order| !placed.contains(*order)) {
            return Err(Error::NotFound);
        }
        let now = self.clock.now();
        let whose: BTreeSet<_> =
            new.iter().map(|new| (new.order.customer.0, new.total.currency())).collect();
        let usable = balance::lock_all(tx, &whose).await.map_err(away)?;
        let count = i64::try_from(new.len()).map_err(Error::unavailable)?;
        let first = next_range(tx, "ledger_invoice", count).await.map_err(away)?;
        let customers: BTreeSet<i64> = new.iter().map(|new| new.order.customer.0).collect();
        let customers: Vec<i64> = customers.into_iter().collect();
        let own_terms = customer::find(&mut *tx, &customers).await.map_err(away)?;
        let later = now.checked_add(self.due_after).unwrap_or(now);
        let issuing = |(id, new): (i64, &&NewInvoice)| {
            let own = own_terms.get(&new.order.customer.0).copied();
            let due = match own.unwrap_or(self.terms) {
                PaymentTerms::Prepaid => now,
                PaymentTerms::Invoiced => later,
            };
            let amount_nanos = amount(new.total)?;
            Ok((id, amount_nanos, due))
        };
        let numbered: Vec<(i64, i64, OffsetDateTime)> =
            (first..).zip(new).map(issuing).collect::<Result<_, Error>>()?;
        let rows: Vec<Issuing<'_>> = numbered
            .iter()
            .zip(new)
            .map(|((id, amount_nanos, due), new)| Issuing {
                id: *id,
                new,
                amount_nanos: *amount_nanos,
                due: *due,
            })
            .collect();
        invoice::insert_issued(tx, &rows, now).await.map_err(away)?;
        journal::write(tx, rows.iter().map(entry_of_issue).collect(), now).await.map_err(away)?;
        for whose in usable {
            self.use_credit(tx, whose, now).await.map_err(away)?;
        }
        Ok(rows.iter().map(|row| (row.new.key.clone(), row.id)).collect())
    }

    /// Withdraws the invoices of an order that was undone. What was paid for them becomes credit.
    pub(crate) async fn withdraw(
        &self,
        tx: &mut Tx,
        key: &OrderKey,
    ) -> Result<(), stowage_db::Error> {
        let now = self.clock.now();
        self.release_hold(tx, key, now).await?;
        for currency in invoice::currencies(tx, key).await? {
            let customer = order::customer(tx, key).await?;
            balance::lock(tx, (customer, currency)).await?;
        }
        for issued in invoice::withdraw(tx, key, now).await? {
            let Issued { invoice_id: id, customer_id, currency, amount_nanos, paid_nanos } = issued;
            let whose = (customer_id, currency);
            let void = (format!("void/{id}"), id);
            if amount_nanos == 0 {
                // Credit notes have taken all of it back before.
                continue;
            }
            let mut entries = vec![entry_of(Kind::Void, void, whose, amount_nanos)];
            if paid_nanos > 0 {
                let key = (format!("return/{id}"), id);
                entries.push(entry_of(Kind::Return, key, whose, paid_nanos));
                balance::add(tx, whose, (paid_nanos, 0));
            }
            journal::write(tx, entries, now).await?;
            self.use_credit(tx, whose, now).await?;
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
        let amount = found.payable(payment.amount)?;
        let amount_nanos = i64::try_from(amount.nanos()).map_err(Error::unavailable)?;
        let now = self.clock.now();
        invoice::pay(&mut tx, id, (amount_nanos, 0), now).await.map_err(away)?;
        let whose = (found.customer.0, found.total.currency());
        let entry = Entry {
            actor: payment.actor.clone(),
            ..entry_of(Kind::Payment, (key, id), whose, amount_nanos)
        };
        journal::write(&mut tx, vec![entry], now).await.map_err(twin)?;
        let paid = invoice::find(&mut tx, id).await.map_err(away)?;
        let paid = paid.ok_or(Error::NotFound)?;
        tx.commit().await.map_err(away)?;
        Ok(paid)
    }
}

fn entry_of_issue(Issuing { id, new, amount_nanos, .. }: &Issuing<'_>) -> Entry {
    let whose = (new.order.customer.0, new.total.currency());
    entry_of(Kind::Issue, (format!("issue/{id}"), *id), whose, *amount_nanos)
}

/// An amount as a column holds it.
fn amount(total: Money) -> Result<i64, Error> {
    match i64::try_from(total.nanos()) {
        Ok(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(Error::Refused { why: "its amount is out of range".to_owned() }),
    }
}

/// Whether a payment is the one that was booked under its reference. One that named no amount is
/// whatever was left then.
fn is_same(payment: &Payment, booked: &Booked) -> bool {
    let same_amount = payment.amount.is_none_or(|amount| {
        amount.nanos() == i128::from(booked.amount_nanos)
            && amount.currency().as_str() == booked.currency
    });
    payment.invoice_id == booked.invoice_id && same_amount
}
