//! What the operator sets.

use std::time::Duration;

use secrecy::SecretString;
use stowage_engine_remote::Authorities;

/// How a Garage is reached, and how often it is asked.
#[derive(Debug, Clone)]
pub struct GarageOptions {
    /// Where the Admin API is, without its path: `https://garage.internal:3903`.
    pub admin_endpoint: String,
    /// Where this process reaches S3.
    pub s3_endpoint: String,
    /// Garage's `s3_region`; it refuses others. Default `garage`.
    pub region: String,
    /// Token of the Admin API: Garage's `admin_token`, or one with the scope that the README lists.
    pub admin_token: SecretString,
    /// Who has signed Garage's certificate. Default: who the system trusts.
    pub ca: Authorities,
    /// Begins the names of our keys. Installations that share a Garage have different ones.
    /// Default `stowage`.
    pub marker: String,
    /// Longest time a connection may take, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time a call may take. Default 20 s.
    pub call_timeout: Duration,
    /// Longest time the purge of an account may take; what is left is purged by the next attempt.
    /// Default 10 min.
    pub purge_timeout: Duration,
    /// Time between two looks at every account: at what its buckets store, and whether all is as
    /// it should be. Default 5 min.
    pub stored_every: Duration,
}

impl GarageOptions {
    /// Defaults for a Garage whose two APIs are at these addresses.
    #[must_use]
    pub fn new(admin_endpoint: &str, s3_endpoint: &str, admin_token: SecretString) -> Self {
        Self {
            admin_endpoint: admin_endpoint.to_owned(),
            s3_endpoint: s3_endpoint.to_owned(),
            region: "garage".to_owned(),
            admin_token,
            ca: Authorities::System,
            marker: "stowage".to_owned(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(20),
            purge_timeout: Duration::from_secs(600),
            stored_every: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_print_the_token() {
        let options = GarageOptions::new("http://h:1", "http://h:2", "hush".to_owned().into());
        assert!(!format!("{options:?}").contains("hush"));
    }
}
