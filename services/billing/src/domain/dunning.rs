//! Tells accounts of invoices that are overdue, stage by stage, and of those that are settled after
//! all.
//!
//! The provider says what is open; what was announced is kept here, so that each stage of an
//! invoice is told of once, by whichever process looks. An account is let go when its last
//! announced invoice is settled, and eased when those that are left have not come as far.
//!
//! All that is told of an account is numbered while its row is locked, and says all of the account:
//! who hears it in another order goes by the highest number.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::Tx;
use stowage_db::lease::Turns;
use stowage_provider::{Invoice, InvoiceState, OverdueListing};
use stowage_types::{S3uid, name, timestamp};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::subscription::State;
use super::{Billing, LEASE};
use crate::error::Error;
use crate::events::{
    DunningStage, INVOICE_EASED, INVOICE_OVERDUE, INVOICE_SETTLED, InvoiceEased, InvoiceOverdue,
    InvoiceSettled,
};
use crate::store;

/// Most invoices read at once.
const PAGE_ROWS: i64 = 100;

/// What comes of an unpaid invoice for its account, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Reminder,
    ReadOnly,
    Suspended,
    Ended,
}

/// How far an invoice has come; later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reached {
    pub(crate) stage: Stage,
    /// Which reminder it is; 0: it is none.
    pub(crate) reminder: i32,
}

/// What an unpaid invoice comes to, and how long after it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) reached: Reached,
    pub(crate) after: time::Duration,
}

/// What is known of an announced invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) overdue_time: OffsetDateTime,
    pub(crate) reached: Reached,
    pub(crate) is_settled: bool,
}

impl Stage {
    /// As it is stored.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Reminder => "REMINDER",
            Self::ReadOnly => "READ_ONLY",
            Self::Suspended => "SUSPENDED",
            Self::Ended => "ENDED",
        }
    }

    /// Reads what [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Reminder, Self::ReadOnly, Self::Suspended, Self::Ended]
            .into_iter()
            .find(|stage| stage.text() == text)
    }
}

impl Reached {
    /// The reminder of a number.
    pub(crate) fn reminder(number: i32) -> Self {
        Self { stage: Stage::Reminder, reminder: number }
    }

    /// A stage that is no reminder.
    pub(crate) fn stage(stage: Stage) -> Self {
        Self { stage, reminder: 0 }
    }
}

impl Billing {
    /// Looks every `interval`, and when credit has come in, in one replica at a time, named by
    /// `owner`, until `stop`.
    pub(crate) fn dun_until(
        self: Arc<Self>,
        interval: Duration,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                loop {
                    let credit = self.credit_changed.notified();
                    if let Err(error) = self.dun().await {
                        tracing::warn!(%error, "overdue invoices were not looked at; they will be");
                    }
                    let _: Result<(), _> = tokio::time::timeout(interval, credit).await;
                }
            };
            let turns = Turns::new("dunning", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// Announces what has become overdue, and then what was settled.
    pub(crate) async fn dun(&self) -> Result<(), Error> {
        if let Some(first) = self.dunning_steps.iter().map(|step| step.after).min() {
            self.announce_overdue(first).await?;
        }
        self.settle_paid().await
    }

    /// Announces every stage that an invoice has come to, of those that were due long enough ago
    /// for the first.
    async fn announce_overdue(&self, first: time::Duration) -> Result<(), Error> {
        let Some(due_before) = self.clock.now().checked_sub(first) else {
            return Ok(());
        };
        let mut after = 0;
        loop {
            let listing = OverdueListing { due_before, after, max: PAGE_ROWS };
            let overdue = self.ask(self.provider.list_overdue(listing)).await?;
            let Some(last) = overdue.last() else { return Ok(()) };
            after = last.id;
            self.announce_all(&overdue).await?;
        }
    }

    /// Announces every stage that open invoices have come to.
    async fn announce_all(&self, overdue: &[Invoice]) -> Result<(), Error> {
        let of = self.subscriptions_of(overdue).await?;
        let ids: Vec<i64> = overdue.iter().map(|invoice| invoice.id).collect();
        let known = store::dunning::announced(&self.db, self.provider.name(), &ids).await?;
        for invoice in overdue {
            if self.steps_due(invoice, known.get(&invoice.id)).is_empty() {
                continue;
            }
            // Only an account that has not ended can be held.
            match of.get(&invoice.service_id) {
                Some(of) if of.state == State::Active => {
                    self.announce(invoice, &of.s3uid).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at one invoice now, as [`Self::dun`] would later.
    pub(crate) async fn look_at_invoice(&self, id: i64) -> Result<(), Error> {
        let found = self.ask(self.provider.find_invoices(&[id])).await?.pop();
        match found {
            Some(found) if found.state == InvoiceState::Open => self.announce_all(&[found]).await,
            _ => {
                let mut tx = self.db.begin().await?;
                self.settle(&mut tx, id).await?;
                tx.commit().await?;
                Ok(())
            }
        }
    }

    /// What an open invoice has come to and was not announced at, in order. What was passed over
    /// when it was announced, since it was not set then, is past.
    fn steps_due(&self, invoice: &Invoice, known: Option<&Announced>) -> Vec<Reached> {
        let Some(due_time) = invoice.due_time else { return Vec::new() };
        if known.is_some_and(|known| known.is_settled) {
            return Vec::new();
        }
        let (now, reached) = (self.clock.now(), known.map(|known| known.reached));
        let is_due = |step: &&Step| {
            let time = due_time.checked_add(step.after);
            time.is_some_and(|time| time < now) && reached.is_none_or(|old| old < step.reached)
        };
        self.dunning_steps.iter().filter(is_due).map(|step| step.reached).collect()
    }

    async fn announce(&self, invoice: &Invoice, s3uid: &S3uid) -> Result<(), Error> {
        let (key, now) = ((self.provider.name(), invoice.id), self.clock.now());
        let mut tx = self.db.begin().await?;
        store::dunning::lock_account(&mut tx, s3uid).await?;
        // Another process may have been here since it was looked at.
        let known = store::dunning::find(&mut tx, key).await?;
        let due = self.steps_due(invoice, known.as_ref());
        let Some(last) = due.last() else { return Ok(()) };
        for reached in &due {
            store::dunning::set_reached(&mut tx, key, (s3uid, *reached), now).await?;
            let message = InvoiceOverdue {
                s3uid: s3uid.to_string(),
                invoice_id: invoice.id,
                stage: DunningStage::from(reached.stage).into(),
                reminder: reached.reminder,
                due_time: invoice.due_time.map(timestamp),
                account_stage: match store::dunning::highest_open(&mut tx, s3uid).await? {
                    Some(stage) => DunningStage::from(stage).into(),
                    None => DunningStage::Unspecified.into(),
                },
                sequence: store::dunning::next_sequence(&mut tx, s3uid, now).await?,
            };
            self.outbox.push(&mut tx, INVOICE_OVERDUE, &name::account(s3uid), &message).await?;
        }
        tx.commit().await?;
        let stage = last.stage.text();
        tracing::info!(invoice.id = invoice.id, %s3uid, stage, "an invoice is overdue");
        Ok(())
    }

    /// Settles what was announced and is open no more at the provider.
    async fn settle_paid(&self) -> Result<(), Error> {
        let provider = self.provider.name();
        let (mut after, mut all) = (0, Ok(()));
        loop {
            let open = store::dunning::list_open(&self.db, provider, (after, PAGE_ROWS)).await?;
            let Some(last) = open.last() else { return all };
            after = *last;
            let found = match self.ask(self.provider.find_invoices(&open)).await {
                Ok(found) => found,
                // Those behind it may be of an installation that is there.
                Err(error) => {
                    all = all.and(Err(error.into()));
                    continue;
                }
            };
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
        let (key, now) = ((self.provider.name(), invoice_id), self.clock.now());
        let Some(s3uid) = store::dunning::find_open(&mut *tx, key).await? else {
            return Ok(());
        };
        store::dunning::lock_account(tx, &s3uid).await?;
        let before = store::dunning::highest_open(&mut *tx, &s3uid).await?;
        if !store::dunning::settle(tx, key, now).await? {
            return Ok(());
        }
        let left = store::dunning::highest_open(&mut *tx, &s3uid).await?;
        if left == before {
            // Another one holds the account as before.
            return Ok(());
        }
        let (subject, uid) = (name::account(&s3uid), s3uid.to_string());
        let sequence = store::dunning::next_sequence(tx, &s3uid, now).await?;
        match left {
            None => {
                let message = InvoiceSettled { s3uid: uid, invoice_id, sequence };
                self.outbox.push(tx, INVOICE_SETTLED, &subject, &message).await?;
            }
            Some(stage) => {
                let account_stage = DunningStage::from(stage).into();
                let message = InvoiceEased { s3uid: uid, invoice_id, account_stage, sequence };
                self.outbox.push(tx, INVOICE_EASED, &subject, &message).await?;
            }
        }
        Ok(())
    }
}
