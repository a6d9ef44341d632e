//! Messages from outside that carry no token but a signature: of billing systems and of payment
//! processors. The gateway knows no secret: it passes on what came, and billing believes it or not.
//!
//! Whatever is answered with a 503 may be sent again as it is, and is done once.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use stowage_auth::REQUEST_ID_KEY;
use stowage_proto::accounts::GetCustomerRequest;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::billing::hook_service_client::HookServiceClient;
use stowage_proto::billing::{SignedMessage, TakePaymentRequest, TakeProviderMessageRequest};
use stowage_proto::common::ErrorReason;
use stowage_runtime::{RoleChannel, field_violations, metadata_of, reason_of};
use stowage_types::{CustomerId, name};
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::json::{Json, Object};
use crate::legacy::json_response;

/// Longest body of a message, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// What billing gets less time by, so that its answer still finds a listener.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// Seconds to wait before a message is sent again.
const RETRY_AFTER_SECONDS: u32 = 5;

const TIMESTAMP: &str = "x-stowage-timestamp";
const SIGNATURE: &str = "x-stowage-signature";

/// Counts messages by where they came in and how they were answered.
const MESSAGES: &str = "stowage_gateway_hook_messages_total";

/// Where a message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hook {
    /// `/hooks/whmcs/{installation}`
    Whmcs(String),
    /// `/hooks/payments`
    Payments,
}

/// Passes messages on.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// As the gateway itself.
    pub(crate) accounts: RoleChannel,
    /// As the gateway itself.
    pub(crate) billing: RoleChannel,
    /// Longest time of a message, from its head to its answer.
    pub(crate) time_max: Duration,
}

/// Why a message is not taken.
#[derive(Debug)]
enum Refusal {
    NotPost,
    TooLong,
    TooSlow,
    /// What billing says.
    Refused(Status),
    /// No answer came in time.
    Unanswered,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Hooks {
    /// Answers a message, whatever it is.
    pub(crate) async fn answer(
        &self,
        hook: Hook,
        request: Request<Body>,
        request_id: &str,
    ) -> Response {
        let label = match hook {
            Hook::Whmcs(_) => "whmcs",
            Hook::Payments => "payments",
        };
        let response = match self.take(hook, request, request_id).await {
            Ok(repeated) => {
                let taken = Object::new().with("result", "taken").with("repeated", repeated);
                json_response(StatusCode::OK, &taken)
            }
            Err(refusal) => refused(&refusal, request_id),
        };
        let status = response.status().as_str().to_owned();
        metrics::counter!(MESSAGES, "hook" => label, "status" => status).increment(1);
        response
    }

    async fn take(
        &self,
        hook: Hook,
        request: Request<Body>,
        request_id: &str,
    ) -> Result<bool, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::NotPost);
        }
        let deadline = Instant::now() + self.time_max;
        let (parts, body) = request.into_parts();
        let body = tokio::time::timeout_at(deadline, read(body)).await;
        let message = SignedMessage {
            timestamp: text(&parts.headers, TIMESTAMP),
            signature: text(&parts.headers, SIGNATURE),
            body: body.map_err(|_| Refusal::TooSlow)??.to_vec(),
        };
        let call = Call { hooks: self, request_id, deadline };
        let work = async {
            match hook {
                Hook::Whmcs(installation) => call.provider_message(installation, message).await,
                Hook::Payments => call.payment(message).await,
            }
        };
        let answer = tokio::time::timeout_at(deadline, work).await;
        Ok(answer.map_err(|_| Refusal::Unanswered)??)
    }
}

/// A header as it came; what is not there, or no text, is empty, and billing says so.
fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    // A sender that says its length first is answered before it sends the rest.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::TooLong);
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::TooLong),
        // The sender broke off; nobody reads this.
        Err(_) => Err(Refusal::TooSlow),
    }
}

/// One message on its way.
struct Call<'a> {
    hooks: &'a Hooks,
    request_id: &'a str,
    deadline: Instant,
}

impl Call<'_> {
    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let left = self.deadline.saturating_duration_since(Instant::now());
        request.set_timeout(left.saturating_sub(ANSWER_MARGIN));
        if let Ok(id) = MetadataValue::try_from(self.request_id) {
            request.metadata_mut().insert(REQUEST_ID_KEY, id);
        }
        request
    }

    async fn provider_message(
        &self,
        installation: String,
        message: SignedMessage,
    ) -> Result<bool, Status> {
        let mut billing = HookServiceClient::new(self.hooks.billing.clone());
        let message = Some(message);
        let request = self.request(TakeProviderMessageRequest { installation, message });
        Ok(billing.take_provider_message(request).await?.into_inner().repeated)
    }

    /// Billing knows customers who have ordered; of another, accounts is asked whether he is there.
    async fn payment(&self, message: SignedMessage) -> Result<bool, Status> {
        let refused = match self.take_payment(message.clone(), 0).await {
            Err(status) if reason_of(&status) == Some(ErrorReason::CustomerNotFound) => status,
            answer => return answer,
        };
        let customer = metadata_of(&refused, "customer_id").and_then(|id| id.parse().ok());
        let Some(customer) = customer.map(CustomerId) else { return Err(refused) };
        let mut accounts = CustomerServiceClient::new(self.hooks.accounts.clone());
        let request = GetCustomerRequest { name: name::customer(customer) };
        accounts.get_customer(self.request(request)).await?;
        self.take_payment(message, customer.0).await
    }

    async fn take_payment(
        &self,
        message: SignedMessage,
        known_customer_id: i64,
    ) -> Result<bool, Status> {
        let mut billing = HookServiceClient::new(self.hooks.billing.clone());
        let message = Some(message);
        let request = self.request(TakePaymentRequest { message, known_customer_id });
        Ok(billing.take_payment(request).await?.into_inner().repeated)
    }
}

/// Every refusal says why, and one that may be taken later when to come again.
fn refused(refusal: &Refusal, request_id: &str) -> Response {
    let status = status_of(refusal);
    let answer = Object::new().with("result", "refused");
    let answer = match refusal {
        Refusal::NotPost => answer.with("error", "method not allowed"),
        Refusal::TooLong => {
            answer.with("error", format!("the body is longer than {BODY_BYTES_MAX} bytes"))
        }
        Refusal::TooSlow => answer.with("error", "the request came too slowly"),
        Refusal::Refused(own) if !status.is_server_error() => {
            let reason = reason_of(own)
                .map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned());
            let fields: Vec<Json> = field_violations(own).into_iter().map(field).collect();
            let fields = (!fields.is_empty()).then_some(Json::List(fields));
            let error = own.message().to_owned();
            answer.with("error", error).maybe("reason", reason).maybe("fields", fields)
        }
        Refusal::Refused(_) | Refusal::Unanswered => {
            let error = match status {
                StatusCode::SERVICE_UNAVAILABLE => "it could not be taken now: send it again",
                _ => "internal error",
            };
            answer.with("error", error).with("request_id", request_id.to_owned())
        }
    };
    let mut response = json_response(status, &answer);
    let headers = response.headers_mut();
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    if matches!(refusal, Refusal::NotPost) {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn field((field, why): (String, String)) -> Json {
    Json::Object(Object::new().with("field", field).with("why", why))
}

fn status_of(refusal: &Refusal) -> StatusCode {
    let status = match refusal {
        Refusal::NotPost => return StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TooLong => return StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooSlow => return StatusCode::REQUEST_TIMEOUT,
        Refusal::Unanswered => return StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Refused(status) => status,
    };
    match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unauthenticated if reason_of(status) == Some(ErrorReason::SignatureInvalid) => {
            StatusCode::UNAUTHORIZED
        }
        // Away, or without an answer: a message is done once however often it comes.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        code => {
            let error = status.message();
            tracing::error!(grpc.code = ?code, error, "a message was not taken");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use stowage_runtime::status;

    use super::*;

    #[test]
    fn what_may_be_sent_again_says_when_and_nothing_tells_what_is_inside() {
        let own = |code, reason| Refusal::Refused(status(code, reason, "db at 10.0.0.1").build());
        use ErrorReason as R;
        for (refusal, expected, retry) in [
            (own(Code::Unauthenticated, R::SignatureInvalid), 401, false),
            (own(Code::Unauthenticated, R::TokenInvalid), 500, false),
            (own(Code::NotFound, R::HookNotFound), 404, false),
            (own(Code::InvalidArgument, R::InvalidField), 400, false),
            (own(Code::AlreadyExists, R::PaymentReferenceReused), 409, false),
            (own(Code::FailedPrecondition, R::PaymentTooHigh), 409, false),
            (own(Code::ResourceExhausted, R::RateLimited), 429, true),
            (own(Code::Unavailable, R::ProviderUnavailable), 503, true),
            (own(Code::Unknown, R::ConnectionBroken), 503, true),
            (own(Code::DeadlineExceeded, R::DeadlineExceeded), 503, true),
            (own(Code::Internal, R::Internal), 500, false),
            (Refusal::Unanswered, 503, true),
            (Refusal::TooLong, 413, false),
            (Refusal::TooSlow, 408, false),
            (Refusal::NotPost, 405, false),
        ] {
            let response = refused(&refusal, "r1");
            assert_eq!(response.status().as_u16(), expected, "{refusal:?}");
            assert_eq!(response.headers().contains_key("retry-after"), retry, "{refusal:?}");
        }
        let inside = own(Code::Internal, R::Internal);
        assert!(!status_of(&inside).is_success());
    }
}
