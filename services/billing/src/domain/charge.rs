//! What was charged, line by line, for whoever wants to count it himself.

use stowage_auth::RequestContext;
use stowage_types::{CustomerId, Malformed, page};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bill::{Tariffs, of_charges};
use super::period::Span;
use super::{Billing, asked_for};
use crate::error::Error;
use crate::rating::{Charge, Tariff};
use crate::store;

/// Names the listing in page tokens.
const LISTING: &str = "charges";

/// Which bills' lines are listed.
#[derive(Debug, Clone)]
pub(crate) struct ChargeListing {
    pub(crate) customer: Option<CustomerId>,
    /// Bills that were made then or later.
    pub(crate) from: Option<OffsetDateTime>,
    /// Bills that were made before.
    pub(crate) to: Option<OffsetDateTime>,
    /// Bills of a page.
    pub(crate) size: i64,
    pub(crate) token: String,
}

/// A line, and to whom it was charged.
#[derive(Debug, Clone)]
pub(crate) struct ChargedLine {
    pub(crate) customer: CustomerId,
    pub(crate) s3uid: String,
    pub(crate) service_id: i64,
    /// 0: a credit, or not issued yet.
    pub(crate) invoice_id: i64,
    pub(crate) bill_time: OffsetDateTime,
    pub(crate) location: String,
    pub(crate) storage_type: String,
    pub(crate) line: Line,
}

/// A line with the terms it was computed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) charge: Charge,
    pub(crate) tariff: std::sync::Arc<Tariff>,
}

impl ChargeListing {
    /// What a token of this listing is bound to.
    fn scope_text(&self, customer: Option<CustomerId>) -> String {
        let customer = customer.map(|id| id.to_string()).unwrap_or_default();
        format!("{customer}/{:?}/{:?}", self.from, self.to)
    }
}

impl Billing {
    /// Returns the lines of a page of bills, and the token of the next page; empty: the end.
    pub(crate) async fn list_charges(
        &self,
        cx: &RequestContext,
        listing: ChargeListing,
    ) -> Result<(Vec<ChargedLine>, String), Error> {
        let Some(customer) = asked_for(cx.principal.scope(), listing.customer) else {
            return Ok((Vec::new(), String::new()));
        };
        let scope = listing.scope_text(customer);
        let refused = |bad: Malformed| Error::PageToken { why: bad.why };
        let cursor = page::decode(LISTING, &scope, &listing.token).map_err(refused)?;
        let after = match cursor {
            None => None,
            Some(cursor) => Some(
                read_cursor(&cursor)
                    .ok_or_else(|| refused(Malformed::new("is not a token of this listing")))?,
            ),
        };
        let span = Span {
            start: listing.from.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            end: listing.to.unwrap_or_else(|| self.clock.now() + time::Duration::DAY),
        };
        let filter = store::bill::Filter { customer, span, after };
        let mut found = store::bill::list(&self.db, &filter, listing.size + 1).await?;
        let rows = usize::try_from(listing.size).map_err(Error::internal)?;
        let has_more = found.len() > rows;
        found.truncate(rows);
        let next = match found.last() {
            Some(last) if has_more => {
                let time = last.bill.create_time.format(&Rfc3339).map_err(Error::internal)?;
                page::encode(LISTING, &scope, &format!("{time} {}", last.bill.key))
            }
            _ => String::new(),
        };
        let mut tariffs = Tariffs::default();
        let wanted = found.iter().flat_map(|found| of_charges(&found.bill));
        tariffs.load(&self.db, wanted.collect::<Vec<_>>()).await?;
        let mut lines = Vec::new();
        for store::bill::Billed { bill, s3uid, service_id, location, storage_type } in found {
            for charge in bill.charges {
                let tariff = tariffs.get(charge.plan, charge.version, bill.currency)?.clone();
                lines.push(ChargedLine {
                    customer: bill.customer,
                    s3uid: s3uid.clone(),
                    service_id,
                    invoice_id: bill.invoice_id.unwrap_or(0),
                    bill_time: bill.create_time,
                    location: location.clone(),
                    storage_type: storage_type.clone(),
                    line: Line { charge, tariff },
                });
            }
        }
        Ok((lines, next))
    }

    /// The lines of an invoice; none if nothing was rated for it.
    pub(crate) async fn lines_of(&self, invoice_id: i64) -> Result<Vec<Line>, Error> {
        let provider = self.provider.name();
        let bills = store::bill::find_by_invoice(&self.db, provider, &[invoice_id]).await?;
        let mut tariffs = Tariffs::default();
        tariffs.load(&self.db, bills.iter().flat_map(of_charges).collect::<Vec<_>>()).await?;
        let mut lines = Vec::new();
        for bill in bills {
            for charge in bill.charges {
                let tariff = tariffs.get(charge.plan, charge.version, bill.currency)?.clone();
                lines.push(Line { charge, tariff });
            }
        }
        Ok(lines)
    }
}

fn read_cursor(text: &str) -> Option<(OffsetDateTime, String)> {
    let (time, key) = text.split_once(' ')?;
    Some((OffsetDateTime::parse(time, &Rfc3339).ok()?, key.to_owned()))
}
