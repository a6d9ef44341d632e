//! What the operator sets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use stowage_provider::signed::SECRET_CHARS_MIN;
use stowage_types::PlanId;

/// How an installation of WHMCS is reached and used.
#[derive(Debug, Clone)]
pub struct WhmcsOptions {
    /// Where it is installed, without `/includes/api.php`: `https://billing.example.com/whmcs`.
    pub url: String,
    /// Identifier of the API credential.
    pub identifier: String,
    /// Its secret.
    pub secret: SecretString,
    /// `$api_access_key` of its `configuration.php`, where calls come from addresses that are not
    /// on its list.
    pub access_key: Option<SecretString>,
    /// What the file in the installation signs its messages with; at least 32 characters. Default:
    /// none is taken.
    pub hook_secret: Option<SecretString>,
    /// Certificates of the authority that has signed its own, in PEM. Default: those that the
    /// system trusts.
    pub ca: Option<PathBuf>,
    /// System name of the payment method of orders, invoices and payments: `banktransfer`.
    pub payment_method: String,
    /// What is ordered for a plan.
    pub products: BTreeMap<PlanId, Product>,
    /// Whether it sends its own mails about orders and their invoices. Default no.
    pub order_mails: bool,
    /// Whether the product's module is run when an order is accepted. Default no.
    pub autosetup: bool,
    /// How a service is ended. Default [`Ending::Status`].
    pub ending: Ending,
    /// Whether planned ends are written to services as their termination date, on which WHMCS'
    /// own automation may end them. Default no.
    pub mirror_ends: bool,
    /// Whether taxes come on top of usage. Default no.
    pub usage_is_taxed: bool,
    /// Days to pay an invoice of usage. Default 14.
    pub days_to_pay: u16,
    /// Longest time a connection may take, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time a call may take; modules run within it. Default 30 s.
    pub call_timeout: Duration,
    /// Most calls a second; more wait. Default 20.
    pub calls_per_second: u32,
    /// Most calls at once and waiting; more are turned away. Default 256.
    pub calls_max: usize,
    /// Attempts of a call that only reads, the first included. Default 3.
    pub read_attempts: u32,
    /// The pause after the first of them; each further one is twice as long. Default 200 ms.
    pub read_pause: Duration,
    /// So many calls in a row without a clear answer, and nothing is asked for a while. Default 5.
    pub breaker_failures: u32,
    /// That while; then one call tries whether it is back. Default 30 s.
    pub breaker_pause: Duration,
}

/// What is ordered for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Id of the product in WHMCS.
    pub id: i64,
    /// Whether orders name our price. Without it the product's own price counts, whatever the
    /// customer was quoted.
    pub overrides_price: bool,
}

/// How a service is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its status is set; no module runs.
    Status,
    /// Its module is told to terminate it, which sets the status. A service without a module has
    /// its status set.
    ModuleTerminate,
}

impl WhmcsOptions {
    /// Defaults for an installation, whoever calls it, and what it takes for paying.
    #[must_use]
    pub fn new(
        url: &str,
        (identifier, secret): (&str, SecretString),
        payment_method: &str,
        products: BTreeMap<PlanId, Product>,
    ) -> Self {
        Self {
            url: url.to_owned(),
            identifier: identifier.to_owned(),
            secret,
            access_key: None,
            hook_secret: None,
            ca: None,
            payment_method: payment_method.to_owned(),
            products,
            order_mails: false,
            autosetup: false,
            ending: Ending::Status,
            mirror_ends: false,
            usage_is_taxed: false,
            days_to_pay: 14,
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(30),
            calls_per_second: 20,
            calls_max: 256,
            read_attempts: 3,
            read_pause: Duration::from_millis(200),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(30),
        }
    }

    /// All that is wrong with them, each by its name.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut need = |is_good: bool, fault: &str| {
            if !is_good {
                faults.push(fault.to_owned());
            }
        };
        let is_url = ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme));
        need(is_url && !self.url.contains(['?', '#']), "url: is not an http(s):// address");
        need(!self.identifier.is_empty(), "identifier: is missing");
        let is_long = |secret: &SecretString| secret.expose_secret().len() >= SECRET_CHARS_MIN;
        need(
            self.hook_secret.as_ref().is_none_or(is_long),
            "hook_secret: must have at least 32 characters",
        );
        need(!self.payment_method.is_empty(), "payment_method: is missing");
        need(self.products.values().all(|product| product.id > 0), "products: an id is positive");
        need(self.calls_per_second > 0, "calls_per_second: must be at least 1");
        need(self.calls_max > 0, "calls_max: must be at least 1");
        need(self.read_attempts > 0, "read_attempts: must be at least 1");
        need(self.breaker_failures > 0, "breaker_failures: must be at least 1");
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> WhmcsOptions {
        let who = ("identifier", SecretString::from("hush".to_owned()));
        WhmcsOptions::new("https://h/whmcs", who, "banktransfer", BTreeMap::new())
    }

    #[test]
    fn options_do_not_print_secrets() {
        let key = Some(SecretString::from("hush".to_owned()));
        let options = WhmcsOptions { access_key: key, ..options() };
        assert!(!format!("{options:?}").contains("hush"));
    }

    #[test]
    fn all_faults_are_told_together() {
        assert_eq!(options().faults(), [""; 0]);
        let product = Product { id: 0, overrides_price: true };
        let bad = WhmcsOptions {
            url: "billing.example.com".to_owned(),
            identifier: String::new(),
            products: [(PlanId(1), product)].into(),
            hook_secret: Some(SecretString::from("too short".to_owned())),
            calls_per_second: 0,
            ..options()
        };
        assert_eq!(bad.faults().len(), 5, "{:?}", bad.faults());
    }
}
