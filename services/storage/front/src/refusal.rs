//! What the front itself answers: errors as S3 has them.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Seconds after which a client may try again.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why the front did not pass a request on, or has no answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The engine is not reached, or broke off.
    Away,
    /// The engine has the request whole and says nothing.
    Silent,
    /// Nothing moved for too long.
    Stalled,
    /// The client broke its body off. It will hardly hear this.
    Incomplete,
    SignedTwice,
    Form,
    HeadersTooLong,
    Method,
    Target,
}

impl Refusal {
    fn text(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The storage is not reached. Please try again.",
            ),
            Self::Silent => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The storage does not answer in time. Please try again.",
            ),
            Self::Stalled => (
                StatusCode::BAD_REQUEST,
                "RequestTimeout",
                "Nothing of the body was sent or taken for too long.",
            ),
            Self::Incomplete => {
                (StatusCode::BAD_REQUEST, "IncompleteBody", "The body ended before its length.")
            }
            Self::SignedTwice => (
                StatusCode::BAD_REQUEST,
                "InvalidArgument",
                "Only one of the Authorization header, X-Amz-Credential and AWSAccessKeyId may \
                 be given, and once.",
            ),
            Self::Form => (
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                "Uploads by HTML forms are not supported.",
            ),
            Self::HeadersTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "RequestHeaderSectionTooLarge",
                "The headers of the request are too long.",
            ),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "The method is not allowed.")
            }
            Self::Target => {
                (StatusCode::BAD_REQUEST, "InvalidURI", "The target of the request is no path.")
            }
        }
    }

    /// The answer, of which a client gets the head alone if that is what it asked for.
    pub(crate) fn answer(self) -> Response<Bytes> {
        let (status, code, message) = self.text();
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if matches!(self, Self::Stalled | Self::Incomplete) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
