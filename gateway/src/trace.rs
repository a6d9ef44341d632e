//! Spans of what comes to the port: by the semantic conventions for RPC where it is gRPC, for HTTP
//! where it is the facade. Parameters, and paths that are nothing here, are in no span.

use axum::extract::Request;
use axum::response::Response;
use http::Method;
use stowage_runtime::{about_call, end_call};
use stowage_trace::{About, KeyValue, Kind, Span, Trace};

use crate::legacy::is_action;

/// A span of a request. The pages for operators, which are asked for all the time, have none.
pub(crate) fn answering(request: &Request, is_grpc: bool) -> Span {
    let path = request.uri().path();
    if !is_grpc && !is_facade(path) {
        return Span::none();
    }
    let sent = || Trace::of_headers(request.headers());
    Span::incoming(sent, || match is_grpc {
        true => about_call(Kind::Server, path),
        false => about_facade(request.method(), path),
    })
}

/// Says how a request was answered.
pub(crate) fn answered(span: &Span, response: &Response, is_grpc: bool) {
    if is_grpc {
        return end_call(span, &Kind::Server, response.headers());
    }
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
}

fn about_facade(method: &Method, path: &str) -> About {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    };
    let route = route(path);
    let attributes =
        [KeyValue::new("http.request.method", method), KeyValue::new("http.route", route.clone())];
    About::new(Kind::Server, format!("{method} {route}"), attributes)
}

/// The facade's own paths.
pub(crate) fn is_facade(path: &str) -> bool {
    path.starts_with("/s3/") || matches!(path, "/s3" | "/s3.php" | "/auth.php")
}

/// A path of an action, as it is; what names no action of ours, as a pattern.
fn route(path: &str) -> String {
    let named = path.strip_prefix("/s3/").map(|name| name.trim_matches('/'));
    match named {
        None => path.to_owned(),
        Some(action) if is_action(action) => format!("/s3/{action}"),
        Some(_) => "/s3/{action}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_of_a_known_set() {
        for (path, expected) in [
            ("/s3/create_order", "/s3/create_order"),
            ("/s3/create_order/", "/s3/create_order"),
            ("/s3/some@mail.example", "/s3/{action}"),
            ("/s3.php", "/s3.php"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
