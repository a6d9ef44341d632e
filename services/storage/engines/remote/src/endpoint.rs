//! Where a server is.

use http::Uri;
use http::uri::Scheme;
use stowage_engine::BoxError;

/// Why a server cannot be used. Nothing was asked of it yet.
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
///
/// # Errors
/// [`OpenError::Endpoint`]
pub fn endpoint_of(text: &str) -> Result<String, OpenError> {
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
}
