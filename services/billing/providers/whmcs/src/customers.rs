//! Which client a customer is, and in what he pays.

use std::sync::PoisonError;

use stowage_provider::{Error, OrderRef};
use stowage_types::{Currency, CustomerId, ExposeSecret as _, Money};

use crate::Whmcs;
use crate::amount::text_of;
use crate::fault::{Fault, unread};
use crate::wire::Client;

/// Clients whose currency is remembered.
const REMEMBERED_MAX: usize = 10_000;

/// An order whose client is linked to somebody else.
const ANOTHERS: &str = "the client with this customer's mail address belongs to another customer: \
    an administrator must link the customer to its own";
/// An amount that WHMCS cannot hold.
pub(crate) const TOO_FINE: &str = "the billing system has no amounts of more than two decimals";

/// Its client is closed, or gone.
const CLOSED: &str = "this customer's client in the billing system is closed: it must be opened \
    there, or an administrator must link the customer to another";

/// A client pays in one currency, for ever.
pub(crate) fn check_currency(own: Currency, asked: Money) -> Result<(), Error> {
    if own == asked.currency() {
        return Ok(());
    }
    let asked = asked.currency();
    let why = format!("the billing system bills this customer in {own}, not in {asked}");
    Err(Error::Refused { why })
}

fn refused<T>(why: &str) -> Result<T, Error> {
    Err(Error::Refused { why: why.to_owned() })
}

impl Whmcs {
    /// The client of a customer. One that is not linked is found by its address of mail, which must
    /// be that of one client, who is nobody else's; from then on it is linked.
    pub(crate) async fn client_of(&self, customer: CustomerId) -> Result<i64, Error> {
        let links = &self.memory.links;
        if let Some(client) = links.find_client(customer).await.map_err(Error::unavailable)? {
            return Ok(client);
        }
        let client = self.find_by_mail(customer).await?;
        if !links.link(customer, client.id).await.map_err(Error::unavailable)? {
            // A call beside this one may have linked them.
            let linked = links.find_client(customer).await.map_err(Error::unavailable)?;
            if linked != Some(client.id) {
                return refused(ANOTHERS);
            }
        }
        self.remember(client.id, client.currency);
        Ok(client.id)
    }

    /// Whether an order at this price would be taken; nobody is linked.
    pub(crate) async fn check(&self, customer: CustomerId, price: Money) -> Result<(), Error> {
        if text_of(price.nanos()).is_none() {
            return refused(TOO_FINE);
        }
        let links = &self.memory.links;
        let linked = links.find_client(customer).await.map_err(Error::unavailable)?;
        let own = match linked {
            // It is asked, though its currency may be remembered: an order is not begun that nobody
            // is there to take.
            Some(client) => {
                let found = self.api.client(("clientid", &client.to_string())).await;
                match found.map_err(unread)? {
                    Some(client) if !client.is_closed => client.currency,
                    _ => return refused(CLOSED),
                }
            }
            None => {
                let client = self.find_by_mail(customer).await?;
                let other = links.find_customer(client.id).await.map_err(Error::unavailable)?;
                if other.is_some_and(|other| other != customer) {
                    return refused(ANOTHERS);
                }
                client.currency
            }
        };
        check_currency(own, price)
    }

    async fn find_by_mail(&self, customer: CustomerId) -> Result<Client, Error> {
        let email = self.memory.links.find_email(customer).await.map_err(Error::unavailable)?;
        let Some(email) = email else {
            return refused(
                "this customer has no mail address to find its client in the billing system by: \
                 an administrator must link them",
            );
        };
        let email = email.expose_secret();
        let found = self.api.client(("email", email)).await.map_err(unread)?;
        let Some(client) = found.filter(|client| client.email.eq_ignore_ascii_case(email)) else {
            return refused(
                "no client of the billing system has this customer's mail address: one must be \
                 made there, or an administrator must link the customer to one",
            );
        };
        if client.is_closed {
            return refused(CLOSED);
        }
        Ok(client)
    }

    /// The client that an order is of, where it is known; nobody is looked for by mail.
    pub(crate) async fn linked_client(&self, order: &OrderRef) -> Result<Option<i64>, Error> {
        self.memory.links.find_client(order.customer).await.map_err(Error::unavailable)
    }

    /// The currency of a client, which never changes.
    pub(crate) async fn currency_of(&self, client: i64) -> Result<Currency, Fault> {
        if let Some(currency) = self.remembered(client) {
            return Ok(currency);
        }
        let found = self.api.client(("clientid", &client.to_string())).await?;
        let found = found.ok_or_else(|| Fault::lost("a client that is linked is not there"))?;
        self.remember(client, found.currency);
        Ok(found.currency)
    }

    fn remembered(&self, client: i64) -> Option<Currency> {
        let known = self.currencies.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&client).copied()
    }

    fn remember(&self, client: i64, currency: Currency) {
        let mut known = self.currencies.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(client, currency);
    }
}
