//! How an installation is set up.

use std::net::IpAddr;

/// How an installation is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may call.
    pub identifier: String,
    /// His secret.
    pub secret: String,
    /// `$api_access_key`: whoever has it may call from anywhere.
    pub access_key: Option<String>,
    /// Where calls may come from; absent: from anywhere.
    pub allowed_ips: Option<Vec<IpAddr>>,
    /// The actions that the caller's role has, in lower case; absent: all.
    pub actions: Option<Vec<String>>,
    /// System names of the payment methods.
    pub payment_methods: Vec<String>,
    /// Whether services become active with their order, also without `autosetup`.
    pub accept_activates: bool,
    /// Whether a cancelled order takes its unpaid invoice with it.
    pub cancel_cancels_invoice: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            identifier: "identifier".to_owned(),
            secret: "secret".to_owned(),
            access_key: None,
            allowed_ips: None,
            actions: None,
            payment_methods: vec!["banktransfer".to_owned(), "paypal".to_owned()],
            accept_activates: true,
            cancel_cancels_invoice: false,
        }
    }
}
