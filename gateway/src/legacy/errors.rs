//! Failures of the facade, and the one place where a role's status becomes one.
//!
//! The texts are the contract's, word for word; clients in the field compare them. A failure of
//! business is HTTP 200, so that nobody's client retries it in a storm. A 401 always means that
//! nothing was executed: clients log in again and resend, writes included.

use std::borrow::Cow;

use http::StatusCode;
use stowage_proto::common::ErrorReason;
use stowage_runtime::{field_violations, metadata_of, reason_of};
use tonic::{Code, Status};

use crate::json::Object;
use crate::limits::{Refused, Why};

/// The answer to a foreign and to a missing account: the same bytes.
pub(crate) const ACCOUNT_NOT_FOUND: &str = "S3 account not found for this customer";
pub(crate) const CUSTOMER_NOT_FOUND: &str = "customer not found";
pub(crate) const PLAN_NOT_FOUND: &str = "S3 plan not found";
pub(crate) const INVALID_TOKEN: &str = "invalid token";
pub(crate) const ACCESS_DENIED: &str = "access denied";
pub(crate) const INTERNAL: &str = "internal error";

/// Seconds to wait before a resend where a role does not say.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    /// `details.error`.
    pub(crate) detail: Option<Cow<'static, str>>,
    pub(crate) retry_after_seconds: Option<u32>,
    /// Methods allowed, where another one was used.
    pub(crate) allow: Option<&'static str>,
    /// The role's reason, for actions with wordings of their own.
    pub(crate) reason: Option<ErrorReason>,
    /// The role's `why`, in words for the customer.
    pub(crate) why: Option<String>,
    /// Whether the call may have been executed for all we know.
    pub(crate) is_unclear: bool,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            detail: None,
            retry_after_seconds: None,
            allow: None,
            reason: None,
            why: None,
            is_unclear: false,
        }
    }

    /// A failure of business.
    pub(crate) fn business(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::OK, message)
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub(crate) fn required(name: &str) -> Self {
        Self::business(format!("{name} required"))
    }

    pub(crate) fn invalid(name: &str, why: impl Into<Cow<'static, str>>) -> Self {
        Self::business(format!("{name} invalid")).with_detail(why)
    }

    pub(crate) fn account_not_found() -> Self {
        let mut failure = Self::business(ACCOUNT_NOT_FOUND);
        failure.reason = Some(ErrorReason::AccountNotFound);
        failure
    }

    pub(crate) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, INVALID_TOKEN)
    }

    /// A fault of ours.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
    }

    /// A role is away; nothing was executed, and a resend is safe.
    fn away() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service unavailable, try again later")
            .retry_after(RETRY_AFTER_SECONDS)
    }

    /// No answer came: who asked for a change must look before he asks again.
    pub(crate) fn unclear() -> Self {
        let mut failure =
            Self::business("the request takes longer than expected and may still be completed");
        failure.is_unclear = true;
        failure
    }

    /// Whether the role said that something is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        use ErrorReason as R;
        matches!(
            self.reason,
            Some(R::AccountNotFound | R::PlanNotFound | R::MeterNotFound | R::BucketNotFound)
        )
    }

    /// The envelope. A fault of ours names the request, so that it can be found in the log.
    pub(crate) fn envelope(&self, request_id: &str) -> Object {
        let envelope = Object::new()
            .with("code", -1)
            .with("message", self.message.clone().into_owned())
            .with("result", -1)
            .with("error", self.message.clone().into_owned());
        let request_id = self.status.is_server_error().then(|| request_id.to_owned());
        if self.detail.is_none() && request_id.is_none() {
            return envelope;
        }
        let details = Object::new()
            .maybe("error", self.detail.clone().map(Cow::into_owned))
            .maybe("request_id", request_id);
        envelope.with("details", details)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = reason_of(&status);
        let mut failure = match status.code() {
            Code::Unauthenticated => Self::invalid_token(),
            _ if is_unclear(&status, reason) => Self::unclear(),
            Code::Unavailable => Self::away(),
            Code::PermissionDenied => Self::business(ACCESS_DENIED),
            Code::InvalidArgument => invalid_argument(&status, reason),
            Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange => business(&status, reason),
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Internal
            | Code::DataLoss
            | Code::Unimplemented => {
                tracing::error!(
                    grpc.code = ?status.code(),
                    error = %status.message(),
                    "a role failed"
                );
                Self::internal()
            }
        };
        failure.reason = reason;
        failure.why = metadata_of(&status, "why");
        failure
    }
}

impl From<Refused> for Failure {
    fn from(refusal: Refused) -> Self {
        let status = match refusal.why {
            Why::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Why::Address | Why::Token | Why::Login => StatusCode::TOO_MANY_REQUESTS,
        };
        Self::new(status, refusal.message()).retry_after(refusal.wait_seconds())
    }
}

/// Whether a call ended without an answer: by its deadline, or with its connection. A status that
/// a role sent has no source; one that a transport made has. `UNAVAILABLE` is never unclear: who
/// calls a role elsewhere says it only where the call did not begin.
fn is_unclear(status: &Status, reason: Option<ErrorReason>) -> bool {
    let is_broken = match reason {
        Some(reason) => reason == ErrorReason::ConnectionBroken,
        None => std::error::Error::source(status).is_some(),
    };
    match status.code() {
        Code::Unavailable => false,
        Code::DeadlineExceeded | Code::Cancelled => true,
        _ => is_broken,
    }
}

fn business(status: &Status, reason: Option<ErrorReason>) -> Failure {
    use ErrorReason as R;
    match reason {
        Some(R::AccountNotFound | R::MeterNotFound) => Failure::business(ACCOUNT_NOT_FOUND),
        Some(R::CustomerNotFound) => Failure::business(CUSTOMER_NOT_FOUND),
        Some(R::PlanNotFound) => Failure::business(PLAN_NOT_FOUND),
        Some(R::LocationNotFound) => Failure::business("location not found"),
        Some(R::BucketNotFound) => Failure::business("bucket not found"),
        Some(R::RequestIdReused) => {
            Failure::new(StatusCode::CONFLICT, "the idempotency key was used for another request")
        }
        Some(R::RequestInProgress) => {
            Failure::new(StatusCode::CONFLICT, "the same request is still running")
                .retry_after(RETRY_AFTER_SECONDS)
        }
        Some(R::RateLimited) => too_many(),
        Some(_) => Failure::business(status.message().to_owned()),
        // A layer that limits rates may name no reason; nothing was executed.
        None if status.code() == Code::ResourceExhausted => too_many(),
        None => Failure::business("request refused"),
    }
}

fn too_many() -> Failure {
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
        .retry_after(RETRY_AFTER_SECONDS)
}

fn invalid_argument(status: &Status, reason: Option<ErrorReason>) -> Failure {
    if reason == Some(ErrorReason::PageTokenInvalid) {
        return Failure::invalid("continuation_token", status.message().to_owned());
    }
    match field_violations(status).into_iter().next() {
        Some((field, why)) => Failure::invalid(parameter_of(&field), why),
        None => Failure::business("request invalid").with_detail(status.message().to_owned()),
    }
}

/// The facade's name of a field of a request to a role.
fn parameter_of(field: &str) -> &str {
    match field {
        "plan" => "plan_id",
        "bucket" => "bucket_name",
        "name" | "parent" | "account" => "s3uid",
        "key" => "filename",
        "api_key" => "key",
        "page_token" => "continuation_token",
        "page_size" => "limit",
        "skip" => "offset",
        "from_time" => "period_from",
        "to_time" => "period_to",
        "request_id" => "idempotency_key",
        other => other,
    }
}

/// Gives a failure the wording of its action. One that only reads is safe to send again, whatever
/// became of the call.
pub(crate) fn reword(action: &str, writes: bool, mut failure: Failure) -> Failure {
    use ErrorReason as R;
    if failure.is_unclear && !writes {
        return Failure::away();
    }
    let account_is_missing = matches!(failure.reason, Some(R::AccountNotFound | R::MeterNotFound));
    match action {
        "get_buckets" if account_is_missing => {
            failure.message = format!("Load bucket error: {ACCOUNT_NOT_FOUND}").into();
        }
        "show_key" if account_is_missing => {
            failure.message = "s3/show_key: customer not found".into();
            failure.detail = Some(ACCOUNT_NOT_FOUND.into());
        }
        "delete_bucket"
            if matches!(failure.reason, Some(R::BucketNotFound | R::BucketNotEmpty)) =>
        {
            failure.message = "Delete S3 bucket error: Bucket not empty or access denied".into();
        }
        "create_order" | "create_account"
            if matches!(
                failure.reason,
                Some(R::BucketCreationFailed | R::BucketNameTaken | R::BucketLimit)
            ) =>
        {
            let why = failure.why.clone().unwrap_or_else(|| failure.message.to_string());
            failure.message = if action == "create_order" {
                format!(
                    "S3 account was being created, but a bucket creation error occurred - {why}"
                )
            } else {
                format!(
                    "S3 account was being created, however a bucket creation error occurred - \
                     {why}. Please notify the administrator."
                )
            }
            .into();
        }
        _ => {}
    }
    failure
}

#[cfg(test)]
mod tests {
    use stowage_runtime::status;

    use super::*;

    fn failed(action: &str, code: Code, reason: ErrorReason, message: &str) -> Failure {
        let status = status(code, reason, message).meta("why", "taken").build();
        reword(action, true, Failure::from(status))
    }

    fn text(failure: &Failure) -> String {
        String::from_utf8(failure.envelope("r1").to_bytes()).unwrap()
    }

    #[test]
    fn the_envelope_is_the_contracts() {
        let failure = Failure::business("action required");
        assert_eq!(
            text(&failure),
            r#"{"code":-1,"message":"action required","result":-1,"error":"action required"}"#
        );
        let invalid = text(&Failure::invalid("page", "is odd"));
        assert!(invalid.ends_with(r#","details":{"error":"is odd"}}"#), "{invalid}");
    }

    #[test]
    fn the_reference_texts_are_word_for_word() {
        use ErrorReason as R;
        let missing = ACCOUNT_NOT_FOUND;
        for (action, code, reason, message) in [
            ("create_bucket", Code::NotFound, R::AccountNotFound, missing),
            ("get_buckets_rmq", Code::NotFound, R::AccountNotFound, missing),
            ("get_buckets_rmq", Code::NotFound, R::MeterNotFound, missing),
            ("delete_bucket", Code::NotFound, R::AccountNotFound, missing),
            (
                "get_buckets",
                Code::NotFound,
                R::AccountNotFound,
                "Load bucket error: S3 account not found for this customer",
            ),
            ("show_key", Code::NotFound, R::AccountNotFound, "s3/show_key: customer not found"),
            (
                "delete_bucket",
                Code::FailedPrecondition,
                R::BucketNotEmpty,
                "Delete S3 bucket error: Bucket not empty or access denied",
            ),
            (
                "create_order",
                Code::FailedPrecondition,
                R::BucketCreationFailed,
                "S3 account was being created, but a bucket creation error occurred - taken",
            ),
            (
                "create_account",
                Code::AlreadyExists,
                R::BucketNameTaken,
                "S3 account was being created, however a bucket creation error occurred - taken. \
                 Please notify the administrator.",
            ),
            ("history", Code::NotFound, R::PlanNotFound, "S3 plan not found"),
            ("get_users", Code::NotFound, R::CustomerNotFound, "customer not found"),
            ("delete_file", Code::PermissionDenied, R::RoleNotAllowed, "access denied"),
            ("delete_account", Code::FailedPrecondition, R::AccountState, "as the role says"),
        ] {
            let failure = failed(action, code, reason, "as the role says");
            assert_eq!(failure.message, message, "{action} {reason:?}");
            assert_eq!(failure.status, StatusCode::OK, "{action} {reason:?}");
        }
        let failure = failed("show_key", Code::NotFound, ErrorReason::AccountNotFound, "x");
        assert_eq!(failure.detail.as_deref(), Some(ACCOUNT_NOT_FOUND));
    }

    #[test]
    fn only_a_bad_token_is_401_and_internals_stay_inside() {
        for (code, status, retry) in [
            (Code::Unauthenticated, 401, false),
            (Code::Unavailable, 503, true),
            (Code::Cancelled, 200, false),
            (Code::Internal, 500, false),
            (Code::Unknown, 500, false),
            (Code::DataLoss, 500, false),
            (Code::ResourceExhausted, 429, true),
            (Code::DeadlineExceeded, 200, false),
            (Code::FailedPrecondition, 200, false),
        ] {
            let failure = Failure::from(Status::new(code, "db at 10.0.0.1 is away"));
            assert_eq!(failure.status.as_u16(), status, "{code:?}");
            assert_eq!(failure.retry_after_seconds.is_some(), retry, "{code:?}");
            assert!(!text(&failure).contains("10.0.0.1"), "{code:?}");
        }
        let broken = || Failure::from(Status::from_error("connection reset".into()));
        assert_eq!(reword("x", true, broken()).status, StatusCode::OK);
        assert_eq!(reword("x", false, broken()).status, StatusCode::SERVICE_UNAVAILABLE);
        let reused = failed("x", Code::AlreadyExists, ErrorReason::RequestIdReused, "");
        let running = failed("x", Code::Aborted, ErrorReason::RequestInProgress, "");
        assert_eq!((reused.status.as_u16(), running.status.as_u16()), (409, 409));
        assert_eq!((reused.retry_after_seconds, running.retry_after_seconds), (None, Some(1)));
    }
}
