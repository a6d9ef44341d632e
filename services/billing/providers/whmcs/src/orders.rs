//! Orders: placed once, accepted once.

use stowage_provider::{Error, NewOrder, OrderKey, OrderRef, Period, PlacedOrder};

use crate::amount::{shown, text_of};
use crate::customers::{TOO_FINE, check_currency};
use crate::domain::domain_of;
use crate::fault::{Fault, GivenUp};
use crate::options::Product;
use crate::wire::{OrderState, Service, ServiceState};
use crate::{Whmcs, loose};

/// What both say when an order was accepted or cancelled before.
const NOT_PENDING: &str = "not pending";

fn refused<T>(why: String) -> Result<T, Error> {
    Err(Error::Refused { why })
}

/// The service that was answered first, or the oldest.
fn chosen<'s>(order: &OrderRef, all: &'s [Service]) -> Option<&'s Service> {
    let named =
        order.placed.and_then(|placed| all.iter().find(|service| service.id == placed.service_id));
    named.or_else(|| all.first())
}

/// Whether an order may still be placed by a call that nobody waits for.
fn is_given_up(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<GivenUp>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// What AddOrder has answered.
struct Added {
    order: i64,
    invoice: i64,
}

impl Whmcs {
    pub(crate) async fn place(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        let Some(product) = self.options.products.get(&order.plan).copied() else {
            return refused(format!("plan {} has no product in the billing system", order.plan.0));
        };
        let Some(price) = text_of(order.period_price.nanos()) else {
            return refused(TOO_FINE.to_owned());
        };
        let client = self.client_of(order.customer).await?;
        let _turn = self.turns.hold(client).await?;
        if self.is_spent(&order.key).await? {
            return Err(Error::Undone);
        }
        let domain = domain_of(&order.key);
        let mut found = self.api.services(client, &domain).await?;
        let mut added = None;
        if found.is_empty() {
            check_currency(self.currency_of(client).await?, order.period_price)?;
            let attempt = self.attempts.begin(&domain, self.options.call_timeout)?;
            let answer = self.add(order, (client, &domain), (product, &price)).await;
            attempt.end(answer.as_ref().is_err_and(is_given_up));
            added = Some(answer?);
            // It must be seen, or a repeat would not see it either; and there may be two.
            found = self.api.services(client, &domain).await.map_err(Fault::halfway)?;
        }
        let Some((kept, others)) = found.split_first() else {
            return Err(Error::pending("an order that was placed is not to be seen"));
        };
        for other in others {
            tracing::warn!(service = other.id, kept = kept.id, "an order was placed twice");
            self.undo_service(other).await?;
        }
        if kept.state == ServiceState::Ended {
            return Err(Error::Undone);
        }
        self.settle(order, (product, kept), added).await
    }

    /// Places an order that is not there.
    async fn add(
        &self,
        order: &NewOrder,
        (client, domain): (i64, &str),
        (product, price): (Product, &str),
    ) -> Result<Added, Error> {
        let cycle = match order.period {
            _ if order.period_price.is_zero() && !product.overrides_price => "free",
            Period::Monthly => "monthly",
            Period::Yearly => "annually",
        };
        let (client, product_id) = (client.to_string(), product.id.to_string());
        let quiet = if self.options.order_mails { "0" } else { "1" };
        let mut what = vec![
            ("clientid", client.as_str()),
            ("paymentmethod", &self.options.payment_method),
            ("pid[0]", &product_id),
            ("billingcycle[0]", cycle),
            ("domain[0]", domain),
            ("noemail", quiet),
            ("noinvoiceemail", quiet),
        ];
        if product.overrides_price {
            what.push(("priceoverride[0]", price));
        }
        let answer = match self.api.write("AddOrder", &what).await {
            Err(Fault::Refused { message }) => {
                tracing::warn!(message, customer.id = order.customer.0, "WHMCS refused an order");
                return refused(message);
            }
            answer => answer?,
        };
        let unclear = || Error::pending("the answer to an order is not understood");
        let order = loose::id(&answer["orderid"]).ok_or_else(unclear)?;
        let invoice = loose::number(&answer["invoiceid"]).ok_or_else(unclear)?;
        let services = [&answer["serviceids"], &answer["productids"]];
        let services = services.into_iter().find(|ids| !ids.is_null());
        // One order is one service.
        match services.and_then(loose::ids).as_deref() {
            Some([_]) => Ok(Added { order, invoice }),
            _ => Err(unclear()),
        }
    }

    /// Makes a placed order be what was asked for, and answers its ids.
    async fn settle(
        &self,
        order: &NewOrder,
        (product, kept): (Product, &Service),
        added: Option<Added>,
    ) -> Result<PlacedOrder, Error> {
        let price = order.period_price.nanos();
        let is_ours = product.overrides_price || price == 0;
        if is_ours && kept.first_price != price {
            self.undo_service(kept).await?;
            let (is, was) = (shown(kept.first_price), shown(price));
            return refused(format!("the billing system asks for {is} where the price is {was}"));
        }
        // So that it is found by its account too, by people and by modules.
        if kept.username != order.s3uid.as_str() {
            let id = kept.id.to_string();
            let what = [("serviceid", id.as_str()), ("serviceusername", order.s3uid.as_str())];
            let written = self.api.write("UpdateClientProduct", &what).await;
            written.map_err(Fault::halfway)?;
        }
        let invoice_id = match added.filter(|added| added.order == kept.order) {
            Some(added) => added.invoice,
            None => {
                let found = self.api.order(kept.order).await.map_err(Fault::halfway)?;
                found.ok_or_else(|| Error::pending("a service without an order"))?.invoice
            }
        };
        // An undo in another process may have looked before this was placed.
        if self.is_spent(&order.key).await.map_err(Error::pending)? {
            self.undo_service(kept).await?;
            return Err(Error::Undone);
        }
        Ok(PlacedOrder { order_id: kept.order, invoice_id, service_id: kept.id })
    }

    pub(crate) async fn is_spent(&self, key: &OrderKey) -> Result<bool, Error> {
        self.memory.keys.is_spent(key).await.map_err(Error::unavailable)
    }

    /// What there is of an order: the service that was answered first, or the oldest.
    pub(crate) async fn locate(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        let all = self.locate_all(order).await?;
        Ok(chosen(order, &all).cloned())
    }

    /// All there is of an order, in the order of ids: one service, unless something repeated it.
    pub(crate) async fn locate_all(&self, order: &OrderRef) -> Result<Vec<Service>, Error> {
        let domain = domain_of(&order.key);
        if let Some(client) = self.linked_client(order).await? {
            return Ok(self.api.services(client, &domain).await?);
        }
        let Some(placed) = order.placed else { return Ok(Vec::new()) };
        let found = self.api.service(placed.service_id).await?;
        Ok(found.filter(|own| own.domain.eq_ignore_ascii_case(&domain)).into_iter().collect())
    }

    pub(crate) async fn accept(&self, order: &OrderRef) -> Result<(), Error> {
        let _turn = match self.linked_client(order).await? {
            Some(client) => Some(self.turns.hold(client).await?),
            None => None,
        };
        if self.is_spent(&order.key).await? {
            return Err(Error::Undone);
        }
        let all = self.locate_all(order).await?;
        let service = chosen(order, &all).cloned().ok_or(Error::NotFound)?;
        // One that arrived after its order was placed again.
        for twin in all.iter().filter(|twin| twin.id != service.id) {
            if twin.state != ServiceState::Ended {
                tracing::warn!(service = twin.id, kept = service.id, "an order was placed twice");
                self.undo_service(twin).await?;
            }
        }
        match service.state {
            ServiceState::Running => return Ok(()),
            ServiceState::Ended => return Err(Error::Undone),
            ServiceState::Pending => {}
        }
        self.accept_order(service.order).await?;
        let seen = self.api.service(service.id).await.map_err(Fault::halfway)?;
        match seen.map(|service| service.state) {
            Some(ServiceState::Running) => Ok(()),
            Some(ServiceState::Ended) => Err(Error::Undone),
            // Where accepting sets nothing up, it is left as it was.
            Some(ServiceState::Pending) => self.set_status(service.id, "Active").await,
            None => Err(Error::pending("an accepted service is not to be seen")),
        }
    }

    /// Accepts an order that is pending; one that is active was.
    async fn accept_order(&self, order: i64) -> Result<(), Error> {
        let id = order.to_string();
        let setup = if self.options.autosetup { "1" } else { "0" };
        let mails = if self.options.order_mails { "1" } else { "0" };
        let what = [("orderid", id.as_str()), ("autosetup", setup), ("sendemail", mails)];
        match self.api.write("AcceptOrder", &what).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.says(NOT_PENDING) => {
                match self.api.order(order).await?.map(|order| order.state) {
                    Some(OrderState::Active) => Ok(()),
                    Some(OrderState::Gone) | None => Err(Error::Undone),
                    Some(OrderState::Pending) => Err(Error::pending(fault)),
                }
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Cancels an order that is pending; whatever else it is, it stays.
    pub(crate) async fn cancel_order(&self, order: i64) -> Result<OrderState, Error> {
        let id = order.to_string();
        match self.api.write("CancelOrder", &[("orderid", &id), ("noemail", "1")]).await {
            Ok(_) => Ok(OrderState::Gone),
            Err(fault) if fault.says(NOT_PENDING) => {
                let state = self.api.order(order).await?.map(|order| order.state);
                Ok(state.unwrap_or(OrderState::Gone))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Writes the status of a service; no module runs.
    pub(crate) async fn set_status(&self, service: i64, status: &str) -> Result<(), Error> {
        let id = service.to_string();
        let what = [("serviceid", id.as_str()), ("status", status)];
        let written = self.api.write("UpdateClientProduct", &what).await;
        written.map(drop).map_err(Fault::halfway)
    }
}
