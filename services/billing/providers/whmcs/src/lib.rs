//! WHMCS as a billing provider, by its remote API.
//!
//! WHMCS has no key by which a repeated call is known, so every call that changes something is
//! preceded by a look for what an earlier one has done:
//! - an order is found by its **domain**, `<key>.s3.invalid` ([`domain`](domain.rs)); it is placed
//!   only if there is none, by one at a time for each client, and if there are two all the same
//!   (a proxy that repeats) the younger is cancelled;
//! - a payment is found by its reference, an invoice of ours by its notes, credit by its text;
//! - what has no clear answer is `Pending`, and the repeat looks.
//!
//! All state is in WHMCS, but for three things: which client a customer is ([`CustomerLinks`]),
//! which keys were undone before their order was seen ([`SpentKeys`]), and a memory of clients'
//! currencies, which never change.
//!
//! An order's invoice is WHMCS' own and `Unpaid` from the beginning. It is told as a draft while
//! the order is not accepted. What an undo finds paid is given back as credit.
//!
//! PHP may go on with a call that was given up, so an order is not placed again for as long as a
//! call may take ([`attempts`](attempts.rs)). One that arrives even later, or after its undo, is
//! cancelled by whoever sees it: a repeat of the order or of the undo, or its acceptance.
//!
//! Rejected: making every invoice a draft (WHMCS says nowhere that an unpaid one may become one),
//! cancellation requests for planned ends (no action takes one back), billable items (no action
//! lists them, so a lost answer is never settled).

#![deny(clippy::float_arithmetic)]

mod amount;
mod api;
mod attempts;
mod breaker;
mod credit;
mod customers;
mod domain;
mod ending;
mod fault;
mod hook;
mod installations;
mod invoices;
mod issuing;
mod listing;
mod loose;
mod net;
mod options;
mod orders;
mod pace;
mod payments;
mod turns;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stowage_provider::signed::{Disbelief, SignedMessage, Verifier};
use stowage_provider::{
    BooksPart, BoxError, ById, Client, CreditNote, CustomerLinks, Error, Hint, Invoice,
    InvoiceListing, KeyedInvoice, NewCredit, NewInvoice, NewOrder, OrderRef, OverdueListing, Part,
    Payment, PaymentRefusal, PaymentTerms, PlacedOrder, Provider, Service, SpentKeys, Standing,
};
use stowage_types::{Clock, Currency, CustomerId, Money, PlanId, Random};
use time::OffsetDateTime;

pub use installations::{Installation, Installations, NUMBER_MAX};
pub use options::{Ending, Product, WhmcsOptions};

/// What subscriptions billed by WHMCS say in `provider`.
pub const NAME: &str = "whmcs";

/// Why an installation cannot be used. Nothing was asked of it yet.
#[derive(Debug, thiserror::Error)]
#[error("WHMCS cannot be used: {0}")]
pub struct OpenError(#[source] BoxError);

/// What the adapter has WHMCS not remember.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Which client a customer is.
    pub links: Arc<dyn CustomerLinks>,
    /// Which keys were undone.
    pub keys: Arc<dyn SpentKeys>,
}

/// An installation of WHMCS.
#[derive(Debug)]
pub struct Whmcs {
    api: api::Api,
    options: WhmcsOptions,
    memory: Memory,
    turns: turns::Turns,
    attempts: attempts::Attempts,
    currencies: Mutex<HashMap<i64, Currency>>,
    /// Of messages that the installation sends.
    verifier: Option<Verifier>,
    last_service: listing::LastEnd,
    last_invoice: listing::LastEnd,
    clock: Arc<dyn Clock>,
}

impl Whmcs {
    /// A provider that asks WHMCS when it is asked. Nothing is sent yet.
    ///
    /// # Errors
    /// The options have faults, or the certificates of authorities cannot be read.
    pub fn new(
        options: WhmcsOptions,
        memory: Memory,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let api = api::Api::new(&options, random).map_err(OpenError)?;
        let turns = turns::Turns::new(options.calls_max);
        let attempts = attempts::Attempts::default();
        let currencies = Mutex::default();
        let secret = options.hook_secret.as_ref();
        let verifier = secret.and_then(|secret| Verifier::new(secret, Arc::clone(&clock)));
        Ok(Self {
            api,
            options,
            memory,
            turns,
            attempts,
            currencies,
            verifier,
            last_service: listing::LastEnd::default(),
            last_invoice: listing::LastEnd::default(),
            clock,
        })
    }
}

#[async_trait]
impl Provider for Whmcs {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn check_order(&self, _: &str, customer: CustomerId, price: Money) -> Result<(), Error> {
        self.check(customer, price).await
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        self.place(order).await
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        self.accept(order).await
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        self.undo(order).await
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        self.end(order).await
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        self.mirror(order, end).await
    }

    async fn mirror_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error> {
        self.change_plan(order, plan, period_price).await
    }

    fn renews(&self) -> bool {
        true
    }

    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        self.issue(invoices).await
    }

    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error> {
        self.grant(credits).await
    }

    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error> {
        self.take_in(credit).await
    }

    async fn issue_credit_note(&self, _: &CreditNote) -> Result<Invoice, Error> {
        // No action makes one, and what is lost of an invoice that is changed cannot be told.
        let why = "credit notes of invoices in WHMCS are made in WHMCS";
        Err(PaymentRefusal::Other { why }.into())
    }

    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        self.standing(customer).await
    }

    async fn set_payment_terms(&self, _: CustomerId, _: Option<PaymentTerms>) -> Result<(), Error> {
        let why = "how a customer pays is kept in WHMCS".to_owned();
        Err(Error::Refused { why })
    }

    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        self.find(ids).await
    }

    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        self.list(listing).await
    }

    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        self.overdue(listing).await
    }

    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error> {
        self.pay(payment).await
    }

    fn installations(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn read_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief> {
        self.read(installation, message)
    }

    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        self.look_at(order).await
    }

    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error> {
        self.list_ours(installation, by).await
    }

    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        self.list_keyed(installation, by).await
    }

    async fn find_client(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error> {
        self.look_up(installation, client_id).await
    }

    async fn check_books(&self, _: &str, _: &str) -> Result<BooksPart, Error> {
        // WHMCS keeps them.
        Ok(BooksPart { faults: Vec::new(), looked_at: 0, next: None })
    }
}
