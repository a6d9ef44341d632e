//! Tells accounts of invoices that are overdue, and of those that are settled after all.
//!
//! The provider says what is open; what was announced is kept here, so that each invoice is told of
//! once, by whichever process looks. An account is let go when its last announced invoice is
//! settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::Tx;
use stowage_db::lease::Turns;
use stowage_provider::{InvoiceState, OverdueListing};
use stowage_types::{S3uid, name};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::subscription::State;
use super::{Billing, LEASE};
use crate::error::Error;
use crate::events::{INVOICE_OVERDUE, INVOICE_SETTLED, InvoiceOverdue, InvoiceSettled};
use crate::store;

/// Most invoices read at once.
const PAGE_ROWS: i64 = 100;

impl Billing {
    /// Looks every `interval`, in one replica at a time, named by `owner`, until `stop`.
    pub(crate) fn dun_until(
        self: Arc<Self>,
        interval: Duration,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                loop {
                    if let Err(error) = self.dun().await {
                        tracing::warn!(%error, "overdue invoices were not looked at; they will be");
                    }
                    tokio::time::sleep(interval).await;
                }
            };
            let turns = Turns::new("dunning", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// Announces what has become overdue, and then what was settled.
    pub(crate) async fn dun(&self) -> Result<(), Error> {
        if let Some(suspend_after) = self.suspend_after {
            self.announce_overdue(suspend_after).await?;
        }
        self.settle_paid().await
    }

    async fn announce_overdue(&self, suspend_after: time::Duration) -> Result<(), Error> {
        let Some(due_before) = self.clock.now().checked_sub(suspend_after) else {
            return Ok(());
        };
        let mut after = 0;
        loop {
            let listing = OverdueListing { due_before, after, max: PAGE_ROWS };
            let overdue = self.ask(self.provider.list_overdue(listing)).await?;
            let Some(last) = overdue.last() else { return Ok(()) };
            after = last.id;
            let of = self.subscriptions_of(&overdue).await?;
            let ids: Vec<i64> = overdue.iter().map(|invoice| invoice.id).collect();
            let known = store::dunning::announced(&self.db, self.provider.name(), &ids).await?;
            for invoice in overdue.iter().filter(|invoice| !known.contains_key(&invoice.id)) {
                // Only an account that has not ended can be held.
                match of.get(&invoice.service_id) {
                    Some(of) if of.state == State::Active => {
                        self.announce(invoice.id, &of.s3uid).await?;
                    }
                    _ => {}
                }
            }
        }
    }

    async fn announce(&self, invoice_id: i64, s3uid: &S3uid) -> Result<(), Error> {
        let (key, now) = ((self.provider.name(), invoice_id), self.clock.now());
        let mut tx = self.db.begin().await?;
        store::dunning::lock_account(&mut tx, s3uid).await?;
        if !store::dunning::insert(&mut tx, key, s3uid, now).await? {
            return Ok(());
        }
        let subject = name::account(s3uid);
        let message = InvoiceOverdue { s3uid: s3uid.to_string(), invoice_id };
        self.outbox.push(&mut tx, INVOICE_OVERDUE, &subject, &message).await?;
        tx.commit().await?;
        tracing::info!(invoice.id = invoice_id, %s3uid, "an invoice is overdue");
        Ok(())
    }

    /// Settles what was announced and is open no more at the provider.
    pub(crate) async fn settle_paid(&self) -> Result<(), Error> {
        let provider = self.provider.name();
        let mut after = 0;
        loop {
            let open = store::dunning::list_open(&self.db, provider, (after, PAGE_ROWS)).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = *last;
            let found = self.ask(self.provider.find_invoices(&open)).await?;
            let is_open = |id: &i64| {
                found.iter().any(|found| found.id == *id && found.state == InvoiceState::Open)
            };
            for id in open.into_iter().filter(|id| !is_open(id)) {
                let mut tx = self.db.begin().await?;
                self.settle(&mut tx, id).await?;
                tx.commit().await?;
            }
        }
    }

    /// Notes that an announced invoice is settled; one that was not announced is no matter.
    pub(crate) async fn settle(&self, tx: &mut Tx, invoice_id: i64) -> Result<(), Error> {
        let key = (self.provider.name(), invoice_id);
        let Some(s3uid) = store::dunning::find_open(&mut *tx, key).await? else {
            return Ok(());
        };
        store::dunning::lock_account(tx, &s3uid).await?;
        if !store::dunning::settle(tx, key, self.clock.now()).await?
            || store::dunning::count_open(&mut *tx, &s3uid).await? > 0
        {
            return Ok(());
        }
        let subject = name::account(&s3uid);
        let message = InvoiceSettled { s3uid: s3uid.to_string(), invoice_id };
        self.outbox.push(tx, INVOICE_SETTLED, &subject, &message).await?;
        Ok(())
    }
}
