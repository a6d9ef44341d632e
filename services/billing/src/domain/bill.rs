//! Bills: what is charged at once, and the provider's invoices that are made of them.
//!
//! A bill is stored with its lines in the transaction that closes a period, and never changes. It
//! is given to the provider behind that, under its key, as often as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_db::Tx;
use stowage_provider::{InvoiceLine, NewCredit, NewInvoice, OrderKey, OrderRef, PlacedOrder};
use stowage_types::{Currency, CustomerId, Money, PlanId};
use time::OffsetDateTime;

use super::Billing;
use super::closing::{ClosedPeriod, NextPeriod};
use super::period::Span;
use super::subscription::Subscription;
use crate::error::Error;
use crate::rating::{Charge, Tariff};
use crate::store;
use crate::store::plan::Which;

/// Bills that are given to the provider at once.
const BATCH: i64 = 500;

/// What is charged at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) key: String,
    pub(crate) order: OrderKey,
    pub(crate) provider: String,
    pub(crate) customer: CustomerId,
    pub(crate) currency: Currency,
    pub(crate) charges: Vec<Charge>,
    /// The sum of its lines; below zero it is a credit.
    pub(crate) total: Money,
    pub(crate) create_time: OffsetDateTime,
    /// The provider's invoice; 0: a credit note, or nothing to charge. Absent while it is a draft.
    pub(crate) invoice_id: Option<i64>,
}

/// The sum of lines.
pub(crate) fn sum_of(charges: &[Charge], currency: Currency) -> Money {
    let nanos = charges.iter().map(|charge| charge.amount_nanos).sum();
    Money::from_nanos(nanos, currency)
}

/// A bill that the provider has not got, with what the provider knows its order by.
#[derive(Debug, Clone)]
pub(crate) struct Unissued {
    pub(crate) bill: Bill,
    pub(crate) placed: PlacedOrder,
    pub(crate) installation: String,
    pub(crate) title: String,
}

/// Tariffs of versions of plans, read once: a version never changes.
#[derive(Debug, Default)]
pub(crate) struct Tariffs(BTreeMap<(PlanId, i32, Currency), Arc<Tariff>>);

impl Tariffs {
    /// The tariff of a version that something was sold with.
    ///
    /// # Errors
    /// `Internal` if there is none: what was sold cannot be gone.
    pub(crate) fn get(
        &self,
        plan: PlanId,
        version: i32,
        currency: Currency,
    ) -> Result<&Arc<Tariff>, Error> {
        let found = self.0.get(&(plan, version, currency));
        found.ok_or_else(|| Error::internal(format!("plan {plan} version {version} is gone")))
    }

    /// Reads those that it has not yet.
    pub(crate) async fn load(
        &mut self,
        db: &stowage_db::Db,
        wanted: impl IntoIterator<Item = (PlanId, i32, Currency)>,
    ) -> Result<(), Error> {
        for (plan, version, currency) in wanted {
            if self.0.contains_key(&(plan, version, currency)) {
                continue;
            }
            let found = store::plan::find(db, plan, Which::Version(version)).await?;
            if let Some(tariff) = found.and_then(|plan| Tariff::of(&plan, currency)) {
                self.0.insert((plan, version, currency), Arc::new(tariff));
            }
        }
        Ok(())
    }
}

impl Billing {
    /// Gives every bill that is a draft to the provider. One that it will not have is told in the
    /// log, and holds up no other; nor does an installation that is away.
    ///
    /// # Errors
    /// `ProviderUnavailable`: the rest is given to it later.
    pub(crate) async fn issue_bills(&self, tariffs: &mut Tariffs) -> Result<(), Error> {
        let mut all = Ok(());
        for installation in self.provider.installations() {
            let installation = self.noted_as(&installation);
            all = all.and(self.issue_bills_at(installation, tariffs).await);
        }
        all
    }

    async fn issue_bills_at(&self, installation: &str, tariffs: &mut Tariffs) -> Result<(), Error> {
        let mut after = String::new();
        let whose = (self.provider.name(), installation);
        loop {
            let page = (after.as_str(), BATCH);
            let drafts = store::bill::list_drafts(&self.db, whose, page).await?;
            let Some(last) = drafts.last() else { return Ok(()) };
            after.clone_from(&last.bill.key);
            let wanted = drafts.iter().flat_map(|draft| of_charges(&draft.bill));
            tariffs.load(&self.db, wanted.collect::<Vec<_>>()).await?;
            let issued = match self.issue(&drafts, tariffs).await {
                Err(Error::ProviderUnavailable { source }) => return Err(source.into()),
                Err(error) if drafts.len() == 1 => {
                    complain(&drafts[0], &error);
                    continue;
                }
                // One of them is refused: which one, it says if they come one by one.
                Err(_) => self.issue_each(&drafts, tariffs).await?,
                Ok(issued) => issued,
            };
            let mut tx = self.db.begin().await?;
            store::bill::set_issued(&mut tx, &issued, self.clock.now()).await?;
            tx.commit().await?;
        }
    }

    /// Notes what the invoice of an order is for, as the bill of a period before the first.
    pub(super) async fn bill_first(
        &self,
        tx: &mut Tx,
        order: &Subscription,
        first: Span,
    ) -> Result<(), Error> {
        let invoice_id = order.placed.map_or(0, |placed| placed.invoice_id);
        if invoice_id == 0 || self.provider.renews() {
            return Ok(());
        }
        let (plan, version) = (order.plan, order.plan_version);
        let sold = store::plan::find(&mut *tx, plan, Which::Version(version)).await?;
        let tariff = sold.and_then(|sold| Tariff::of(&sold, order.period_price.currency()));
        let tariff = tariff.ok_or_else(|| Error::internal("a subscription's plan is gone"))?;
        let charges = vec![Charge::base(&tariff, first).map_err(Error::internal)?];
        let bill = Bill {
            key: format!("{}/0", order.key),
            order: order.key.clone(),
            provider: order.provider.clone(),
            customer: order.customer,
            currency: tariff.currency,
            total: sum_of(&charges, tariff.currency),
            charges,
            create_time: first.start,
            invoice_id: Some(invoice_id),
        };
        let closed = ClosedPeriod {
            number: 0,
            span: Span { start: first.start, end: first.start },
            next: Some(NextPeriod { plan, version, end: first.end }),
            bill_key: bill.key.clone(),
            is_sealed: true,
        };
        store::closing::insert_first(tx, &order.key, &closed, first.start).await?;
        store::bill::insert(tx, &[&bill]).await?;
        Ok(())
    }

    async fn issue_each(
        &self,
        drafts: &[Unissued],
        tariffs: &Tariffs,
    ) -> Result<Vec<(String, i64)>, Error> {
        let mut all = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match self.issue(std::slice::from_ref(draft), tariffs).await {
                Ok(issued) => all.extend(issued),
                Err(Error::ProviderUnavailable { source }) => return Err(source.into()),
                Err(error) => complain(draft, &error),
            }
        }
        Ok(all)
    }

    /// Answers the invoice that each became; 0: none.
    async fn issue(
        &self,
        drafts: &[Unissued],
        tariffs: &Tariffs,
    ) -> Result<Vec<(String, i64)>, Error> {
        let (mut invoices, mut credits, mut issued) = (Vec::new(), Vec::new(), Vec::new());
        for draft in drafts {
            let total = draft.bill.total;
            if total.is_negative() {
                credits.push(draft.to_credit());
                issued.push((draft.bill.key.clone(), 0));
            } else if total.is_zero() {
                issued.push((draft.bill.key.clone(), 0));
            } else {
                invoices.push(draft.to_invoice(tariffs)?);
            }
        }
        if !credits.is_empty() {
            self.ask(self.provider.grant_credits(&credits)).await?;
        }
        if !invoices.is_empty() {
            let ids = self.ask(self.provider.issue_invoices(&invoices)).await?;
            if ids.len() != invoices.len() {
                return Err(Error::internal("the provider has lost count of invoices"));
            }
            issued.extend(invoices.into_iter().map(|invoice| invoice.key).zip(ids));
        }
        Ok(issued)
    }
}

impl Unissued {
    fn order_ref(&self) -> OrderRef {
        let Bill { order, customer, .. } = &self.bill;
        OrderRef {
            key: order.clone(),
            customer: *customer,
            installation: self.installation.clone(),
            placed: Some(self.placed),
        }
    }

    fn to_invoice(&self, tariffs: &Tariffs) -> Result<NewInvoice, Error> {
        let Bill { key, currency, charges, .. } = &self.bill;
        let line = |charge: &Charge| {
            let tariff = tariffs.get(charge.plan, charge.version, *currency)?;
            let amount = Money::from_nanos(charge.amount_nanos, *currency);
            Ok(InvoiceLine { text: charge.description(tariff), amount })
        };
        Ok(NewInvoice {
            key: key.clone(),
            order: self.order_ref(),
            title: self.title.clone(),
            total: self.bill.total,
            lines: charges.iter().map(line).collect::<Result<_, Error>>()?,
        })
    }

    fn to_credit(&self) -> NewCredit {
        let total = self.bill.total;
        NewCredit {
            key: self.bill.key.clone(),
            customer: self.bill.customer,
            installation: self.installation.clone(),
            amount: Money::from_nanos(-total.nanos(), total.currency()),
            text: format!("{}, less than was charged before", self.title),
            actor: "billing".to_owned(),
        }
    }
}

/// Says that a bill is not issued, and that a person must look.
fn complain(draft: &Unissued, error: &Error) {
    let key = &draft.bill.key;
    tracing::error!(bill.key = %key, %error, "a bill is not taken by the provider");
}

/// The tariffs that the lines of a bill are of.
pub(crate) fn of_charges(bill: &Bill) -> impl Iterator<Item = (PlanId, i32, Currency)> {
    bill.charges.iter().map(|charge| (charge.plan, charge.version, bill.currency))
}
