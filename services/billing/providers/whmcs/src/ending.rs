//! Ends: of what was placed by mistake, of what is over, and of what will be.

use stowage_provider::{Error, OrderRef};
use stowage_types::{Money, PlanId};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, Time};

use crate::Whmcs;
use crate::amount::text_of;
use crate::customers::TOO_FINE;
use crate::fault::Fault;
use crate::options::Ending;
use crate::wire::{InvoiceStatus, Order, OrderState, Service, ServiceState};

/// A termination date for services that have none. What clears one is written nowhere, so it is
/// put off until nobody remembers.
const NEVER: &str = "2099-12-31";
/// What a service without a module answers.
const NO_MODULE: &str = "not assigned to a module";

impl Whmcs {
    /// The key is spent first: an order that arrives meanwhile finds it so.
    pub(crate) async fn undo(&self, order: &OrderRef) -> Result<(), Error> {
        self.memory.keys.spend(&order.key).await.map_err(Error::pending)?;
        let _turn = match self.linked_client(order).await? {
            Some(client) => Some(self.turns.hold(client).await?),
            None => None,
        };
        for service in self.locate_all(order).await? {
            self.undo_service(&service).await?;
        }
        Ok(())
    }

    /// Undoes what was ordered, and its invoice: as if it had not been.
    pub(crate) async fn undo_service(&self, service: &Service) -> Result<(), Error> {
        let order = self.api.order(service.order).await?;
        let is_pending = order.is_some_and(|order| order.state == OrderState::Pending);
        if is_pending {
            self.cancel_order(service.order).await?;
        }
        // A cancelled order takes its pending services with it, an accepted one does not.
        let seen = self.api.service(service.id).await.map_err(Fault::halfway)?;
        match seen.map(|service| service.state) {
            None | Some(ServiceState::Ended) => {}
            Some(ServiceState::Pending) => self.set_status(service.id, "Cancelled").await?,
            Some(ServiceState::Running) => self.end_service(service.id, "Cancelled").await?,
        }
        match order {
            Some(Order { invoice, .. }) if invoice > 0 => self.withdraw(invoice).await,
            _ => Ok(()),
        }
    }

    /// Withdraws an invoice, and gives back what was paid of it.
    async fn withdraw(&self, invoice_id: i64) -> Result<(), Error> {
        let found = self.api.invoice(invoice_id).await.map_err(Fault::halfway)?;
        let Some(invoice) = found else { return Ok(()) };
        let paid = self.api.paid(invoice_id).await.map_err(Fault::halfway)?;
        // Whether a cancelled one gives its credit back by itself is written nowhere.
        let is_gone = invoice.status == InvoiceStatus::Gone;
        let back = if is_gone { paid } else { paid + invoice.credit };
        if back > 0 {
            let key = format!("[undone {invoice_id}]");
            self.give_once(invoice.client, ("Paid for an order that was undone", &key), back)
                .await?;
        }
        if matches!(invoice.status, InvoiceStatus::Draft | InvoiceStatus::Owed) {
            let id = invoice_id.to_string();
            let what = [("invoiceid", id.as_str()), ("status", "Cancelled")];
            self.api.write("UpdateInvoice", &what).await.map_err(Fault::halfway)?;
        }
        Ok(())
    }

    pub(crate) async fn end(&self, order: &OrderRef) -> Result<(), Error> {
        let _turn = match self.linked_client(order).await? {
            Some(client) => Some(self.turns.hold(client).await?),
            None => None,
        };
        let Some(service) = self.locate(order).await? else {
            let is_spent = self.is_spent(&order.key).await?;
            return if is_spent { Ok(()) } else { Err(Error::NotFound) };
        };
        match service.state {
            ServiceState::Ended => Ok(()),
            ServiceState::Running => self.end_service(service.id, "Terminated").await,
            // Nothing was had of it, so nothing is owed.
            ServiceState::Pending => self.undo_service(&service).await,
        }
    }

    /// Ends a service that runs.
    async fn end_service(&self, service: i64, status: &str) -> Result<(), Error> {
        if self.options.ending == Ending::Status {
            return self.set_status(service, status).await;
        }
        let id = service.to_string();
        match self.api.write("ModuleTerminate", &[("serviceid", &id)]).await {
            Ok(_) => {}
            Err(fault) if fault.says(NO_MODULE) => {
                tracing::warn!(service, "its product has no module; its status is set instead");
                return self.set_status(service, status).await;
            }
            // What the module says may be anything; it may have ended the service all the same.
            Err(fault) => return Err(fault.halfway()),
        }
        let seen = self.api.service(service).await.map_err(Fault::halfway)?;
        match seen.map(|service| service.state) {
            None | Some(ServiceState::Ended) => Ok(()),
            Some(_) => Err(Error::pending("a module has terminated a service, and it runs")),
        }
    }

    pub(crate) async fn mirror(
        &self,
        order: &OrderRef,
        end: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        let service = self.locate(order).await?.ok_or(Error::NotFound)?;
        if !self.options.mirror_ends || service.state == ServiceState::Ended {
            return Ok(());
        }
        let id = service.id.to_string();
        let date = end.map_or_else(|| NEVER.to_owned(), date_of);
        let what = [("serviceid", id.as_str()), ("terminationdate", &date)];
        let written = self.api.write("UpdateClientProduct", &what).await;
        written.map(drop).map_err(Fault::halfway)
    }
}

impl Whmcs {
    /// Gives a service the product of another plan, and the price of the periods that WHMCS
    /// invoices from now on. It charges nothing.
    pub(crate) async fn change_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error> {
        let refuse = |why: &str| Error::Refused { why: why.to_owned() };
        let product = self.options.products.get(&plan);
        let product = product.ok_or_else(|| refuse("the billing system has no product for it"))?;
        let price = text_of(period_price.nanos()).ok_or_else(|| refuse(TOO_FINE))?;
        let service = self.locate(order).await?.ok_or(Error::NotFound)?;
        if service.state == ServiceState::Ended {
            return Ok(());
        }
        let (id, pid) = (service.id.to_string(), product.id.to_string());
        // Where the product's own price counts, WHMCS computes it anew.
        let price = match product.overrides_price {
            true => ("recurringamount", price.as_str()),
            false => ("autorecalc", "1"),
        };
        let what = [("serviceid", id.as_str()), ("pid", &pid), price];
        let written = self.api.write("UpdateClientProduct", &what).await;
        written.map(drop).map_err(Fault::halfway)
    }
}

/// The first day on which it has ended: WHMCS ends services in the course of a day, and must not
/// do so before we do.
fn date_of(end: OffsetDateTime) -> String {
    let day = if end.time() == Time::MIDNIGHT { end } else { end + Duration::DAY };
    let form = format_description!("[year]-[month]-[day]");
    day.date().format(form).unwrap_or_else(|_| NEVER.to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_service_is_not_ended_before_its_end() {
        for (end, expected) in [
            (datetime!(2026-02-28 00:00 UTC), "2026-02-28"),
            (datetime!(2026-02-28 00:00:01 UTC), "2026-03-01"),
            (datetime!(2026-12-31 23:59 UTC), "2027-01-01"),
        ] {
            assert_eq!(date_of(end), expected);
        }
    }
}
