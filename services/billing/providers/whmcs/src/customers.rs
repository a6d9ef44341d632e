//! Which client a customer is, and in what he pays.

use std::sync::PoisonError;

use stowage_provider::{Error, OrderRef};
use stowage_types::{Currency, CustomerId, ExposeSecret as _};

use crate::Whmcs;
use crate::fault::Fault;

/// Clients whose currency is remembered.
const REMEMBERED_MAX: usize = 10_000;

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
        let Some(email) = links.find_email(customer).await.map_err(Error::unavailable)? else {
            return refused(
                "this customer has no mail address to find its client in the billing system by: \
                 an administrator must link them",
            );
        };
        let email = email.expose_secret();
        let client = self.api.client(("email", email)).await?;
        let Some(client) = client.filter(|client| client.email.eq_ignore_ascii_case(email)) else {
            return refused(
                "no client of the billing system has this customer's mail address: one must be \
                 made there, or an administrator must link the customer to one",
            );
        };
        if client.is_closed {
            return refused(
                "the client with this customer's mail address is closed in the billing system: it \
                 must be opened there, or an administrator must link the customer to another",
            );
        }
        if !links.link(customer, client.id).await.map_err(Error::unavailable)? {
            // A call beside this one may have linked them.
            let linked = links.find_client(customer).await.map_err(Error::unavailable)?;
            if linked != Some(client.id) {
                return refused(
                    "the client with this customer's mail address belongs to another customer: an \
                     administrator must link the customer to its own",
                );
            }
        }
        self.remember(client.id, client.currency);
        Ok(client.id)
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
