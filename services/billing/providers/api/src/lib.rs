//! What the billing role asks of a billing provider: to place an order, accept it, undo it, end
//! it, and to be told of an end that is planned; and what it tells of its invoices.
//!
//! Invariants every provider keeps, checked by [`conformance`]:
//! - every method may be repeated under its order key, also at the same time, and then answers
//!   the same: one key is one order, whatever was lost on the way;
//! - a key that was undone is spent: an order that arrives late is [`Error::Undone`], it never
//!   comes back to life;
//! - an answer that is not understood is [`Error::Pending`], never success.
//!
//! Catalogue, periods and scheduled ends are billing's own; a provider only mirrors them.
//! Rejected: letting the provider decide what a period is (no two billing systems agree), and a
//! request to cancel at the provider for a planned end (some cannot take one back).

#![deny(clippy::float_arithmetic)]

pub mod conformance;
mod credit;
mod error;
mod invoice;
mod links;
mod order;
mod service;

use async_trait::async_trait;
use stowage_types::{CustomerId, Money, PlanId};
use time::OffsetDateTime;

use signed::{Disbelief, SignedMessage};

pub use credit::{Credit, CreditNote, NewCredit, PaymentTerms, Standing};
pub use error::{BoxError, Error};
pub use invoice::{
    Invoice, InvoiceLine, InvoiceListing, InvoiceState, NewInvoice, OverdueListing, Payment,
    PaymentRefusal,
};
pub use links::{CustomerLinks, SpentKeys};
pub use order::{NewOrder, OrderKey, OrderRef, Period, PlacedOrder};
pub use service::{
    BooksPart, ById, Client, Hint, KeyedInvoice, Part, PlannedEnd, Service, ServiceState,
};
pub use stowage_auth::signed;

/// A billing provider, as the billing role sees it.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// What subscriptions say they are billed by: `ledger`. Never changes, since it is stored.
    fn name(&self) -> &'static str;

    /// Which installation bills what is ordered at a location: empty for the only or first one. An
    /// order stays with the one it was placed at.
    fn installation_at(&self, _location: &str) -> &str {
        ""
    }

    /// Says whether an order at this price would be taken by an installation. Writes nothing.
    ///
    /// # Errors
    /// `CreditTooLow`, `Refused`; `Unavailable`.
    async fn check_order(
        &self,
        installation: &str,
        customer: CustomerId,
        price: Money,
    ) -> Result<(), Error>;

    /// Places an order, not yet accepted: nothing is charged. A repeat answers the same ids.
    ///
    /// # Errors
    /// `Undone` if the key is spent, `Refused` or `CreditTooLow` if the provider will not have the
    /// order; `Pending`, `Unavailable`.
    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error>;

    /// Accepts a placed order. An accepted one stays so.
    ///
    /// # Errors
    /// `NotFound` if it was not placed, `Undone` if it was undone or has ended; `Refused`,
    /// `Pending`, `Unavailable`.
    async fn activate(&self, order: &OrderRef) -> Result<(), Error>;

    /// Undoes an order, accepted or not, as if it had not been placed, and spends its key: nothing
    /// is charged. An order that was never placed is no error.
    ///
    /// # Errors
    /// `Pending`, `Unavailable`.
    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error>;

    /// Ends what was ordered now. One that has ended or was undone stays so.
    ///
    /// # Errors
    /// `NotFound` if it was not placed; `Pending`, `Unavailable`.
    async fn terminate(&self, order: &OrderRef) -> Result<(), Error>;

    /// Mirrors the planned end of what was ordered; `None`: no end is planned any more. It informs
    /// the provider's own people and invoices and ends nothing: billing does, when it falls due.
    ///
    /// # Errors
    /// `NotFound` if it was not placed; `Pending`, `Unavailable`.
    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error>;

    /// Tells which plan a service has from now on, and what its periods cost that begin then. What
    /// was charged stays. One that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound` if it was not placed, `Refused` if the provider does not have the plan;
    /// `Pending`, `Unavailable`.
    async fn mirror_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error>;

    /// Whether it charges the price of every period behind the first by itself. Then it is given
    /// invoices of what was used on top only.
    fn renews(&self) -> bool;

    /// Issues invoices, each once under its key, also when calls meet. Answers their ids, in the
    /// order of the keys.
    ///
    /// # Errors
    /// `NotFound` if an order was not placed; `Refused`, `Pending`, `Unavailable`. Some of them may
    /// be issued then.
    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error>;

    /// Gives customers credit, each once under its key.
    ///
    /// # Errors
    /// `Refused`, `Pending`, `Unavailable`. Some of it may be given then.
    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error>;

    /// Books credit that a customer has paid in. The same one again changes nothing.
    ///
    /// # Errors
    /// `Payment` if it is refused; `Pending`, `Unavailable`.
    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error>;

    /// Takes back a part of an invoice, or all of it: less is left to pay, and what was paid above
    /// that becomes credit. The same one again changes nothing.
    ///
    /// # Errors
    /// `NotFound` if there is no such invoice, `Payment` if it is refused; `Pending`,
    /// `Unavailable`.
    async fn issue_credit_note(&self, note: &CreditNote) -> Result<Invoice, Error>;

    /// A customer's credit, and how he pays.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error>;

    /// Sets how a customer pays; `None`: as the installation's others.
    ///
    /// # Errors
    /// `Refused` if the provider keeps that itself; `Pending`, `Unavailable`.
    async fn set_payment_terms(
        &self,
        customer: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error>;

    /// Invoices by id, in the order of their ids; absent ones are left out.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error>;

    /// Invoices, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error>;

    /// Invoices that should have been paid, by id.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error>;

    /// Books a payment. The same one again changes nothing. Answers the invoice after it.
    ///
    /// # Errors
    /// `NotFound` if there is no such invoice, `Payment` if it is refused; `Pending`,
    /// `Unavailable`.
    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error>;

    /// The names of the installations that it bills by; the first has the provider's own name, for
    /// which orders have an empty one. A name never changes, since it is stored.
    fn installations(&self) -> Vec<String>;

    /// Reads a message that an installation's own system has sent, if it is to be believed.
    ///
    /// # Errors
    /// Why it is not: `NoSecret` also of an installation that is not there.
    fn read_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief>;

    /// What there is of an order, whatever state it is in.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error>;

    /// Services of an installation that were ordered by us, in the order of their ids.
    ///
    /// # Errors
    /// `NotFound` if there is no such installation; `Unavailable`.
    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error>;

    /// Invoices of an installation that were issued under keys, withdrawn ones included, in the
    /// order of their ids.
    ///
    /// # Errors
    /// As [`Self::list_services`].
    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error>;

    /// A client of an installation, whom customers are linked to.
    ///
    /// # Errors
    /// `Refused` if customers are not linked to anybody; `NotFound` if there is no such
    /// installation; `Unavailable`.
    async fn find_client(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error>;

    /// Looks whether the provider's own books agree with themselves, from a place on; empty: from
    /// their beginning. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::list_services`].
    async fn check_books(&self, installation: &str, from: &str) -> Result<BooksPart, Error>;
}
