//! `/openapi.json`, and `/docs`, the page that shows it.
//!
//! The page is one file with nothing from elsewhere. What its policy allows is its own style and
//! its own script, by their hashes, and asking this server for the document; a text of the
//! document that looked like a script would stay a text.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::legacy::openapi;

const PAGE: &str = include_str!("docs.html");

/// The document of the facade.
pub(crate) fn openapi_json() -> Response {
    let mut response = Response::new(Body::from(openapi::document()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The page that shows it.
pub(crate) fn page() -> Response {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(policy);
    let mut response = Response::new(Body::from(PAGE));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn policy() -> HeaderValue {
    let hash = |tag: &str| {
        let content = between(PAGE, &format!("<{tag}>"), &format!("</{tag}>")).unwrap_or_default();
        STANDARD.encode(Sha256::digest(content))
    };
    let text = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-{}'; \
         style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    );
    // Hashes in base64 are letters of a header; a page without any would not run.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_needs_nothing_from_elsewhere() {
        assert!(PAGE.len() <= 20 * 1024, "{} bytes", PAGE.len());
        for banned in ["http://", "https://", "//cdn", "innerHTML", "eval(", " style=", "onclick="]
        {
            assert!(!PAGE.contains(banned), "{banned}");
        }
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1, "{tag}");
        }
        let response = page();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    }
}
