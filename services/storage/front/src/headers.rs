//! What headers say about one connection only, and so do not pass on to the next.
//!
//! Source: RFC 9110, 7.6.1. A signed one passes all the same: the engine would refuse the request
//! without it. How a body is framed is said anew by the connection that it goes over.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::naming::Signature;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const OF_CONNECTION: [HeaderName; 7] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes out of a request what was meant for us alone, but for what is signed.
pub(crate) fn strip_request(headers: &mut HeaderMap, signature: &Signature) {
    // Who frames a body twice gets one of them: RFC 9112, 6.3.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let takes_trailers = headers.get_all(TE).iter().any(names_trailers);
    strip(headers, |name| signature.covers(name.as_str()));
    if takes_trailers && !headers.contains_key(TE) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Takes out of an answer what was meant for us alone.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    strip(headers, |_| false);
}

fn strip(headers: &mut HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) {
    // Most requests have none of them, or say that the connection is kept.
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_CONNECTION.into_iter().chain(named).chain([CONNECTION]) {
        if !is_kept(&name) {
            headers.remove(name);
        }
    }
}

fn names_trailers(value: &HeaderValue) -> bool {
    let names = value.to_str().unwrap_or_default().split(',');
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(pairs: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let signature = Signature::of(&headers, "").unwrap();
        strip_request(&mut headers, &signature);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn what_is_of_the_connection_stays_and_the_rest_passes() {
        let sent = [
            ("host", "h"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("expect", "100-continue"),
            ("trailer", "x-sum"),
            ("x-amz-date", "d"),
        ];
        assert_eq!(stripped(&sent), ["expect", "host", "trailer", "x-amz-date"]);
        assert_eq!(stripped(&[("te", "gzip, Trailers")]), ["connection", "te"]);
    }

    #[test]
    fn what_is_signed_passes_whatever_it_is() {
        let signed = "AWS4-HMAC-SHA256 Credential=K/a, SignedHeaders=te;connection;x-amz-date, S=0";
        let sent = [
            ("authorization", signed),
            ("connection", "x-amz-date, keep-alive"),
            ("te", "gzip"),
            ("x-amz-date", "d"),
            ("keep-alive", "5"),
        ];
        assert_eq!(stripped(&sent), ["authorization", "connection", "te", "x-amz-date"]);
        // Whoever takes his own signature out has sent none.
        let sent = [("authorization", "AWS K:s"), ("connection", "authorization")];
        assert_eq!(stripped(&sent), [""; 0]);
    }
}
