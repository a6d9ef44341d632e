//! What the actions do, a file for each kind.

mod cancellations;
mod clients;
mod credits;
mod invoices;
mod invoicing;
mod modules;
mod orders;
mod payments;
mod products;
mod services;
mod upgrades;

use time::{Date, OffsetDateTime};

use crate::answer::{Answer, Refused, refuse};
use crate::form::Form;
use crate::settings::Settings;
use crate::state::{Client, State};

/// An action that is being carried out.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) form: &'a Form,
    pub(crate) settings: &'a Settings,
    pub(crate) now: OffsetDateTime,
}

/// Carries out an action, named in lower case.
pub(crate) fn run(action: &str, call: &mut Call<'_>) -> Answer {
    match action {
        "addorder" => orders::add(call),
        "acceptorder" => orders::accept(call),
        "cancelorder" => orders::cancel(call),
        "deleteorder" => orders::delete(call),
        "pendingorder" => orders::set_pending(call),
        "fraudorder" => orders::set_fraud(call),
        "getorders" => orders::list(call),
        "addclient" => clients::add(call),
        "getclients" => clients::list(call),
        "getclientsdetails" => clients::details(call),
        "getclientsproducts" => services::list(call),
        "updateclientproduct" => services::update(call),
        "modulecreate" => modules::create(call),
        "modulesuspend" => modules::suspend(call),
        "moduleunsuspend" => modules::unsuspend(call),
        "moduleterminate" => modules::terminate(call),
        "modulechangepackage" => modules::change_package(call),
        "getmodulequeue" => modules::queue(call),
        "upgradeproduct" => upgrades::upgrade(call),
        "getproducts" => products::list(call),
        "getcurrencies" => products::currencies(call),
        "getpaymentmethods" => products::payment_methods(call),
        "createinvoice" => invoicing::create(call),
        "updateinvoice" => invoicing::update(call),
        "addbillableitem" => invoicing::add_billable(call),
        "geninvoices" => invoicing::generate(call),
        "getinvoice" => invoices::one(call),
        "getinvoices" => invoices::list(call),
        "addcredit" => credits::add(call),
        "getcredits" => credits::list(call),
        "applycredit" => credits::apply(call),
        "addinvoicepayment" => payments::add(call),
        "addtransaction" => payments::add_transaction(call),
        "gettransactions" => payments::list(call),
        "capturepayment" => payments::capture(call),
        "addcancelrequest" => cancellations::add(call),
        "getcancelledpackages" => cancellations::list(call),
        // Written nowhere; clients in the field have noted it.
        _ => refuse("Command Not Found"),
    }
}

impl Call<'_> {
    pub(crate) fn today(&self) -> Date {
        self.now.date()
    }

    /// The client that a parameter names.
    pub(crate) fn client(&self, name: &str) -> Result<&Client, Refused> {
        let client = self.state.clients.get(&self.form.id(name));
        client.ok_or_else(|| Refused::new("Client ID Not Found"))
    }

    /// The payment method that is asked for, which must be one.
    pub(crate) fn method(&self, name: &str) -> Result<String, Refused> {
        let method = self.form.text(name).unwrap_or_default();
        let methods = &self.settings.payment_methods;
        if methods.iter().any(|own| own == method) {
            return Ok(method.to_owned());
        }
        refuse(format!("Invalid Payment Method. Valid options include {}", methods.join(",")))
    }
}
