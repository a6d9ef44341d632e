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
mod error;
mod invoice;
mod links;
mod order;

use async_trait::async_trait;
use time::OffsetDateTime;

pub use error::{BoxError, Error};
pub use invoice::{Invoice, InvoiceListing, InvoiceState, OverdueListing, Payment, PaymentRefusal};
pub use links::{CustomerLinks, SpentKeys};
pub use order::{NewOrder, OrderKey, OrderRef, Period, PlacedOrder};

/// A billing provider, as the billing role sees it.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// What subscriptions say they are billed by: `ledger`. Never changes, since it is stored.
    fn name(&self) -> &'static str;

    /// Places an order, not yet accepted: nothing is charged. A repeat answers the same ids.
    ///
    /// # Errors
    /// `Undone` if the key is spent, `Refused` if the provider will not have the order;
    /// `Pending`, `Unavailable`.
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
}
