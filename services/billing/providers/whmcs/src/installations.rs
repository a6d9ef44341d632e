//! Several installations of WHMCS as one provider: each bills the locations it is named for.
//!
//! Ids are unique in one installation only. Outside they are told with the number of theirs in
//! front: invoice 7 of installation 2 is 2,000,000,000,007. The first installation is number 0, so
//! an installation that has always been the only one keeps its ids when others come.
//!
//! An order stays with the installation it was placed at, also when its location is given to
//! another one: billing keeps its name, and sends it along.

use std::sync::Arc;

use async_trait::async_trait;
use stowage_provider::signed::{Disbelief, SignedMessage};
use stowage_provider::{
    BooksPart, ById, Client, CreditNote, Error, Hint, Invoice, InvoiceListing, KeyedInvoice,
    NewCredit, NewInvoice, NewOrder, OrderRef, OverdueListing, Part, Payment, PaymentTerms,
    PlacedOrder, Provider, Service, Standing,
};
use stowage_types::{CustomerId, Money, PlanId};
use time::OffsetDateTime;

use crate::{NAME, OpenError};

/// Ids of one installation are below this. They, and those that are told, fit a number of JSON.
const IDS: i64 = 1_000_000_000_000;
/// Greatest number of an installation.
pub const NUMBER_MAX: i64 = 999;
/// Longest name of an installation, in characters.
const NAME_CHARS_MAX: usize = 32;

/// One of several installations.
#[derive(Debug)]
pub struct Installation {
    /// What subscriptions say they are billed by: 1 to 32 of a-z, 0-9 and hyphen. Never changes.
    /// Empty for the first, which says [`NAME`].
    pub name: String,
    /// 0 for the first, and 1 to [`NUMBER_MAX`]. Never changes: ids are told with it.
    pub number: i64,
    /// Codes of the locations it bills. The first bills all that no other does.
    pub locations: Vec<String>,
    /// How it is asked.
    pub provider: Arc<dyn Provider>,
}

/// Installations of WHMCS that bill different locations.
#[derive(Debug)]
pub struct Installations(Vec<Installation>);

impl Installations {
    /// Takes the first installation, with the empty name and the number 0, and others.
    ///
    /// # Errors
    /// Two have one name, number or location, or one has none that can be.
    pub fn new(mut all: Vec<Installation>) -> Result<Self, OpenError> {
        all.sort_by_key(|one| one.number);
        let fault = |why: String| Err(OpenError(why.into()));
        if !all.first().is_some_and(|first| first.number == 0 && first.name.is_empty()) {
            return fault("there must be a first installation".to_owned());
        }
        for (index, one) in all.iter().enumerate() {
            let (name, before) = (&one.name, &all[..index]);
            if index > 0 && !is_name(name) {
                return fault(format!(
                    "{name:?} is no name of an installation (1 to 32 of a-z, 0-9 and hyphen, not \
                     {NAME:?})"
                ));
            }
            if !(0..=NUMBER_MAX).contains(&one.number) {
                return fault(format!("the number of {name} must be from 1 to {NUMBER_MAX}"));
            }
            if before.iter().any(|other| other.number == one.number) {
                return fault(format!("{name} has the number {} of another", one.number));
            }
            if before.iter().any(|other| other.name == *name) {
                return fault(format!("two are called {name}"));
            }
            let is_taken = |code: &&String| before.iter().any(|one| one.locations.contains(code));
            if let Some(code) = one.locations.iter().find(is_taken) {
                return fault(format!("{name} bills {code}, which another bills too"));
            }
        }
        Ok(Self(all))
    }

    fn named(&self, name: &str) -> Result<&Installation, Error> {
        let found = self.0.iter().find(|one| one.name == name);
        let away = || Error::unavailable(format!("the installation {name:?} is not configured"));
        found.ok_or_else(away)
    }

    fn called(&self, name: &str) -> Result<&Installation, Error> {
        self.0.iter().find(|one| one.called() == name).ok_or(Error::NotFound)
    }

    fn of_id(&self, id: i64) -> Result<&Installation, Error> {
        let number = id / IDS;
        if !(0..=NUMBER_MAX).contains(&number) {
            return Err(Error::NotFound);
        }
        let found = self.0.iter().find(|one| one.number == number);
        let away = || Error::unavailable(format!("installation number {number} is not configured"));
        found.ok_or_else(away)
    }
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let length = text.len();
    (1..=NAME_CHARS_MAX).contains(&length) && text.chars().all(good) && text != NAME
}

/// An id of an installation's own, from what is told.
fn own_id(id: i64) -> i64 {
    id % IDS
}

impl Installation {
    /// Its name, where the first has one too.
    fn called(&self) -> &str {
        if self.name.is_empty() { NAME } else { &self.name }
    }

    /// What is told of an id; 0 stays so: there is nothing.
    fn told_id(&self, id: i64) -> Result<i64, Error> {
        match id {
            0 => Ok(0),
            1..IDS => Ok(self.number * IDS + id),
            _ => Err(Error::pending(format!("{id} is no id of an installation"))),
        }
    }

    fn told(&self, invoice: Invoice) -> Result<Invoice, Error> {
        let (id, service_id) = (self.told_id(invoice.id)?, self.told_id(invoice.service_id)?);
        Ok(Invoice { id, service_id, ..invoice })
    }

    fn all_told(&self, invoices: Vec<Invoice>) -> Result<Vec<Invoice>, Error> {
        invoices.into_iter().map(|invoice| self.told(invoice)).collect()
    }

    fn told_service(&self, service: Service) -> Result<Service, Error> {
        let service_id = self.told_id(service.service_id)?;
        let order_id = self.told_id(service.order_id)?;
        Ok(Service { service_id, order_id, ..service })
    }

    fn placed(&self, placed: PlacedOrder) -> Result<PlacedOrder, Error> {
        let PlacedOrder { order_id, invoice_id, service_id } = placed;
        Ok(PlacedOrder {
            order_id: self.told_id(order_id)?,
            invoice_id: self.told_id(invoice_id)?,
            service_id: self.told_id(service_id)?,
        })
    }
}

/// An order as its installation knows it.
fn own_order(order: &OrderRef) -> OrderRef {
    let own = |PlacedOrder { order_id, invoice_id, service_id }| PlacedOrder {
        order_id: own_id(order_id),
        invoice_id: own_id(invoice_id),
        service_id: own_id(service_id),
    };
    OrderRef { placed: order.placed.map(own), ..order.clone() }
}

#[async_trait]
impl Provider for Installations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn renews(&self) -> bool {
        true
    }

    fn installations(&self) -> Vec<String> {
        self.0.iter().map(|one| one.called().to_owned()).collect()
    }

    fn installation_at(&self, location: &str) -> &str {
        let bills = |one: &&Installation| one.locations.iter().any(|code| code == location);
        self.0.iter().find(bills).map_or("", |one| one.name.as_str())
    }

    async fn check_order(
        &self,
        installation: &str,
        customer: CustomerId,
        price: Money,
    ) -> Result<(), Error> {
        self.named(installation)?.provider.check_order("", customer, price).await
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        let with = self.named(&order.installation)?;
        with.placed(with.provider.place_order(order).await?)
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        self.named(&order.installation)?.provider.activate(&own_order(order)).await
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        self.named(&order.installation)?.provider.undo_order(&own_order(order)).await
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        self.named(&order.installation)?.provider.terminate(&own_order(order)).await
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        self.named(&order.installation)?.provider.mirror_end(&own_order(order), end).await
    }

    async fn mirror_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error> {
        let with = self.named(&order.installation)?;
        with.provider.mirror_plan(&own_order(order), plan, period_price).await
    }

    // Billing issues what is of one installation at once.
    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        let mut ids = Vec::with_capacity(invoices.len());
        for same in invoices.chunk_by(|one, next| one.order.installation == next.order.installation)
        {
            let with = self.named(&same[0].order.installation)?;
            let own = |invoice: &NewInvoice| {
                let order = own_order(&invoice.order);
                NewInvoice { order, ..invoice.clone() }
            };
            let own: Vec<_> = same.iter().map(own).collect();
            for id in with.provider.issue_invoices(&own).await? {
                ids.push(with.told_id(id)?);
            }
        }
        Ok(ids)
    }

    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error> {
        for same in credits.chunk_by(|one, next| one.installation == next.installation) {
            self.named(&same[0].installation)?.provider.grant_credits(same).await?;
        }
        Ok(())
    }

    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error> {
        self.named(&credit.installation)?.provider.record_credit(credit).await
    }

    async fn issue_credit_note(&self, note: &CreditNote) -> Result<Invoice, Error> {
        let with = self.of_id(note.invoice_id)?;
        let own = CreditNote { invoice_id: own_id(note.invoice_id), ..note.clone() };
        with.told(with.provider.issue_credit_note(&own).await?)
    }

    /// Credit at any of them; what there is at one pays nothing at another.
    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        let mut all: Option<Standing> = None;
        for one in &self.0 {
            let found = one.provider.find_standing(customer).await?;
            match &mut all {
                None => all = Some(found),
                Some(all) => add_credits(all, found),
            }
        }
        all.ok_or_else(|| Error::unavailable("no installation is configured"))
    }

    async fn set_payment_terms(
        &self,
        customer: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error> {
        for one in &self.0 {
            one.provider.set_payment_terms(customer, terms).await?;
        }
        Ok(())
    }

    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let mut all = Vec::with_capacity(ids.len());
        for same in ids.chunk_by(|one, next| one / IDS == next / IDS) {
            let with = match self.of_id(same[0]) {
                Err(Error::NotFound) => continue,
                found => found?,
            };
            let own: Vec<_> = same.iter().map(|id| own_id(*id)).collect();
            all.extend(with.all_told(with.provider.find_invoices(&own).await?)?);
        }
        Ok(all)
    }

    /// Those of the installation with the highest number first.
    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        let before = listing.before.unwrap_or(i64::MAX);
        let mut all: Vec<Invoice> = Vec::new();
        for one in self.0.iter().rev().filter(|one| one.number <= before / IDS) {
            let left = listing.max - i64::try_from(all.len()).unwrap_or(listing.max);
            if left <= 0 {
                break;
            }
            let before = (one.number == before / IDS).then_some(own_id(before));
            let own = InvoiceListing { before, max: left, ..listing };
            all.extend(one.all_told(one.provider.list_invoices(own).await?)?);
        }
        Ok(all)
    }

    /// One that is away is passed over: its invoices are found overdue when it is back.
    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        let mut all: Vec<Invoice> = Vec::new();
        for one in self.0.iter().filter(|one| one.number >= listing.after / IDS) {
            let left = listing.max - i64::try_from(all.len()).unwrap_or(listing.max);
            if left <= 0 {
                break;
            }
            let after = if one.number == listing.after / IDS { own_id(listing.after) } else { 0 };
            let own = OverdueListing { after, max: left, ..listing };
            match one.provider.list_overdue(own).await {
                Err(error) if error.is_transient() && self.0.len() > 1 => {
                    let name = &one.name;
                    tracing::warn!(%error, installation = name, "overdue invoices are not told");
                }
                found => all.extend(one.all_told(found?)?),
            }
        }
        Ok(all)
    }

    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error> {
        let with = self.of_id(payment.invoice_id)?;
        let own = Payment { invoice_id: own_id(payment.invoice_id), ..payment.clone() };
        with.told(with.provider.record_payment(&own).await?)
    }

    fn read_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief> {
        let with = self.called(installation).map_err(|_| Disbelief::NoSecret)?;
        let hint = with.provider.read_message(NAME, message)?;
        // An id that cannot be is none of ours.
        let told = |id: Option<i64>| id.and_then(|id| with.told_id(id).ok());
        Ok(Hint {
            event: hint.event,
            invoice_id: told(hint.invoice_id),
            order_id: told(hint.order_id),
            service_id: told(hint.service_id),
        })
    }

    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        let with = self.named(&order.installation)?;
        let found = with.provider.find_service(&own_order(order)).await?;
        found.map(|service| with.told_service(service)).transpose()
    }

    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error> {
        let with = self.called(installation)?;
        let own = ById { after: own_id(by.after), ..by };
        let Part { rows, through } = with.provider.list_services(NAME, own).await?;
        let rows = rows.into_iter().map(|row| with.told_service(row)).collect::<Result<_, _>>()?;
        Ok(Part { rows, through: through.map(|id| with.told_id(id)).transpose()? })
    }

    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        let with = self.called(installation)?;
        let own = ById { after: own_id(by.after), ..by };
        let Part { rows, through } = with.provider.list_keyed_invoices(NAME, own).await?;
        let told = |row: KeyedInvoice| {
            let id = with.told_id(row.id)?;
            Ok(KeyedInvoice { id, ..row })
        };
        let rows = rows.into_iter().map(told).collect::<Result<_, Error>>()?;
        Ok(Part { rows, through: through.map(|id| with.told_id(id)).transpose()? })
    }

    async fn find_client(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error> {
        self.called(installation)?.provider.find_client(NAME, client_id).await
    }

    async fn check_books(&self, installation: &str, from: &str) -> Result<BooksPart, Error> {
        self.called(installation)?.provider.check_books(NAME, from).await
    }
}

/// Adds the credit of one standing to that of another, currency by currency.
fn add_credits(all: &mut Standing, more: Standing) {
    for credit in more.credits {
        let same =
            |one: &&mut stowage_provider::Credit| one.usable.currency() == credit.usable.currency();
        match all.credits.iter_mut().find(same) {
            Some(known) => {
                let sum = |one: Money, more: Money| {
                    Money::from_nanos(one.nanos() + more.nanos(), one.currency())
                };
                known.usable = sum(known.usable, credit.usable);
                known.held = sum(known.held, credit.held);
            }
            None => all.credits.push(credit),
        }
    }
    all.credits.sort_by_key(|credit| credit.usable.currency().to_string());
}
