//! Tells accounts of invoices that are overdue, and of those that are settled after all.
//!
//! The provider says what is open; what was announced is kept here, so that each invoice is told of
//! once, by whichever process. An account is let go when its last announced invoice is settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_auth::Scope;
use stowage_db::Tx;
use stowage_provider::{Invoice, InvoiceState, OverdueListing};
use stowage_types::name;
use tokio_util::sync::CancellationToken;

use super::Billing;
use super::subscription::State;
use crate::error::Error;
use crate::events::{INVOICE_OVERDUE, INVOICE_SETTLED, InvoiceOverdue, InvoiceSettled};
use crate::store;

/// Most invoices read at once.
const PAGE_ROWS: i64 = 100;

impl Billing {
    /// Looks every `interval` until `stop`.
    pub(crate) fn dun_until(
        self: Arc<Self>,
        interval: Duration,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let for_ever = async {
                loop {
                    if let Err(error) = self.dun().await {
                        tracing::warn!(%error, "overdue invoices were not looked at; they will be");
                    }
                    tokio::time::sleep(interval).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(for_ever).await;
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
            let ids: Vec<i64> = overdue.iter().map(|invoice| invoice.id).collect();
            let known = store::dunning::announced(&self.db, self.provider.name(), &ids).await?;
            for invoice in overdue.iter().filter(|invoice| !known.contains_key(&invoice.id)) {
                self.announce(invoice).await?;
            }
        }
    }

    /// Announces an invoice of an account that can still be held.
    async fn announce(&self, invoice: &Invoice) -> Result<(), Error> {
        let provider = self.provider.name();
        let of = [invoice.service_id];
        let mut found =
            store::subscription::list(&self.db, provider, Scope::Everything, &of).await?;
        let Some(subscription) = found.pop().filter(|found| found.state == State::Active) else {
            return Ok(());
        };
        let s3uid = subscription.s3uid;
        let mut tx = self.db.begin().await?;
        store::dunning::lock_account(&mut tx, s3uid.as_str()).await?;
        let now = self.clock.now();
        let is_new =
            store::dunning::insert(&mut tx, (provider, invoice.id), s3uid.as_str(), now).await?;
        if !is_new {
            return Ok(());
        }
        let (subject, invoice_id) = (name::account(&s3uid), invoice.id);
        let message = InvoiceOverdue { s3uid: s3uid.to_string(), invoice_id };
        self.outbox.push(&mut tx, INVOICE_OVERDUE, &subject, &message).await?;
        tx.commit().await?;
        tracing::info!(invoice.id = invoice_id, %s3uid, "an invoice is overdue");
        Ok(())
    }

    /// Settles what was announced and is open no more at the provider.
    async fn settle_paid(&self) -> Result<(), Error> {
        let provider = self.provider.name();
        let mut after = 0;
        loop {
            let open = store::dunning::list_open(&self.db, provider, (after, PAGE_ROWS)).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = *last;
            for id in open {
                let found = self.ask(self.provider.find_invoice(id)).await?;
                if found.is_some_and(|found| found.state == InvoiceState::Open) {
                    continue;
                }
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
        let subject = format!("accounts/{s3uid}");
        let message = InvoiceSettled { s3uid, invoice_id };
        self.outbox.push(tx, INVOICE_SETTLED, &subject, &message).await?;
        Ok(())
    }
}
