//! Answers of the facade: the success envelope, and the headers that every answer carries.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::errors::Failure;
use crate::json::Object;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An answer of the facade that succeeded.
pub(crate) fn success(action: &'static str, payload: Object) -> Object {
    Object::new().with("result", "OK").with("action", action).extend(payload)
}

/// An HTTP answer that no cache keeps.
pub(crate) fn json(status: StatusCode, body: &Object) -> Response {
    let mut response = Response::new(Body::from(body.to_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The HTTP answer of a failure.
pub(crate) fn failure(failure: &Failure, request_id: &str) -> Response {
    let mut response = json(failure.status, &failure.envelope(request_id));
    if let Some(seconds) = failure.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(allow) = failure.allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_names_its_action_first() {
        let text = success("create_bucket", Object::new().with("bucket_name", "photos")).to_bytes();
        assert_eq!(text, br#"{"result":"OK","action":"create_bucket","bucket_name":"photos"}"#);
    }

    #[test]
    fn no_answer_is_cached() {
        let mut failed = Failure::business("method not allowed");
        failed.allow = Some("GET, POST");
        failed.retry_after_seconds = Some(2);
        let response = failure(&failed, "");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-type", "application/json; charset=utf-8"),
            ("allow", "GET, POST"),
            ("retry-after", "2"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
    }
}
