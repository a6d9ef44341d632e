//! The rest of a round: bills and invoices, links of customers, and the provider's own books.

use std::collections::BTreeSet;

use stowage_provider::{ById, Error as ProviderError, KeyedInvoice};
use time::Duration;

use super::cursor::Cursor;
use super::finding::{Finding, Kind, Outcome};
use super::round::{PAGE, ROWS, Round, first_books, is_full};
use crate::error::Error;
use crate::store;
use crate::store::reconcile::BillNote;

/// How long a bill may wait for its invoice before that is told.
const ISSUING: Duration = Duration::DAY;
/// Links that are looked at in one part: each is a call of the provider.
const LINKS: i64 = 20;

impl Round<'_> {
    /// Bills that the provider has not got for long.
    pub(super) async fn bills(&mut self, after: &str) -> Result<Option<Cursor>, Error> {
        let billing = self.billing;
        let before = billing.now() - ISSUING;
        let (name, page) = (billing.provider.name(), (before, after, PAGE));
        let found = store::reconcile::list_drafts_before(&billing.db, name, page).await?;
        self.look_at(found.len());
        for bill in &found {
            let finding = of_bill(Kind::BillNotIssued, name, bill);
            self.part.findings.push(Finding { there: "no invoice".to_owned(), ..finding });
        }
        Ok(Some(match found.last() {
            Some(last) => Cursor::Bills { after: last.key.clone() },
            None => Cursor::Invoices { place: 0, after: 0 },
        }))
    }

    /// Invoices there that carry a key, against bills whose invoices are in the same range.
    pub(super) async fn invoices(
        &mut self,
        place: usize,
        after: i64,
    ) -> Result<Option<Cursor>, Error> {
        let Some(installation) = self.installation(place) else {
            return Ok(Some(Cursor::Links { place: 0, after: 0 }));
        };
        let billing = self.billing;
        let by = ById { after, max: ROWS };
        let listed = billing.ask(billing.provider.list_keyed_invoices(&installation, by)).await?;
        let mut through = listed.through;
        let (name, range) = (billing.provider.name(), (after, through.unwrap_or(i64::MAX), ROWS));
        let noted = store::reconcile::list_noted_between(&billing.db, name, range).await?;
        if let Some(last) = noted.last().filter(|_| is_full(noted.len(), ROWS)) {
            through = last.invoice_id;
        }
        let is_in = |id: i64| through.is_none_or(|through| id <= through);
        let rows: Vec<KeyedInvoice> =
            listed.rows.into_iter().filter(|invoice| is_in(invoice.id)).collect();
        self.look_at(rows.len());
        self.keyed(&installation, &rows).await?;
        let ids: BTreeSet<i64> = rows.iter().map(|invoice| invoice.id).collect();
        let unseen =
            noted.into_iter().filter(|bill| bill.invoice_id.is_some_and(|id| !ids.contains(&id)));
        self.unseen(&installation, unseen.collect()).await?;
        Ok(Some(match through {
            Some(after) => Cursor::Invoices { place, after },
            None => Cursor::Invoices { place: place + 1, after: 0 },
        }))
    }

    async fn keyed(&mut self, installation: &str, rows: &[KeyedInvoice]) -> Result<(), Error> {
        let billing = self.billing;
        let keys: Vec<&str> = rows.iter().map(|invoice| invoice.key.as_str()).collect();
        let bills = store::reconcile::bills_of(&billing.db, billing.provider.name(), &keys).await?;
        for invoice in rows.iter().filter(|invoice| !invoice.is_void) {
            let there = format!("invoice {} of bill {}", invoice.id, invoice.key);
            let finding = match bills.get(&invoice.key) {
                None => Finding {
                    kind: Kind::InvoiceUnknown,
                    installation: installation.to_owned(),
                    service_id: 0,
                    s3uid: String::new(),
                    customer: None,
                    here: "no such bill".to_owned(),
                    there,
                    since: Some(invoice.create_time),
                    outcome: Outcome::Left,
                },
                Some(bill) => match bill.invoice_id {
                    Some(id) if id != invoice.id => Finding {
                        there,
                        since: Some(invoice.create_time),
                        ..of_bill(Kind::InvoiceTwice, installation, bill)
                    },
                    // Its answer was lost: it is asked for again, under the same key.
                    _ => continue,
                },
            };
            self.part.findings.push(finding);
        }
        Ok(())
    }

    /// Bills whose invoices were not listed: those of orders have no key.
    async fn unseen(&mut self, installation: &str, bills: Vec<BillNote>) -> Result<(), Error> {
        let billing = self.billing;
        let ids: Vec<i64> = bills.iter().filter_map(|bill| bill.invoice_id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = billing.ask(billing.provider.find_invoices(&ids)).await?;
        let there: BTreeSet<i64> = found.into_iter().map(|invoice| invoice.id).collect();
        let is_there = |bill: &BillNote| bill.invoice_id.is_some_and(|id| there.contains(&id));
        for bill in bills.iter().filter(|bill| !is_there(bill)) {
            let finding = of_bill(Kind::InvoiceMissing, installation, bill);
            let there = "no such invoice, or none of a customer who is linked".to_owned();
            self.part.findings.push(Finding { there, ..finding });
        }
        Ok(())
    }

    /// Links of customers, each of which is a call of the provider.
    pub(super) async fn links(
        &mut self,
        place: usize,
        after: i64,
    ) -> Result<Option<Cursor>, Error> {
        let Some(installation) = self.installation(place) else { return Ok(Some(first_books())) };
        let billing = self.billing;
        let page = (after, LINKS);
        let links = store::customer_link::list(&billing.db, &installation, page).await?;
        let Some((last, _)) = links.last() else {
            return Ok(Some(Cursor::Links { place: place + 1, after: 0 }));
        };
        let next = Cursor::Links { place, after: last.0 };
        self.look_at(links.len());
        for (customer, client_id) in links {
            let client = billing.provider.find_client(&installation, client_id);
            let there = match billing.ask(client).await {
                Ok(Some(client)) if !client.is_closed => continue,
                Ok(Some(_)) => "the client is closed",
                Ok(None) => "there is no such client",
                Err(ProviderError::Refused { .. }) => "the provider links nobody",
                Err(error) => return Err(error.into()),
            };
            self.part.findings.push(Finding {
                kind: Kind::LinkBroken,
                installation: installation.clone(),
                service_id: 0,
                s3uid: String::new(),
                customer: Some(customer),
                here: format!("linked to client {client_id}"),
                there: there.to_owned(),
                since: None,
                outcome: Outcome::Left,
            });
        }
        Ok(Some(next))
    }

    /// The provider's own books.
    pub(super) async fn books(
        &mut self,
        place: usize,
        from: String,
    ) -> Result<Option<Cursor>, Error> {
        let Some(installation) = self.installation(place) else { return Ok(None) };
        let billing = self.billing;
        let look = billing.ask(billing.provider.check_books(&installation, &from)).await;
        let look = match look {
            // What it says of where to go on comes back from the caller, who may have made it up.
            Err(ProviderError::NotFound) => {
                let why = "is not a token of this listing".to_owned();
                return Err(Error::PageToken { why });
            }
            look => look?,
        };
        self.part.looked_at += look.looked_at;
        for fault in look.faults {
            self.part.findings.push(Finding {
                kind: Kind::BooksDiffer,
                installation: installation.clone(),
                service_id: 0,
                s3uid: String::new(),
                customer: None,
                here: String::new(),
                there: fault,
                since: None,
                outcome: Outcome::Left,
            });
        }
        Ok(Some(match look.next {
            Some(from) => Cursor::Books { place, from },
            None => Cursor::Books { place: place + 1, from: String::new() },
        }))
    }
}

fn of_bill(kind: Kind, installation: &str, bill: &BillNote) -> Finding {
    let here = match bill.invoice_id {
        Some(id) if id > 0 => format!("bill {} is invoice {id}", bill.key),
        Some(_) => format!("bill {} is no invoice", bill.key),
        None => format!("bill {} waits for its invoice", bill.key),
    };
    Finding {
        kind,
        installation: installation.to_owned(),
        service_id: bill.service_id,
        s3uid: bill.s3uid.clone(),
        customer: Some(bill.customer),
        here,
        there: String::new(),
        since: Some(bill.create_time),
        outcome: Outcome::Left,
    }
}
