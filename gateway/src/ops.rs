//! What operators ask: `/healthz`, `/readyz`, `/metrics`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::health::Checks;
use crate::json::Object;
use crate::legacy::json_response;

/// The process lives.
pub(crate) fn healthz() -> Response {
    json_response(StatusCode::OK, &Object::new().with("status", "ok"))
}

/// Whether every role can serve; 503 if one cannot.
pub(crate) async fn readyz(checks: &Checks) -> Response {
    let results = checks.run().await;
    let is_ready = results.iter().all(|(_, result)| result.is_ok());
    let roles = results.into_iter().fold(Object::new(), |roles, (name, result)| {
        roles.with(name, result.err().unwrap_or_else(|| "ok".to_owned()))
    });
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &Object::new().with("ready", is_ready).with("roles", roles))
}

/// The metrics as Prometheus reads them.
pub(crate) fn metrics(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
