//! Spans of S3 requests, by the semantic conventions for HTTP. Bucket and key are their customers'
//! words, and in no span.

use http::{Method, Request, Response};
use stowage_trace::{About, KeyValue, Kind, Span, Trace};

/// A span of a request, up to the head of its answer.
pub(crate) fn answering<B>(request: &Request<B>) -> Span {
    let sent = || Trace::of_headers(request.headers());
    Span::incoming(sent, || {
        let (method, route) = (method(request.method()), route(request.uri().path()));
        let attributes =
            [KeyValue::new("http.request.method", method), KeyValue::new("http.route", route)];
        About::new(Kind::Server, format!("{method} {route}"), attributes)
    })
}

/// Says how a request was answered.
pub(crate) fn answered<B>(span: &Span, response: &Response<B>) {
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
}

fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn route(path: &str) -> &'static str {
    match path.trim_start_matches('/').split_once('/') {
        Some((_, key)) if !key.is_empty() => "/{bucket}/{key}",
        None if path.len() <= 1 => "/",
        _ => "/{bucket}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_without_names() {
        for (path, expected) in [
            ("/", "/"),
            ("/photos", "/{bucket}"),
            ("/photos/", "/{bucket}"),
            ("/photos/a", "/{bucket}/{key}"),
            ("/photos/a/b/", "/{bucket}/{key}"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
