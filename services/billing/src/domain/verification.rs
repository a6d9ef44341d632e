//! Verifying: an invoice is computed again from the terms that were sold and the figures that were
//! frozen, by the lines that made it, and compared with what is stored and what the provider has.

use std::collections::BTreeMap;

use stowage_auth::RequestContext;
use stowage_provider::Invoice;
use stowage_types::{Malformed, Money, page};

use super::Billing;
use super::bill::{Bill, Tariffs};
use super::closing::{Amendment, BillFacts};
use crate::error::Error;
use crate::rating::Charge;
use crate::store;
use crate::store::closing::{Periods, Segments};

/// Names the listing in page tokens.
const LISTING: &str = "invoices to verify";

/// Something that is not as it is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Which line, from 1; 0: the invoice as a whole.
    pub(crate) line: i32,
    pub(crate) field: &'static str,
    pub(crate) stored: String,
    pub(crate) computed: String,
}

/// An invoice, computed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verification {
    pub(crate) invoice_id: i64,
    /// What the provider says it amounts to; absent: it does not have it.
    pub(crate) total: Option<Money>,
    pub(crate) computed_total: Money,
    pub(crate) differences: Vec<Difference>,
}

/// A page of verified invoices.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) count: usize,
    pub(crate) disagreeing: Vec<Verification>,
    pub(crate) next_token: String,
}

impl Billing {
    /// Computes an invoice again.
    pub(crate) async fn verify_invoice(
        &self,
        cx: &RequestContext,
        id: i64,
    ) -> Result<Verification, Error> {
        self.find_seen(cx, id).await?;
        let provider = self.provider.name();
        let bills = store::bill::find_by_invoice(&self.db, provider, &[id]).await?;
        let mut verified = self.verify(&bills).await?;
        verified.pop().ok_or(Error::InvoiceNotRated)
    }

    /// Computes a page of invoices again, by id.
    pub(crate) async fn verify_invoices(
        &self,
        cx: &RequestContext,
        (size, token): (i64, &str),
    ) -> Result<Verified, Error> {
        let refused = |bad: Malformed| Error::PageToken { why: bad.why };
        let after = match page::decode(LISTING, "", token).map_err(refused)? {
            None => 0,
            Some(cursor) => cursor
                .parse()
                .map_err(|_| refused(Malformed::new("is not a token of this listing")))?,
        };
        let provider = self.provider.name();
        let mut bills = store::bill::list_issued(&self.db, provider, (after, size)).await?;
        let last = bills.last().and_then(|bill| bill.invoice_id);
        let is_full = i64::try_from(bills.len()).map_err(Error::internal)? == size;
        let next = last.filter(|_| is_full).map(|id| page::encode(LISTING, "", &id.to_string()));
        bills.retain(|bill| cx.sees(bill.customer));
        let verified = self.verify(&bills).await?;
        let count = verified.len();
        let differs = |verified: &Verification| !verified.differences.is_empty();
        let disagreeing = verified.into_iter().filter(differs).collect();
        Ok(Verified { count, disagreeing, next_token: next.unwrap_or_default() })
    }

    async fn verify(&self, bills: &[Bill]) -> Result<Vec<Verification>, Error> {
        let ids: Vec<i64> = bills.iter().filter_map(|bill| bill.invoice_id).collect();
        let invoices = self.ask(self.provider.find_invoices(&ids)).await?;
        let invoices: BTreeMap<i64, Invoice> =
            invoices.into_iter().map(|invoice| (invoice.id, invoice)).collect();
        let facts = Frozen::read(self, bills).await?;
        let mut tariffs = Tariffs::default();
        tariffs.load(&self.db, facts.tariffs(bills)).await?;
        let mut verified = Vec::with_capacity(bills.len());
        for bill in bills {
            let computed = facts.of(bill)?.charges(&tariffs)?;
            let id = bill.invoice_id.unwrap_or(0);
            verified.push(compare((bill, &computed), invoices.get(&id), &tariffs)?);
        }
        Ok(verified)
    }
}

/// What is frozen of bills.
struct Frozen {
    /// Periods that the bills close, by order.
    closed: Periods,
    /// Segments that were rated for the bills, by order.
    rated: Segments,
    /// Everything of the orders whose bills correct earlier ones.
    all_closed: Periods,
    all_segments: Segments,
}

impl Frozen {
    async fn read(billing: &Billing, bills: &[Bill]) -> Result<Self, Error> {
        let keys: Vec<&str> = bills.iter().map(|bill| bill.key.as_str()).collect();
        let closed = store::closing::list_closed_by(&billing.db, &keys).await?;
        let rated = store::closing::list_rated_for(&billing.db, &keys).await?;
        let corrects = |(_, of): &(&String, &Vec<_>)| has_revisions(of);
        let orders: Vec<&str> =
            rated.iter().filter(corrects).map(|(order, _)| order.as_str()).collect();
        let all_closed = store::closing::list_closed(&billing.db, &orders).await?;
        let all_segments = store::closing::list_segments(&billing.db, &orders).await?;
        Ok(Self { closed, rated, all_closed, all_segments })
    }

    /// Every tariff that may be needed.
    fn tariffs(
        &self,
        bills: &[Bill],
    ) -> Vec<(stowage_types::PlanId, i32, stowage_types::Currency)> {
        let of = |bill: &Bill| {
            let order = bill.order.as_str();
            let rated = self.rated.get(order).into_iter().flatten();
            let next = self.closed.get(order).into_iter().flatten().filter_map(|of| of.next);
            let plans = rated
                .map(|of| (of.segment.plan, of.segment.version))
                .chain(next.map(|next| (next.plan, next.version)))
                .chain(bill.charges.iter().map(|charge| (charge.plan, charge.version)));
            plans.map(|(plan, version)| (plan, version, bill.currency)).collect::<Vec<_>>()
        };
        bills.iter().flat_map(of).collect()
    }

    /// What one bill was computed from.
    fn of(&self, bill: &Bill) -> Result<BillFacts<'_>, Error> {
        let order = bill.order.as_str();
        let rated = self.rated.get(order).map(Vec::as_slice).unwrap_or_default();
        let of_bill = || rated.iter().filter(|of| of.bill_key == bill.key);
        let closed = self.closed.get(order).into_iter().flatten();
        let closed = closed.into_iter().find(|period| period.bill_key == bill.key);
        let closed = closed.map(|period| {
            let own = of_bill().filter(|of| of.revision == 0 && of.number == period.number);
            (period, own.cloned().collect())
        });
        let gone = || Error::internal("a figure that a correction is of is gone");
        let mut amendments = Vec::new();
        for after in of_bill().filter(|of| of.revision > 0) {
            let periods = self.all_closed.get(order).into_iter().flatten();
            let period = periods.into_iter().find(|period| period.number == after.number);
            let earlier = self.all_segments.get(order).into_iter().flatten();
            let before = earlier.into_iter().find(|of| {
                (of.number, of.index, of.revision)
                    == (after.number, after.index, after.revision - 1)
            });
            amendments.push(Amendment {
                period_hours: period.ok_or_else(gone)?.hours(),
                before: before.ok_or_else(gone)?.clone(),
                after: after.clone(),
            });
        }
        Ok(BillFacts { currency: bill.currency, closed, amendments })
    }
}

fn has_revisions(segments: &[super::closing::FrozenSegment]) -> bool {
    segments.iter().any(|of| of.revision > 0)
}

/// Compares line by line, and the sums.
fn compare(
    (bill, computed): (&Bill, &[Charge]),
    invoice: Option<&Invoice>,
    tariffs: &Tariffs,
) -> Result<Verification, Error> {
    let mut differences = Vec::new();
    let text = |charge: Option<&Charge>| match charge {
        None => Ok("none".to_owned()),
        Some(charge) => {
            let tariff = tariffs.get(charge.plan, charge.version, bill.currency)?;
            let amount = Money::from_nanos(charge.amount_nanos, bill.currency);
            Ok::<_, Error>(format!("{amount}: {}", charge.description(tariff)))
        }
    };
    for index in 0..bill.charges.len().max(computed.len()) {
        let (stored, is) = (bill.charges.get(index), computed.get(index));
        if stored != is {
            let line = i32::try_from(index + 1).unwrap_or(i32::MAX);
            let (stored, computed) = (text(stored)?, text(is)?);
            differences.push(Difference { line, field: "line", stored, computed });
        }
    }
    let sum = computed.iter().map(|charge| charge.amount_nanos).sum();
    let computed_total = Money::from_nanos(sum, bill.currency);
    let total = invoice.map(|invoice| invoice.total);
    let none = || "none".to_owned();
    for (field, stored) in [("total", Some(bill.total)), ("provider_total", total)] {
        if stored != Some(computed_total) {
            let stored = stored.map_or_else(none, |money| money.to_string());
            let computed = computed_total.to_string();
            differences.push(Difference { line: 0, field, stored, computed });
        }
    }
    let invoice_id = bill.invoice_id.unwrap_or(0);
    Ok(Verification { invoice_id, total, computed_total, differences })
}
