//! Invoices of our services and of our own, as WHMCS has them.
//!
//! Lists of WHMCS have no lines, and no cursor but a number of rows to skip. So each invoice is
//! read by itself, and where a page begins is searched by halves: lists are in the order of ids.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_provider::{Error, Invoice, InvoiceListing, InvoiceState, OverdueListing};
use stowage_types::Money;
use time::{Date, OffsetDateTime, Time};

use crate::fault::{Fault, unread};
use crate::wire::{self, InvoiceRow, InvoiceStatus, ServiceState};
use crate::{Whmcs, domain, issuing};

/// Rows of a page.
const PAGE: usize = 100;
/// Rows that are looked at for one call, at most.
const ROWS_MAX: usize = 100_000;
/// Invoices that are read at once.
const AT_ONCE: usize = 4;

/// Which invoices are being looked for.
struct Search<'s> {
    filter: &'s [(&'s str, &'s str)],
    state: Option<InvoiceState>,
    before: Option<i64>,
    max: usize,
    /// Invoices of orders that nobody has accepted yet.
    drafts: &'s HashSet<i64>,
}

impl Whmcs {
    pub(crate) async fn find(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let found = stream::iter(ids).map(|id| self.find_one(id)).buffered(AT_ONCE);
        let found: Vec<_> = found.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// An invoice, if it is there and of a customer of ours.
    pub(crate) async fn find_one(&self, id: i64) -> Result<Option<Invoice>, Error> {
        let Some(invoice) = self.api.invoice(id).await.map_err(unread)? else { return Ok(None) };
        let is_draft = match service_of(&invoice) {
            Some(service) if invoice.status == InvoiceStatus::Owed => {
                let service = self.api.service(service).await.map_err(unread)?;
                service.is_some_and(|service| service.state == ServiceState::Pending)
            }
            _ => false,
        };
        self.told(invoice, is_draft).await
    }

    pub(crate) async fn list(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        let client = match listing.customer {
            None => None,
            Some(customer) => {
                let linked = self.memory.links.find_client(customer).await;
                match linked.map_err(Error::unavailable)? {
                    Some(client) => Some(client),
                    None => return Ok(Vec::new()),
                }
            }
        };
        let drafts = self.api.pending_orders(client).await.map_err(unread)?;
        let drafts = drafts.into_iter().map(|order| order.invoice).collect();
        let client = client.map(|id| id.to_string());
        let max = usize::try_from(listing.max).unwrap_or(0);
        let mut all = Vec::new();
        for status in statuses(listing.state) {
            let mut filter = vec![("orderby", "id"), ("order", "desc")];
            filter.extend(client.as_deref().map(|id| ("userid", id)));
            filter.extend(status.map(|status| ("status", status)));
            let (state, before) = (listing.state, listing.before);
            let search = Search { filter: &filter, state, before, max, drafts: &drafts };
            all.extend(self.search(&search).await?);
        }
        all.sort_unstable_by_key(|invoice| std::cmp::Reverse(invoice.id));
        all.truncate(max);
        Ok(all)
    }

    /// Those of one list, newest first.
    async fn search(&self, search: &Search<'_>) -> Result<Vec<Invoice>, Error> {
        let mut found = Vec::new();
        let mut start = self.first_before(search).await.map_err(unread)?;
        let end = start + ROWS_MAX;
        while found.len() < search.max && start < end {
            let page = self.api.invoices(search.filter, start, PAGE).await.map_err(unread)?;
            if page.rows.is_empty() {
                break;
            }
            start += page.rows.len();
            // New invoices push the others on while the list is read.
            let wanted = page.rows.into_iter().filter(|row| {
                search.before.is_none_or(|before| row.id < before)
                    && search.state.is_none_or(|state| state_of(row, search.drafts) == state)
            });
            self.read_rows(wanted.collect(), search, &mut found).await?;
        }
        found.dedup_by_key(|invoice| invoice.id);
        Ok(found)
    }

    /// Reads the invoices of rows until there are enough.
    async fn read_rows(
        &self,
        rows: Vec<InvoiceRow>,
        search: &Search<'_>,
        found: &mut Vec<Invoice>,
    ) -> Result<(), Error> {
        let read = stream::iter(rows).map(|row| self.read_row(row, search.drafts));
        let mut read = read.buffered(AT_ONCE);
        while found.len() < search.max {
            match read.next().await {
                None => break,
                Some(invoice) => found.extend(invoice?),
            }
        }
        Ok(())
    }

    async fn read_row(
        &self,
        row: InvoiceRow,
        drafts: &HashSet<i64>,
    ) -> Result<Option<Invoice>, Error> {
        let found = self.api.invoice(row.id).await.map_err(unread)?;
        let Some(mut invoice) = found else { return Ok(None) };
        invoice.end_time = invoice.end_time.or(row.end_time);
        let is_draft = drafts.contains(&row.id);
        self.told(invoice, is_draft).await
    }

    /// How many rows there are before the first whose id is low enough.
    async fn first_before(&self, search: &Search<'_>) -> Result<usize, Fault> {
        let Some(before) = search.before else { return Ok(0) };
        let first = self.api.invoices(search.filter, 0, 1).await?;
        let (mut low, mut high) = (0, first.total);
        while low < high {
            let middle = low + (high - low) / 2;
            let page = self.api.invoices(search.filter, middle, 1).await?;
            match page.rows.first() {
                Some(row) if row.id >= before => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The rows that are due come first, so the list is not read to its end.
    pub(crate) async fn overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        let drafts = self.api.pending_orders(None).await.map_err(unread)?;
        let drafts: HashSet<i64> = drafts.into_iter().map(|order| order.invoice).collect();
        let mut ids = Vec::new();
        for status in statuses(Some(InvoiceState::Open)).into_iter().flatten() {
            let filter = [("status", status), ("orderby", "duedate"), ("order", "asc")];
            let mut start = 0;
            while start < ROWS_MAX {
                let page = self.api.invoices(&filter, start, PAGE).await.map_err(unread)?;
                let count = page.rows.len();
                start += count;
                let is_due =
                    |row: &&InvoiceRow| row.due.is_some_and(|due| end_of(due) < listing.due_before);
                let due: Vec<_> = page.rows.iter().filter(is_due).collect();
                let is_wanted = |row: &&&InvoiceRow| {
                    row.id > listing.after && state_of(row, &drafts) == InvoiceState::Open
                };
                ids.extend(due.iter().filter(is_wanted).map(|row| row.id));
                if due.len() < count || count == 0 {
                    break;
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let max = usize::try_from(listing.max).unwrap_or(0);
        let read = stream::iter(ids).map(|id| self.find_one(id));
        let mut read = read.buffered(AT_ONCE);
        let mut found = Vec::new();
        while found.len() < max {
            match read.next().await {
                None => break,
                // It may have been paid since its row was read.
                Some(invoice) => {
                    found.extend(invoice?.filter(|own| own.state == InvoiceState::Open));
                }
            }
        }
        Ok(found)
    }

    /// An invoice as it is told; `None`: it is not of a customer of ours, or not ours.
    async fn told(&self, invoice: wire::Invoice, is_draft: bool) -> Result<Option<Invoice>, Error> {
        let customer = self.memory.links.find_customer(invoice.client).await;
        let Some(customer) = customer.map_err(Error::unavailable)? else { return Ok(None) };
        let Some(service_id) = self.service_of_ours(&invoice).await? else { return Ok(None) };
        let currency = self.currency_of(invoice.client).await.map_err(unread)?;
        let state = match invoice.status {
            InvoiceStatus::Owed if is_draft => InvoiceState::Draft,
            InvoiceStatus::Draft => InvoiceState::Draft,
            InvoiceStatus::Owed => InvoiceState::Open,
            InvoiceStatus::Paid => InvoiceState::Paid,
            InvoiceStatus::Gone => InvoiceState::Void,
        };
        let total = invoice.total.max(0);
        let paid = if state == InvoiceState::Paid { total } else { total - invoice.balance };
        let create_time = invoice.date.map_or(OffsetDateTime::UNIX_EPOCH, start_of);
        let is_issued = state != InvoiceState::Draft;
        let title = invoice.items.first().map(|item| title_of(&item.description));
        Ok(Some(Invoice {
            id: invoice.id,
            customer,
            service_id,
            title: title.unwrap_or_default(),
            state,
            total: Money::from_nanos(total, currency),
            paid: Money::from_nanos(paid.clamp(0, total), currency),
            create_time,
            issue_time: is_issued.then_some(create_time),
            due_time: invoice.due.filter(|_| is_issued).map(end_of),
            settle_time: match state {
                InvoiceState::Paid => invoice.paid_time,
                InvoiceState::Void => invoice.end_time,
                InvoiceState::Draft | InvoiceState::Open => None,
            },
        }))
    }

    /// The service of ours that an invoice is for. Clients may have others of the provider's.
    async fn service_of_ours(&self, invoice: &wire::Invoice) -> Result<Option<i64>, Error> {
        if let Some(service) = issuing::service_in(&invoice.notes) {
            return Ok(Some(service));
        }
        let services = invoice.items.iter().filter(|item| is_service(item));
        for item in services {
            if domain::names_one(&item.description) {
                return Ok(Some(item.related));
            }
            // What is printed may have been changed by hand.
            let service = self.api.service(item.related).await.map_err(unread)?;
            if service.is_some_and(|service| domain::names_one(&service.domain)) {
                return Ok(Some(item.related));
            }
        }
        Ok(None)
    }
}

fn is_service(item: &wire::Item) -> bool {
    item.kind == "Hosting" && item.related > 0
}

fn service_of(invoice: &wire::Invoice) -> Option<i64> {
    invoice.items.iter().find(|item| is_service(item)).map(|item| item.related)
}

/// WHMCS' lists that hold invoices of a state; `None`: the list of all.
fn statuses(state: Option<InvoiceState>) -> Vec<Option<&'static str>> {
    let statuses: &[_] = match state {
        None => return vec![None],
        Some(InvoiceState::Draft) => &["Draft", "Unpaid"],
        Some(InvoiceState::Open) => &["Unpaid", "Payment Pending", "Collections"],
        Some(InvoiceState::Paid) => &["Paid"],
        Some(InvoiceState::Void) => &["Cancelled", "Refunded"],
    };
    statuses.iter().copied().map(Some).collect()
}

fn state_of(row: &InvoiceRow, drafts: &HashSet<i64>) -> InvoiceState {
    match row.status {
        InvoiceStatus::Owed if drafts.contains(&row.id) => InvoiceState::Draft,
        InvoiceStatus::Draft => InvoiceState::Draft,
        InvoiceStatus::Owed => InvoiceState::Open,
        InvoiceStatus::Paid => InvoiceState::Paid,
        InvoiceStatus::Gone => InvoiceState::Void,
    }
}

fn start_of(day: Date) -> OffsetDateTime {
    day.midnight().assume_utc()
}

/// Until the end of a day: what is due on it is not late on it.
fn end_of(day: Date) -> OffsetDateTime {
    let last = Time::from_hms(23, 59, 59).unwrap_or(Time::MIDNIGHT);
    day.with_time(last).assume_utc()
}

/// What was sold, without the domain that WHMCS prints behind it.
fn title_of(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    match line.find(" - ").filter(|_| domain::names_one(line)) {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_what_was_sold() {
        for (text, expected) in [
            ("Standard - 0190.s3.invalid (2026-01-31)", "Standard"),
            ("Standard - large (2026)\nmore", "Standard - large (2026)"),
            ("", ""),
        ] {
            assert_eq!(title_of(text), expected);
        }
    }
}
