//! What there is of our orders and invoices, for whoever compares.
//!
//! Lists of WHMCS have no cursor but a number of rows to skip, and are in the order of ids: where a
//! part begins is searched by halves, unless it is where the part before has ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use stowage_provider::{
    ById, Client, Error, KeyedInvoice, OrderRef, Part, PlannedEnd, Service, ServiceState,
};
use stowage_types::PlanId;
use time::{Date, OffsetDateTime};

use crate::fault::{Fault, unread};
use crate::wire::{self, InvoiceRow, InvoiceStatus, Page, ServiceRow};
use crate::{NAME, Whmcs, domain, issuing};

/// Rows of a page.
const PAGE: usize = 100;
/// The order that the list of invoices is asked for; that of services has no other.
const BY_ID: &[(&str, &str)] = &[("orderby", "id"), ("order", "asc")];

/// A row of a list that goes by ids.
trait Numbered {
    fn id(&self) -> i64;
}

impl Numbered for ServiceRow {
    fn id(&self) -> i64 {
        self.id
    }
}

impl Numbered for InvoiceRow {
    fn id(&self) -> i64 {
        self.id
    }
}

/// Where the last part of a list has ended: its last id, and how many rows there were up to it. A
/// guess, to be looked at before it is believed.
#[derive(Debug, Default)]
pub(crate) struct LastEnd(Mutex<Option<(i64, usize)>>);

impl LastEnd {
    fn of(&self, id: i64) -> Option<usize> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.filter(|(last, _)| *last == id).map(|(_, rows)| rows)
    }

    fn set(&self, id: i64, rows: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, rows));
    }
}

/// The rows of a list behind an id, by a function that reads a page: its start and its length.
async fn read_after<R, F>(
    by: ById,
    end: &LastEnd,
    page: impl Fn(usize, usize) -> F,
) -> Result<(Vec<R>, Option<i64>), Fault>
where
    R: Numbered,
    F: Future<Output = Result<Page<R>, Fault>>,
{
    let mut start = match end.of(by.after) {
        Some(rows) if is_end(by.after, rows, &page).await? => rows,
        _ => first_after(by.after, &page).await?,
    };
    let max = usize::try_from(by.max).unwrap_or(0).max(1);
    let mut rows: Vec<R> = Vec::new();
    let mut last = by.after;
    while rows.len() < max {
        let read = page(start, PAGE.min(max - rows.len())).await?;
        if read.rows.is_empty() {
            return Ok((rows, None));
        }
        start += read.rows.len();
        for row in read.rows {
            if row.id() <= last {
                return Err(Fault::lost("a list is not in the order of its ids"));
            }
            last = row.id();
            rows.push(row);
        }
        if start >= read.total {
            return Ok((rows, None));
        }
    }
    end.set(last, start);
    Ok((rows, Some(last)))
}

/// Whether so many rows there are up to an id.
async fn is_end<R, F>(
    id: i64,
    rows: usize,
    page: &impl Fn(usize, usize) -> F,
) -> Result<bool, Fault>
where
    R: Numbered,
    F: Future<Output = Result<Page<R>, Fault>>,
{
    let Some(before) = rows.checked_sub(1) else { return Ok(false) };
    Ok(page(before, 1).await?.rows.first().is_some_and(|row| row.id() == id))
}

/// How many rows there are up to an id.
async fn first_after<R, F>(after: i64, page: &impl Fn(usize, usize) -> F) -> Result<usize, Fault>
where
    R: Numbered,
    F: Future<Output = Result<Page<R>, Fault>>,
{
    if after <= 0 {
        return Ok(0);
    }
    let (mut low, mut high) = (0, page(0, 1).await?.total);
    while low < high {
        let middle = low + (high - low) / 2;
        match page(middle, 1).await?.rows.first() {
            Some(row) if row.id() <= after => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn check(installation: &str) -> Result<(), Error> {
    if installation == NAME { Ok(()) } else { Err(Error::NotFound) }
}

fn start_of(day: Option<Date>) -> OffsetDateTime {
    day.map_or(OffsetDateTime::UNIX_EPOCH, |day| day.midnight().assume_utc())
}

impl Whmcs {
    /// What there is of an order.
    pub(crate) async fn look_at(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        let mut found = self.locate(order).await.map_err(Error::unavailable)?;
        if let (None, Some(placed)) = (&found, order.placed) {
            // Somebody may have moved it to another client.
            let domain = domain::domain_of(&order.key);
            let own = self.api.service(placed.service_id).await.map_err(unread)?;
            found = own.filter(|own| own.domain.eq_ignore_ascii_case(&domain));
        }
        match found {
            Some(found) => self.told_service(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// Services that carry a domain of ours.
    pub(crate) async fn list_ours(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<Service>, Error> {
        check(installation)?;
        let page = |start, length| self.api.service_rows(start, length);
        let (read, through) = read_after(by, &self.last_service, page).await.map_err(unread)?;
        let mut rows = Vec::new();
        for service in read.into_iter().filter_map(|row| row.ours) {
            rows.push(self.told_service(service).await?);
        }
        Ok(Part { rows, through })
    }

    /// Invoices whose notes carry a key of ours.
    pub(crate) async fn list_keyed(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        check(installation)?;
        let page = |start, length| self.api.invoices(BY_ID, start, length);
        let (read, through) = read_after(by, &self.last_invoice, page).await.map_err(unread)?;
        let keyed = |row: InvoiceRow| {
            Some(KeyedInvoice {
                id: row.id,
                key: issuing::key_in(&row.notes)?.to_owned(),
                is_void: row.status == InvoiceStatus::Gone,
                create_time: start_of(row.date),
            })
        };
        Ok(Part { rows: read.into_iter().filter_map(keyed).collect(), through })
    }

    /// A client, whoever is linked to it.
    pub(crate) async fn look_up(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error> {
        check(installation)?;
        let found = self.api.client(("clientid", &client_id.to_string())).await;
        let read = |own: wire::Client| Client {
            id: own.id,
            is_closed: own.is_closed,
            currency: own.currency,
        };
        Ok(found.map_err(unread)?.map(read))
    }

    async fn told_service(&self, own: wire::Service) -> Result<Service, Error> {
        let customer = self.memory.links.find_customer(own.client).await;
        let customer = customer.map_err(Error::unavailable)?;
        Ok(Service {
            service_id: own.id,
            order_id: own.order,
            key: domain::key_of(&own.domain),
            customer,
            state: match own.state {
                wire::ServiceState::Pending => ServiceState::Pending,
                wire::ServiceState::Running => ServiceState::Active,
                wire::ServiceState::Ended => ServiceState::Ended,
            },
            plans: Some(self.plans_of(own.product)),
            // Where orders do not name our price, the product's own counts, whatever it is.
            period_nanos: own.recurring.filter(|_| self.names_prices(own.product)),
            // No action that lists services tells their termination dates.
            end: PlannedEnd::Untold,
            create_time: start_of(own.registered),
        })
    }

    fn plans_of(&self, product: i64) -> Vec<PlanId> {
        let sold = self.options.products.iter().filter(|(_, own)| own.id == product);
        sold.map(|(plan, _)| *plan).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn names_prices(&self, product: i64) -> bool {
        let mut sold = self.options.products.values().filter(|own| own.id == product);
        sold.all(|own| own.overrides_price)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    struct Row(i64);

    impl Numbered for Row {
        fn id(&self) -> i64 {
            self.0
        }
    }

    type Read = Result<(Vec<i64>, Option<i64>), Fault>;

    /// A part, and the calls that it took.
    async fn read(ids: &[i64], end: &LastEnd, (after, max): (i64, i64)) -> (Read, usize) {
        let calls = AtomicUsize::new(0);
        let page = async |start: usize, length: usize| {
            calls.fetch_add(1, Relaxed);
            let rows = ids.iter().skip(start).take(length).copied().map(Row).collect();
            Ok(Page { rows, total: ids.len() })
        };
        let read = read_after(ById { after, max }, end, page).await;
        let read = read.map(|(rows, through)| (rows.iter().map(Row::id).collect(), through));
        (read, calls.into_inner())
    }

    #[tokio::test]
    async fn a_part_goes_on_behind_an_id_whatever_there_is() {
        let mut ids: Vec<i64> = (1..=250).map(|n| n * 2).collect();
        let (end, fresh) = (LastEnd::default(), LastEnd::default);
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let (read, calls) = read(&ids, &end, (after, 37)).await;
            assert!(calls <= 2, "it is known where the part before has ended: {calls}");
            let (rows, through) = read.unwrap();
            all.extend(rows);
            match through {
                Some(through) => after = through,
                None => break,
            }
        }
        assert_eq!(all, ids);
        for (part, expected) in
            [((3, 2), vec![4, 6]), ((500, 5), vec![]), ((498, 5), vec![500]), ((-1, 1), vec![2])]
        {
            assert_eq!(read(&ids, &fresh(), part).await.0.unwrap().0, expected, "{part:?}");
        }
        // Rows went away since.
        let end = LastEnd::default();
        read(&ids, &end, (0, 100)).await.0.unwrap();
        ids.drain(..30);
        assert_eq!(read(&ids, &end, (200, 2)).await.0.unwrap().0, [202, 204]);
        assert_eq!(read(&[], &fresh(), (7, 5)).await.0.unwrap(), (Vec::new(), None));
        assert!(read(&[1, 3, 2], &fresh(), (0, 5)).await.0.is_err(), "it is not guessed at");
    }
}
