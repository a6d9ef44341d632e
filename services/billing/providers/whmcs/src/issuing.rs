//! Invoices of our own, for usage: each is known by a line of its notes.
//!
//! An invoice is made as a draft and published when it is seen once: one that was made twice has
//! its twin cancelled before anybody has seen it.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use stowage_provider::{Error, NewInvoice};
use stowage_types::CustomerId;
use time::macros::format_description;
use time::{Date, Duration};

use crate::Whmcs;
use crate::amount::text_of;
use crate::customers::{TOO_FINE, check_currency};
use crate::fault::Fault;
use crate::wire::{InvoiceRow, InvoiceStatus};

/// Begins the line of the notes that names the key of an invoice of ours, and its service.
const MARK: &str = "Stowage ";
/// Rows of a page.
const PAGE: usize = 100;
/// Pages of one client's invoices, at most.
const PAGES_MAX: usize = 1000;

/// Clients whose invoices are issued at once.
const AT_ONCE: usize = 4;

/// An invoice to issue, and the line of its notes.
struct Issuing<'i> {
    new: &'i NewInvoice,
    line: String,
}

fn line_of(key: &str, service_id: i64) -> String {
    format!("{MARK}{key} {service_id}")
}

/// The key that the notes of an invoice of ours name.
pub(crate) fn key_in(notes: &str) -> Option<&str> {
    let line = notes.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
    let (key, service) = line.rsplit_once(' ')?;
    (service.parse::<i64>().is_ok() && !key.is_empty()).then_some(key)
}

/// The service that the notes of an invoice of ours name.
pub(crate) fn service_in(notes: &str) -> Option<i64> {
    let line = notes.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
    let (_, service) = line.rsplit_once(' ')?;
    service.parse().ok().filter(|id| *id > 0)
}

fn refused<T>(why: &str) -> Result<T, Error> {
    Err(Error::Refused { why: why.to_owned() })
}

impl Whmcs {
    /// Issues invoices, each once under its key; answers their ids in the order of the keys.
    pub(crate) async fn issue(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        let mut by_customer: BTreeMap<CustomerId, Vec<&NewInvoice>> = BTreeMap::new();
        for new in invoices {
            by_customer.entry(new.order.customer).or_default().push(new);
        }
        let issued: Vec<BoxFuture<'_, _>> = by_customer
            .into_iter()
            .map(|(customer, own)| self.issue_of(customer, own).boxed())
            .collect();
        let issued = stream::iter(issued).buffer_unordered(AT_ONCE);
        // All of them go on, whatever becomes of one: a repeat has less to do.
        let issued: Vec<_> = issued.collect().await;
        let mut ids = HashMap::new();
        for own in issued {
            ids.extend(own?);
        }
        let id = |new: &NewInvoice| ids.get(&new.key).copied();
        let ids: Option<Vec<i64>> = invoices.iter().map(id).collect();
        ids.ok_or_else(|| Error::pending("an invoice that was made is not to be seen"))
    }

    /// Issues those of one customer.
    async fn issue_of(
        &self,
        customer: CustomerId,
        invoices: Vec<&NewInvoice>,
    ) -> Result<Vec<(String, i64)>, Error> {
        let links = &self.memory.links;
        let client = links.find_client(customer).await.map_err(Error::unavailable)?;
        let client = client.ok_or(Error::NotFound)?;
        let mut issuing = Vec::new();
        for new in invoices {
            let service = match new.order.placed {
                Some(placed) => placed.service_id,
                None => self.locate(&new.order).await?.ok_or(Error::NotFound)?.id,
            };
            issuing.push(Issuing { new, line: line_of(&new.key, service) });
        }
        let _turn = self.turns.hold(client).await?;
        let mut found = self.invoices_noted(client, &issuing).await?;
        let absent: Vec<_> = issuing.iter().filter(|own| !found.contains_key(&own.line)).collect();
        if !absent.is_empty() {
            for own in absent {
                self.draft(client, own).await?;
            }
            found = self.invoices_noted(client, &issuing).await.map_err(Error::pending)?;
        }
        let mut ids = Vec::new();
        for own in &issuing {
            let rows = found.get(&own.line).map(Vec::as_slice).unwrap_or_default();
            ids.push((own.new.key.clone(), self.publish(rows).await?));
        }
        Ok(ids)
    }

    /// Publishes one of those that were made, and cancels the others.
    async fn publish(&self, rows: &[InvoiceRow]) -> Result<i64, Error> {
        // One that was withdrawn by hand stays so, and is not made again.
        let kept = rows.iter().find(|row| row.status != InvoiceStatus::Gone);
        let Some(kept) = kept.or_else(|| rows.first()) else {
            return Err(Error::pending("an invoice that was made is not to be seen"));
        };
        let twins = rows.iter().filter(|row| row.id != kept.id);
        for twin in twins.filter(|row| row.status == InvoiceStatus::Draft) {
            tracing::warn!(invoice.id = twin.id, kept = kept.id, "an invoice was made twice");
            self.change_invoice(twin.id, ("status", "Cancelled")).await?;
        }
        if kept.status == InvoiceStatus::Draft {
            self.change_invoice(kept.id, ("publish", "1")).await?;
        }
        Ok(kept.id)
    }

    /// Descriptions and amounts as WHMCS takes them.
    async fn check_lines(
        &self,
        client: i64,
        new: &NewInvoice,
    ) -> Result<Vec<(String, String)>, Error> {
        check_currency(self.currency_of(client).await?, new.total)?;
        if new.key.contains(['\n', '\r']) || new.lines.is_empty() {
            return refused("an invoice has a key without line breaks, and a line");
        }
        let mut lines = Vec::new();
        for line in &new.lines {
            let Some(amount) = text_of(line.amount.nanos()) else { return refused(TOO_FINE) };
            lines.push((line.text.clone(), amount));
        }
        let sum: i128 = new.lines.iter().map(|line| line.amount.nanos()).sum();
        let is_sound = sum == new.total.nanos() && sum > 0;
        if is_sound { Ok(lines) } else { refused("an invoice is the sum of its lines, above zero") }
    }

    /// A client's invoices by the lines that their notes have, each in the order of their ids.
    async fn invoices_noted(
        &self,
        client: i64,
        issuing: &[Issuing<'_>],
    ) -> Result<HashMap<String, Vec<InvoiceRow>>, Error> {
        let wanted: HashSet<&str> = issuing.iter().map(|own| own.line.as_str()).collect();
        let id = client.to_string();
        let filter = [("userid", id.as_str()), ("orderby", "id"), ("order", "desc")];
        let (mut found, mut start) = (BTreeMap::new(), 0);
        for _ in 0..PAGES_MAX {
            let page = self.api.invoices(&filter, start, PAGE).await?;
            let count = page.rows.len();
            start += count;
            for row in page.rows.into_iter().filter(|row| row.client == client) {
                let line = row.notes.lines().map(str::trim).find(|line| wanted.contains(line));
                if let Some(line) = line.map(str::to_owned) {
                    found.insert(row.id, (line, row));
                }
            }
            if count == 0 || start >= page.total {
                let mut by_line: HashMap<String, Vec<InvoiceRow>> = HashMap::new();
                for (line, row) in found.into_values() {
                    by_line.entry(line).or_default().push(row);
                }
                return Ok(by_line);
            }
        }
        Err(Error::unavailable("a client has too many invoices to look through"))
    }

    async fn draft(&self, client: i64, own: &Issuing<'_>) -> Result<(), Error> {
        let lines = self.check_lines(client, own.new).await?;
        let form = format_description!("[year]-[month]-[day]");
        let day = |date: Date| date.format(form).map_err(Error::unavailable);
        let today = self.clock.now().date();
        let due = today.saturating_add(Duration::days(self.options.days_to_pay.into()));
        let (date, due) = (day(today)?, day(due)?);
        let (client, taxed) =
            (client.to_string(), if self.options.usage_is_taxed { "1" } else { "0" });
        let mut what = vec![
            ("userid".to_owned(), client.as_str()),
            ("status".to_owned(), "Draft"),
            ("draft".to_owned(), "1"),
            ("sendinvoice".to_owned(), "0"),
            ("paymentmethod".to_owned(), &self.options.payment_method),
            ("date".to_owned(), &date),
            ("duedate".to_owned(), &due),
            ("notes".to_owned(), &own.line),
        ];
        for (n, (description, amount)) in (1..).zip(&lines) {
            what.push((format!("itemdescription{n}"), description));
            what.push((format!("itemamount{n}"), amount));
            what.push((format!("itemtaxed{n}"), taxed));
        }
        let what: Vec<_> = what.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        match self.api.write("CreateInvoice", &what).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused { message }) => {
                tracing::warn!(message, client, "WHMCS refused an invoice");
                refused(&message)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn change_invoice(&self, id: i64, change: (&str, &str)) -> Result<(), Error> {
        let what = [("invoiceid", id.to_string())];
        let what = [(what[0].0, what[0].1.as_str()), change];
        self.api.write("UpdateInvoice", &what).await.map(drop).map_err(Fault::halfway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_name_the_service() {
        for (notes, expected) in [
            (line_of("usage 2026-01", 77).as_str(), Some(77)),
            ("Thank you.\r\nStowage k 5\r\n", Some(5)),
            ("Stowage 5", None),
            ("Stowage k x", None),
            ("stowage k 5", None),
            ("", None),
        ] {
            assert_eq!(service_in(notes), expected, "{notes:?}");
        }
    }
}
