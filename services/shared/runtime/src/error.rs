//! The one form of an error on the wire: a code, a message for people, and `ErrorInfo` for
//! programs, with a reason of `ErrorReason`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stowage_proto::common::ErrorReason;
use stowage_types::Violations;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::BoxError;

/// `ErrorInfo.domain` of every error of ours.
pub const ERROR_DOMAIN: &str = "stowage";

const REASON_PREFIX: &str = "ERROR_REASON_";

/// A status being put together.
#[derive(Debug)]
pub struct StatusBuilder {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

/// Begins a status. `message` is public: lower case, no full stop, no SQL, host or secret.
pub fn status(code: Code, reason: ErrorReason, message: impl Into<String>) -> StatusBuilder {
    StatusBuilder {
        code,
        reason,
        message: message.into(),
        metadata: HashMap::new(),
        retry_after: None,
        source: None,
    }
}

impl StatusBuilder {
    /// Adds what varies in the message, for programs.
    #[must_use]
    pub fn meta(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Keeps the cause, for the log; it is never sent.
    #[must_use]
    pub fn source(mut self, cause: impl Into<BoxError>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// The status.
    #[must_use]
    pub fn build(self) -> Status {
        let reason = self.reason.as_str_name().trim_start_matches(REASON_PREFIX);
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, self.metadata);
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        let mut status = Status::with_error_details(self.code, self.message, details);
        if let Some(cause) = self.source {
            status.set_source(Arc::from(cause));
        }
        status
    }
}

/// `INVALID_ARGUMENT` with every bad field; the message names them too.
#[must_use]
pub fn invalid(violations: &Violations) -> Status {
    let reason = ErrorReason::InvalidField.as_str_name().trim_start_matches(REASON_PREFIX);
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    for (field, why) in violations.iter() {
        details.add_bad_request_violation(field, why);
    }
    Status::with_error_details(Code::InvalidArgument, violations.to_string(), details)
}

/// The reason of an error of ours.
#[must_use]
pub fn reason_of(status: &Status) -> Option<ErrorReason> {
    let info = status.get_details_error_info()?;
    if info.domain != ERROR_DOMAIN {
        return None;
    }
    ErrorReason::from_str_name(&format!("{REASON_PREFIX}{}", info.reason))
}

/// One value of the error's metadata.
#[must_use]
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(key).cloned()
}

/// The bad fields of an `INVALID_ARGUMENT`, each with what is wrong.
#[must_use]
pub fn field_violations(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
    violations.unwrap_or_default().into_iter().map(|v| (v.field, v.description)).collect()
}

/// Whether the same call may do better later, or its outcome is unclear.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::Unknown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_read_back() {
        let status = status(Code::AlreadyExists, ErrorReason::BucketNameTaken, "taken")
            .meta("bucket", "photos")
            .source("cause")
            .build();
        assert_eq!(reason_of(&status), Some(ErrorReason::BucketNameTaken));
        assert_eq!(metadata_of(&status, "bucket").as_deref(), Some("photos"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("BUCKET_NAME_TAKEN", "stowage"));
    }

    #[test]
    fn all_bad_fields_are_told() {
        let mut violations = Violations::default();
        violations.push("email", "is empty");
        violations.push("currency", "is unknown");
        let status = invalid(&violations);
        assert_eq!(status.message(), "email is empty; currency is unknown");
        assert_eq!(field_violations(&status).len(), 2);
    }
}
