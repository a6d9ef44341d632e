//! Which client of another billing system a customer is, as an operator says.
//!
//! Orders link customers by themselves, by mail address. Here a person knows better, so what he
//! says is checked against the billing system and against other links, and never guessed.

use stowage_auth::RequestContext;
use stowage_provider::Error as ProviderError;
use stowage_request::Once;
use stowage_types::{CustomerId, Violations};
use time::OffsetDateTime;

use super::Billing;
use super::credit::Told;
use crate::error::Error;
use crate::store;

/// Which client a customer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CustomerLink {
    pub(crate) customer: CustomerId,
    pub(crate) installation: String,
    pub(crate) client_id: i64,
    pub(crate) link_time: OffsetDateTime,
}

/// A link that was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unlinked;

/// Whose link is meant.
#[derive(Debug, Clone)]
pub(crate) struct LinkName {
    pub(crate) customer: CustomerId,
    /// Empty: the only one.
    pub(crate) installation: String,
}

/// A link to make, or to take away.
#[derive(Debug, Clone)]
pub(crate) struct LinkChange {
    pub(crate) name: LinkName,
    /// Absent: it is taken away.
    pub(crate) client_id: Option<i64>,
    /// Why it is changed though subscriptions use it; absent: only if none does.
    pub(crate) force: Option<String>,
}

fn refused<T>(why: String) -> Result<T, Error> {
    Err(Error::LinkRefused { why })
}

impl Billing {
    /// Returns which client a customer is.
    pub(crate) async fn get_link(
        &self,
        cx: &RequestContext,
        name: &LinkName,
    ) -> Result<CustomerLink, Error> {
        let installation = self.named_installation(&name.installation)?;
        if !cx.sees(name.customer) {
            return Err(Error::LinkNotFound);
        }
        let found = store::customer_link::find(&self.db, &installation, name.customer).await?;
        let (client_id, link_time) = found.ok_or(Error::LinkNotFound)?;
        Ok(CustomerLink { customer: name.customer, installation, client_id, link_time })
    }

    /// Links a customer to a client, who must be there, open, and nobody else's.
    pub(crate) async fn link_customer(
        &self,
        cx: &RequestContext,
        change: LinkChange,
        once: &Once<CustomerLink>,
    ) -> Result<CustomerLink, Error> {
        let LinkChange { name, client_id, force } = change;
        let (customer, client_id) = (name.customer, client_id.unwrap_or(0));
        if !cx.sees(customer) {
            return Err(Error::CustomerNotFound);
        }
        let installation = self.named_installation(&name.installation)?;
        self.check_client(&installation, client_id).await?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let before = store::customer_link::find(&mut tx, &installation, customer).await?;
        if let Some((own, link_time)) = before.filter(|(own, _)| *own == client_id) {
            let link = CustomerLink { customer, installation, client_id: own, link_time };
            once.answer(&mut tx, &link).await?;
            tx.commit().await?;
            return Ok(link);
        }
        let taken = format!("client {client_id} is another customer's");
        let owner = store::customer_link::find_customer(&mut tx, &installation, client_id).await?;
        if owner.is_some() {
            return refused(taken);
        }
        if let Some((old, _)) = before {
            let used = self.open_subscriptions(&mut tx, customer).await?;
            if used > 0 && force.is_none() {
                return refused(format!(
                    "{used} open subscriptions are billed to client {old}, would stay there, and \
                     would not be found any more"
                ));
            }
            store::customer_link::delete(&mut tx, &installation, customer).await?;
        }
        let link = (customer, client_id);
        if !store::customer_link::insert(&mut tx, &installation, link, now).await? {
            return refused(taken);
        }
        let new = serde_json::json!({
            "installation": installation,
            "client_id": client_id,
            "client_id_before": before.map(|(old, _)| old),
            "reason": force,
        });
        self.tell_standing(cx, &mut tx, told("customer.linked", customer, new)).await?;
        let link = CustomerLink { customer, installation, client_id, link_time: now };
        once.answer(&mut tx, &link).await?;
        tx.commit().await?;
        Ok(link)
    }

    /// Takes a customer's link away.
    pub(crate) async fn unlink_customer(
        &self,
        cx: &RequestContext,
        change: LinkChange,
        once: &Once<Unlinked>,
    ) -> Result<Unlinked, Error> {
        let LinkChange { name, force, .. } = change;
        let customer = name.customer;
        if !cx.sees(customer) {
            return Err(Error::CustomerNotFound);
        }
        let installation = self.named_installation(&name.installation)?;
        let mut tx = self.db.begin().await?;
        let before = store::customer_link::find(&mut tx, &installation, customer).await?;
        let (old, _) = before.ok_or(Error::LinkNotFound)?;
        let used = self.open_subscriptions(&mut tx, customer).await?;
        if used > 0 && force.is_none() {
            return refused(format!(
                "{used} open subscriptions are billed to client {old}, and would not be found any \
                 more"
            ));
        }
        store::customer_link::delete(&mut tx, &installation, customer).await?;
        let new = serde_json::json!({
            "installation": installation,
            "client_id_before": old,
            "reason": force,
        });
        self.tell_standing(cx, &mut tx, told("customer.unlinked", customer, new)).await?;
        once.answer(&mut tx, &Unlinked).await?;
        tx.commit().await?;
        Ok(Unlinked)
    }

    /// Whether there is such a client, and orders can be placed for it.
    async fn check_client(&self, installation: &str, client_id: i64) -> Result<(), Error> {
        match self.ask(self.provider.find_client(installation, client_id)).await {
            Ok(None) => Err(Error::ClientNotFound { client_id }),
            Ok(Some(client)) if client.is_closed => {
                refused(format!("client {client_id} is closed: open it there first"))
            }
            Ok(Some(_)) => Ok(()),
            Err(ProviderError::Refused { why }) => refused(why),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_subscriptions(
        &self,
        tx: &mut stowage_db::Tx,
        customer: CustomerId,
    ) -> Result<i64, Error> {
        let provider = self.provider.name();
        Ok(store::subscription::count_open_of(tx, provider, customer).await?)
    }

    /// The installation of a name; without one, the only one there is.
    fn named_installation(&self, named: &str) -> Result<String, Error> {
        let all = self.provider.installations();
        let found = match (named, all.as_slice()) {
            ("", [only]) => Some(only),
            (named, all) => all.iter().find(|own| *own == named),
        };
        found.cloned().ok_or_else(|| {
            let why = format!("must be one of {}", all.join(", "));
            Violations::of("installation", why).into()
        })
    }
}

fn told(event: &'static str, customer: CustomerId, new: serde_json::Value) -> Told<'static> {
    Told { event, customer, s3uid: "", reference: String::new(), invoice_id: 0, new }
}
