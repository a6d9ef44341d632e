//! What the operator sets.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use secrecy::SecretString;
use stowage_engine::BoxError;

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
    /// Certificates of the authority that has signed RGW's, in PEM. `None`: the system's.
    pub ca: Option<PathBuf>,
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
            ca: None,
            marker: "stowage".to_owned(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(20),
            purge_timeout: Duration::from_secs(600),
            usage_every: Duration::from_secs(60),
            stored_every: Duration::from_secs(900),
        }
    }
}

/// Why an RGW cannot be used. Nothing was asked of it yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address is none.
    #[error("{endpoint:?} is not an http:// or https:// address without a path")]
    Endpoint {
        /// Which.
        endpoint: String,
    },
    /// The authority's file, or the system's certificates, cannot be read.
    #[error("no certificates of authorities can be read")]
    Authorities {
        /// Why.
        source: BoxError,
    },
}

/// Takes `http://host:port` or `https://host:port`; answers it without a slash at its end.
pub(crate) fn endpoint_of(text: &str) -> Result<String, OpenError> {
    let refused = || OpenError::Endpoint { endpoint: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match uri.host() {
        Some(_) if known && is_bare => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_and_a_host() {
        for (text, expected) in [
            ("http://127.0.0.1:7480", Some("http://127.0.0.1:7480")),
            ("https://rgw.internal/", Some("https://rgw.internal")),
            ("rgw.internal:7480", None),
            ("ftp://rgw.internal", None),
            ("http://rgw.internal/admin", None),
            ("http://rgw.internal?x", None),
            ("", None),
        ] {
            assert_eq!(endpoint_of(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn options_do_not_print_the_secret() {
        let options = CephOptions::new("http://h", "id", "hush".to_owned().into());
        assert!(!format!("{options:?}").contains("hush"));
    }
}
