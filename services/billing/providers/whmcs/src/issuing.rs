//! Invoices of our own, for usage: each is known by a line of its notes.
//!
//! An invoice is made as a draft and published when it is seen once: one that was made twice has
//! its twin cancelled before anybody has seen it.

use stowage_provider::Error;
use stowage_types::{CustomerId, Money};
use time::Date;
use time::macros::format_description;

use crate::Whmcs;
use crate::amount::text_of;
use crate::fault::Fault;
use crate::wire::{InvoiceRow, InvoiceStatus};

/// Begins the line of the notes that names the key of an invoice of ours, and its service.
const MARK: &str = "Stowage ";
/// Rows of a page.
const PAGE: usize = 100;
/// Pages of one client's invoices, at most.
const PAGES_MAX: usize = 1000;

/// An invoice to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageInvoice {
    /// Its key, without line breaks: a repeat is one and the same invoice.
    pub key: String,
    /// Who owes it.
    pub customer: CustomerId,
    /// The service it is for.
    pub service_id: i64,
    /// What is printed, and what each costs.
    pub lines: Vec<(String, Money)>,
    /// The last day to pay it.
    pub due: Date,
}

fn line_of(key: &str, service_id: i64) -> String {
    format!("{MARK}{key} {service_id}")
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
    /// Whether it invoices later periods of services by itself. It does.
    #[must_use]
    pub const fn renews(&self) -> bool {
        true
    }

    /// Issues an invoice unless it is there, and answers its id.
    ///
    /// # Errors
    /// `NotFound` if the customer has no client, `Refused` if WHMCS cannot have it; `Pending`,
    /// `Unavailable`.
    pub async fn issue_invoice(&self, invoice: &UsageInvoice) -> Result<i64, Error> {
        let links = &self.memory.links;
        let client = links.find_client(invoice.customer).await.map_err(Error::unavailable)?;
        let client = client.ok_or(Error::NotFound)?;
        let _turn = self.turns.hold(client).await?;
        let line = line_of(&invoice.key, invoice.service_id);
        let mut found = self.invoices_noted(client, &line).await?;
        if found.is_empty() {
            let lines = self.check_lines(client, invoice).await?;
            self.draft(client, (&line, &lines), invoice.due).await?;
            found = self.invoices_noted(client, &line).await.map_err(Error::pending)?;
        }
        // One that was withdrawn by hand stays so, and is not made again.
        let kept = found.iter().find(|row| row.status != InvoiceStatus::Gone);
        let Some(kept) = kept.or_else(|| found.first()) else {
            return Err(Error::pending("an invoice that was made is not to be seen"));
        };
        let twins = found.iter().filter(|row| row.id != kept.id);
        for twin in twins.filter(|row| row.status == InvoiceStatus::Draft) {
            tracing::warn!(invoice.id = twin.id, kept = kept.id, "an invoice was made twice");
            self.change_invoice(twin.id, ("status", "Cancelled")).await?;
        }
        if kept.status == InvoiceStatus::Draft {
            self.change_invoice(kept.id, ("publish", "1")).await?;
        }
        Ok(kept.id)
    }

    /// Gives a customer credit unless he has had it.
    ///
    /// # Errors
    /// `NotFound` if the customer has no client, `Refused` if WHMCS cannot give it; `Pending`,
    /// `Unavailable`.
    pub async fn give_credit(
        &self,
        customer: CustomerId,
        (key, why): (&str, &str),
        amount: Money,
    ) -> Result<(), Error> {
        let client = self.memory.links.find_client(customer).await.map_err(Error::unavailable)?;
        let client = client.ok_or(Error::NotFound)?;
        if amount.is_negative() || text_of(amount.nanos()).is_none() {
            return refused("the billing system gives credit in whole hundredths");
        }
        let _turn = self.turns.hold(client).await?;
        if self.currency_of(client).await? != amount.currency() {
            return refused("the billing system bills this customer in another currency");
        }
        self.give_once(client, &format!("{why} [{key}]"), amount.nanos()).await
    }

    /// Descriptions and amounts as WHMCS takes them.
    async fn check_lines(
        &self,
        client: i64,
        invoice: &UsageInvoice,
    ) -> Result<Vec<(String, String)>, Error> {
        let currency = self.currency_of(client).await?;
        if invoice.key.contains(['\n', '\r']) || invoice.lines.is_empty() {
            return refused("an invoice has a key without line breaks, and a line");
        }
        let mut lines = Vec::new();
        for (description, amount) in &invoice.lines {
            if amount.currency() != currency {
                return refused("the billing system bills this customer in another currency");
            }
            let Some(amount) = text_of(amount.nanos()) else {
                return refused("the billing system invoices whole hundredths");
            };
            lines.push((description.clone(), amount));
        }
        Ok(lines)
    }

    /// A client's invoices with this line in their notes, in the order of their ids.
    async fn invoices_noted(&self, client: i64, line: &str) -> Result<Vec<InvoiceRow>, Error> {
        let id = client.to_string();
        let filter = [("userid", id.as_str()), ("orderby", "id"), ("order", "desc")];
        let (mut found, mut start) = (Vec::new(), 0);
        for _ in 0..PAGES_MAX {
            let page = self.api.invoices(&filter, start, PAGE).await?;
            let count = page.rows.len();
            start += count;
            let is_noted = |row: &InvoiceRow| row.notes.lines().any(|own| own.trim() == line);
            found.extend(page.rows.into_iter().filter(|row| row.client == client && is_noted(row)));
            if count == 0 || start >= page.total {
                found.sort_unstable_by_key(|row| row.id);
                found.dedup_by_key(|row| row.id);
                return Ok(found);
            }
        }
        Err(Error::unavailable("a client has too many invoices to look through"))
    }

    async fn draft(
        &self,
        client: i64,
        (notes, lines): (&str, &[(String, String)]),
        due: Date,
    ) -> Result<(), Error> {
        let form = format_description!("[year]-[month]-[day]");
        let day = |date: Date| date.format(form).map_err(Error::unavailable);
        let (date, due) = (day(self.clock.now().date())?, day(due)?);
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
            ("notes".to_owned(), notes),
        ];
        for (n, (description, amount)) in (1..).zip(lines) {
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
