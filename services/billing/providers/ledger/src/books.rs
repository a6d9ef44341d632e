//! Whether the ledger agrees with itself: every entry sums to zero, every balance is what the
//! journal says, and of every invoice as much is open as the journal has to receive.
//!
//! It reads without locks. A row and its entries are one transaction, but the queries that read
//! them are several, so what does not agree is read once more before it is told.

use stowage_provider::{BooksPart, Error};

use crate::store::books::{self, InvoiceSum, Standing};
use crate::{Ledger, away};

/// Entries, and invoices, that are read at once.
const ROWS: i64 = 1000;
/// Customers whose balances are read at once: each may have many entries.
const CUSTOMERS: i64 = 100;

/// A part of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Entries behind this key.
    Entries(String),
    /// Balances of the customers behind this one.
    Balances(i64),
    /// Invoices behind this one.
    Invoices(i64),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Entries(String::new()));
        }
        let (part, rest) = text.split_once(':')?;
        match part {
            "entries" => Some(Self::Entries(rest.to_owned())),
            "balances" => rest.parse().ok().map(Self::Balances),
            "invoices" => rest.parse().ok().map(Self::Invoices),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Entries(key) => format!("entries:{key}"),
            Self::Balances(customer) => format!("balances:{customer}"),
            Self::Invoices(id) => format!("invoices:{id}"),
        }
    }
}

/// A part that was looked at: how much it was, what is wrong, and where to go on.
struct Look {
    looked_at: usize,
    faults: Vec<String>,
    next: Option<Place>,
}

impl Ledger {
    pub(crate) async fn look_at_books(&self, from: &str) -> Result<BooksPart, Error> {
        let place = Place::parse(from).ok_or(Error::NotFound)?;
        let look = self.look(&place).await.map_err(away)?;
        let look = match look.faults.is_empty() {
            true => look,
            false => self.look(&place).await.map_err(away)?,
        };
        let looked_at = i64::try_from(look.looked_at).unwrap_or(i64::MAX);
        let next = look.next.map(|place| place.text());
        Ok(BooksPart { faults: look.faults, looked_at, next })
    }

    async fn look(&self, place: &Place) -> Result<Look, stowage_db::Error> {
        match place {
            Place::Entries(after) => self.look_at_entries(after).await,
            Place::Balances(after) => self.look_at_balances(*after).await,
            Place::Invoices(after) => self.look_at_invoices(*after).await,
        }
    }

    async fn look_at_entries(&self, after: &str) -> Result<Look, stowage_db::Error> {
        let entries = books::entry_sums(&self.db, (after, ROWS)).await?;
        let bad = entries.iter().filter(|entry| entry.sum_nanos != 0 || entry.postings < 2);
        let told = |entry: &books::EntrySum| {
            let (key, sum) = (&entry.entry_key, entry.sum_nanos);
            format!("entry {key} has {} postings that come to {sum} nanos, not 0", entry.postings)
        };
        let faults = bad.map(told).collect();
        let next = match entries.last() {
            Some(last) => Place::Entries(last.entry_key.clone()),
            None => Place::Balances(0),
        };
        Ok(Look { looked_at: entries.len(), faults, next: Some(next) })
    }

    async fn look_at_balances(&self, after: i64) -> Result<Look, stowage_db::Error> {
        let customers = books::customers(&self.db, (after, CUSTOMERS)).await?;
        let standings = books::standings(&self.db, &customers).await?;
        let told = |((customer, currency), standing): (&(i64, String), &Standing)| {
            let Standing { row, journal, holds } = standing;
            let is_good = row == journal && *holds == row.1;
            (!is_good).then(|| {
                format!(
                    "customer {customer} has {} and {} held nanos of {currency}, the journal says \
                     {} and {}, his pending holds {holds}",
                    row.0, row.1, journal.0, journal.1
                )
            })
        };
        let faults = standings.iter().filter_map(told).collect();
        let next = customers.last().map_or(Place::Invoices(0), |last| Place::Balances(*last));
        Ok(Look { looked_at: customers.len(), faults, next: Some(next) })
    }

    async fn look_at_invoices(&self, after: i64) -> Result<Look, stowage_db::Error> {
        let invoices = books::invoice_sums(&self.db, (after, ROWS)).await?;
        let told = |invoice: &InvoiceSum| {
            let InvoiceSum { invoice_id, state, amount_nanos, paid_nanos, receivable_nanos } =
                invoice;
            let left = if state == "open" { amount_nanos - paid_nanos } else { 0 };
            (left != *receivable_nanos).then(|| {
                format!(
                    "invoice {invoice_id} is {state} with {left} nanos left to pay, the journal \
                     says {receivable_nanos}"
                )
            })
        };
        let faults = invoices.iter().filter_map(told).collect();
        let next = invoices.last().map(|last| Place::Invoices(last.invoice_id));
        Ok(Look { looked_at: invoices.len(), faults, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_goes_on_where_it_was() {
        for place in [
            Place::Entries(String::new()),
            Place::Entries("credit/BANK:1".to_owned()),
            Place::Balances(7),
            Place::Invoices(0),
        ] {
            assert_eq!(Place::parse(&place.text()), Some(place));
        }
        assert_eq!(Place::parse(""), Some(Place::Entries(String::new())));
        assert_eq!(Place::parse("orders:1"), None);
        assert_eq!(Place::parse("balances:x"), None);
    }
}
