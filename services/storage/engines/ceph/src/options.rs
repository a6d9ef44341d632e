//! What the operator sets.

use std::time::Duration;

use secrecy::SecretString;
use stowage_engine_remote::Authorities;

/// How an RGW is reached, and how often it is asked.
#[derive(Debug, Clone)]
pub struct CephOptions {
    /// Where the Admin Ops API is, without its path: `https://rgw.internal:7480`.
    pub admin_endpoint: String,
    /// Path of the Admin Ops API: RGW's `rgw_admin_entry`. Default `admin`.
    pub admin_path: String,
    /// Where this process reaches S3. Default: the same as `admin_endpoint`.
    pub s3_endpoint: String,
    /// Region that requests are signed for; RGW takes any. Default `us-east-1`.
    pub region: String,
    /// Access key of the user with the caps that the README lists.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretString,
    /// Who has signed RGW's certificate. Default: who the system trusts.
    pub ca: Authorities,
    /// Begins the display name of our users. Installations that share an RGW have different ones,
    /// and a copy of an installation must not touch the accounts of the original. Default
    /// `stowage`.
    pub marker: String,
    /// Longest time a connection may take, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time a call may take. Default 20 s.
    pub call_timeout: Duration,
    /// Longest time the purge of one bucket may take; what is left is purged by the next attempt.
    /// Default 10 min.
    pub purge_timeout: Duration,
    /// Time between two readings of the usage log. RGW writes it every 30 s
    /// (`rgw_usage_log_tick_interval`). Default 60 s.
    pub usage_every: Duration,
    /// Time between two looks at what every bucket stores. Default 15 min.
    pub stored_every: Duration,
}

impl CephOptions {
    /// Defaults for an RGW that answers both APIs at one address.
    #[must_use]
    pub fn new(endpoint: &str, access_key: &str, secret_key: SecretString) -> Self {
        Self {
            admin_endpoint: endpoint.to_owned(),
            admin_path: "admin".to_owned(),
            s3_endpoint: endpoint.to_owned(),
            region: "us-east-1".to_owned(),
            access_key: access_key.to_owned(),
            secret_key,
            ca: Authorities::System,
            marker: "stowage".to_owned(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(20),
            purge_timeout: Duration::from_secs(600),
            usage_every: Duration::from_secs(60),
            stored_every: Duration::from_secs(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_print_the_secret() {
        let options = CephOptions::new("http://h", "id", "hush".to_owned().into());
        assert!(!format!("{options:?}").contains("hush"));
    }
}
