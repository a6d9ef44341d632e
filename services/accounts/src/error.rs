//! What a call to accounts can come to, and its one form on the wire.

use std::time::Duration;

use stowage_bus::ReplayError;
use stowage_proto::common::ErrorReason;
use stowage_runtime::{BoxError, invalid, status};
use stowage_types::Violations;
use tonic::{Code, Status};

/// When to come back after something was away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// An error of this role. `Display` is public.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong.
    #[error("{0}")]
    InvalidFields(Violations),
    /// The page token is not one of ours, or belongs to another listing.
    #[error("the page token is not one of this listing")]
    PageTokenInvalid,
    /// The request id stands in the way, or its answer could not be stored.
    #[error(transparent)]
    Request(#[from] stowage_request::Error),
    /// No such customer, or not visible.
    #[error("customer not found")]
    CustomerNotFound,
    /// Another customer has the address.
    #[error("a customer has that mail address")]
    EmailTaken,
    /// No such API key.
    #[error("API key not found")]
    ApiKeyNotFound,
    /// The API key is unknown or revoked.
    #[error("invalid API key")]
    ApiKeyInvalid,
    /// The token is unknown, expired, or used from another address.
    #[error("invalid token")]
    TokenInvalid,
    /// The principal may not do that.
    #[error("the role may not {what}")]
    RoleNotAllowed {
        /// Verb phrase.
        what: &'static str,
    },
    /// Absent, deleted, failed or of another customer: one and the same.
    #[error("S3 account not found for this customer")]
    AccountNotFound,
    /// The state of the account does not allow it.
    #[error("the account is {state}")]
    AccountState {
        /// `PENDING`, `DELETING` …
        state: &'static str,
        /// What was not allowed: `rotate_key`.
        action: &'static str,
    },
    /// A pair above those that may work at the same time.
    #[error(
        "the account has {max} keys and may have no more: revoke one, or wait for the end of one"
    )]
    TooManyKeys {
        /// How many.
        max: i32,
    },
    /// No webhook of that name is configured.
    #[error("no webhook of that name is configured")]
    WebhookNotFound,
    /// There is no such delivery, or it ended long ago.
    #[error("there is no such delivery, or it ended long ago")]
    WebhookDeliveryNotFound,
    /// Another change of the account does not end.
    #[error("another change of the account is under way and does not end")]
    AccountBusy,
    /// The account is being moved.
    #[error("the account is being moved; try again when that has ended")]
    AccountMoving,
    /// It is not being moved.
    #[error("the account is not being moved")]
    AccountMoveNotFound,
    /// Its move is too far for this, or not far enough.
    #[error("the move of the account is {state}")]
    AccountMoveState {
        /// `SWITCHED` or `NOT_SWITCHED`.
        state: &'static str,
    },
    /// Who is at an engine cannot become this account.
    #[error("this cannot become an account: {why}")]
    AdoptionRefused {
        /// For the operator.
        why: String,
    },
    /// A change was undone.
    #[error("the change failed, and all is as before: {why}")]
    ChangeFailed {
        /// Name of the saga's step.
        step: String,
        /// For the customer.
        why: String,
    },
    /// The account has no such key pair.
    #[error("access key not found")]
    AccessKeyNotFound,
    /// The plan differs in what a change cannot change.
    #[error("the plan has another {what}")]
    PlanMismatch {
        /// `location`, `storage_type` …
        what: String,
    },
    /// The order was undone, or not begun, since its bucket cannot be made.
    #[error("the bucket could not be created: {why}")]
    BucketCreationFailed {
        /// For the customer.
        why: String,
    },
    /// The order was undone for another reason.
    #[error("the order failed: {why}")]
    OrderFailed {
        /// Name of the saga's step.
        step: String,
        /// For the customer.
        why: String,
    },
    /// Another role refused, for a reason that this role's contract passes on.
    #[error("{message}")]
    Refused {
        /// Its code.
        code: Code,
        /// Its reason.
        reason: ErrorReason,
        /// Its text.
        message: String,
    },
    /// What became of a dead letter.
    #[error(transparent)]
    Letter(ReplayError),
    /// No such saga.
    #[error("saga not found")]
    SagaNotFound,
    /// It has ended: nothing to try again, nothing to turn back.
    #[error("the saga has ended: it is {status}")]
    SagaEnded {
        /// `completed` or `undone`.
        status: &'static str,
    },
    /// It has no way back.
    #[error("a saga of kind {kind} is never undone; it can only be tried again")]
    SagaForwardOnly {
        /// Its kind.
        kind: &'static str,
    },
    /// This program cannot go on with it.
    #[error("this version of the program does not know sagas of kind {kind}")]
    SagaKindUnknown {
        /// Its kind.
        kind: String,
    },
    /// The caller stopped waiting; the work goes on.
    #[error("the deadline has passed; the work goes on")]
    DeadlineExceeded,
    /// The keyring has no such master key.
    #[error("there is no master key {version}")]
    MasterKeyNotFound {
        /// The version.
        version: u32,
    },
    /// A role has records under it, or may still seal some.
    #[error("master key {version} is needed: {why}")]
    MasterKeyInUse {
        /// The version.
        version: u32,
        /// By what.
        why: String,
    },
    /// A record is sealed under a master key that the keyring has not.
    #[error("a secret is sealed under master key {version}, which the keyring has not")]
    MasterKeyLost {
        /// The version.
        version: u32,
    },
    /// The master keys are not in a file that this process may write.
    #[error("the server cannot change the master keys: {why}")]
    KeyringReadOnly {
        /// Where they are.
        why: String,
    },
    /// It holds as many master keys as it may.
    #[error("the keyring is full")]
    KeyringFull,
    /// The database, or another role, is away.
    #[error("accounts is unavailable at present")]
    Unavailable {
        /// Why.
        source: BoxError,
    },
    /// The database did not say whether a commit was stored.
    #[error("the answer of the database was lost; the call may have been executed")]
    Unclear {
        /// What the database's driver said.
        source: BoxError,
    },
    /// A fault of ours.
    #[error("internal error")]
    Internal {
        /// What it was.
        source: BoxError,
    },
}

impl Error {
    /// A fault of ours.
    pub(crate) fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal { source: source.into() }
    }

    /// One bad field.
    pub(crate) fn field(field: &str, why: &str) -> Self {
        Self::InvalidFields(Violations::of(field, why))
    }

    fn code_and_reason(&self) -> (Code, ErrorReason) {
        use ErrorReason as Reason;
        match self {
            Self::InvalidFields(_) => (Code::InvalidArgument, Reason::InvalidField),
            Self::PageTokenInvalid => (Code::InvalidArgument, Reason::PageTokenInvalid),
            Self::CustomerNotFound => (Code::NotFound, Reason::CustomerNotFound),
            Self::EmailTaken => (Code::AlreadyExists, Reason::EmailTaken),
            Self::ApiKeyNotFound => (Code::NotFound, Reason::ApiKeyNotFound),
            Self::ApiKeyInvalid => (Code::Unauthenticated, Reason::ApiKeyInvalid),
            Self::TokenInvalid => (Code::Unauthenticated, Reason::TokenInvalid),
            Self::RoleNotAllowed { .. } => (Code::PermissionDenied, Reason::RoleNotAllowed),
            Self::AccountNotFound => (Code::NotFound, Reason::AccountNotFound),
            Self::AccountState { .. } => (Code::FailedPrecondition, Reason::AccountState),
            Self::TooManyKeys { .. } => (Code::FailedPrecondition, Reason::TooManyKeys),
            Self::WebhookNotFound => (Code::NotFound, Reason::WebhookNotFound),
            Self::WebhookDeliveryNotFound => (Code::NotFound, Reason::WebhookDeliveryNotFound),
            Self::AccountBusy => (Code::Aborted, Reason::AccountBusy),
            Self::AccountMoving => (Code::FailedPrecondition, Reason::AccountMoving),
            Self::AccountMoveNotFound => (Code::NotFound, Reason::AccountMoveNotFound),
            Self::AccountMoveState { .. } => (Code::FailedPrecondition, Reason::AccountMoveState),
            Self::AdoptionRefused { .. } => (Code::FailedPrecondition, Reason::AdoptionRefused),
            Self::ChangeFailed { .. } => (Code::FailedPrecondition, Reason::ChangeFailed),
            Self::AccessKeyNotFound => (Code::NotFound, Reason::AccessKeyNotFound),
            Self::PlanMismatch { .. } => (Code::FailedPrecondition, Reason::PlanMismatch),
            Self::BucketCreationFailed { .. } => {
                (Code::FailedPrecondition, Reason::BucketCreationFailed)
            }
            Self::OrderFailed { .. } => (Code::FailedPrecondition, Reason::OrderFailed),
            Self::Refused { code, reason, .. } => (*code, *reason),
            Self::SagaNotFound => (Code::NotFound, Reason::SagaNotFound),
            Self::SagaEnded { .. } => (Code::FailedPrecondition, Reason::SagaEnded),
            Self::SagaForwardOnly { .. } => (Code::FailedPrecondition, Reason::SagaForwardOnly),
            Self::SagaKindUnknown { .. } => (Code::FailedPrecondition, Reason::SagaKindUnknown),
            Self::MasterKeyNotFound { .. } => (Code::NotFound, Reason::MasterKeyNotFound),
            Self::MasterKeyInUse { .. } => (Code::FailedPrecondition, Reason::MasterKeyInUse),
            Self::MasterKeyLost { .. } => (Code::DataLoss, Reason::MasterKeyLost),
            Self::KeyringReadOnly { .. } => (Code::FailedPrecondition, Reason::KeyringReadOnly),
            Self::KeyringFull => (Code::ResourceExhausted, Reason::KeyringFull),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, Reason::DeadlineExceeded),
            Self::Unavailable { .. } => (Code::Unavailable, Reason::Unavailable),
            Self::Unclear { .. } => (Code::Unknown, Reason::ConnectionBroken),
            // A request's error knows its own form.
            Self::Request(_) | Self::Letter(_) | Self::Internal { .. } => {
                (Code::Internal, Reason::Internal)
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::InvalidFields(violations) = &error {
            return invalid(violations);
        }
        let error = match error {
            Error::Request(error) => return error.into(),
            Error::Letter(error) => return error.into(),
            error => error,
        };
        let (code, reason) = error.code_and_reason();
        let builder = status(code, reason, error.to_string());
        match error {
            Error::AccountState { state, action } => {
                builder.meta("state", state).meta("action", action)
            }
            Error::TooManyKeys { max } => builder.meta("max", max.to_string()),
            Error::AccountMoveState { state } => builder.meta("state", state),
            Error::AccountBusy => builder.retry_after(RETRY_AFTER),
            Error::ChangeFailed { step, why } => builder.meta("step", step).meta("why", why),
            Error::PlanMismatch { what } => builder.meta("what", what),
            Error::BucketCreationFailed { why } | Error::AdoptionRefused { why } => {
                builder.meta("why", why)
            }
            Error::OrderFailed { step, why } => builder.meta("step", step).meta("why", why),
            Error::SagaEnded { status } => builder.meta("status", status),
            Error::SagaForwardOnly { kind } => builder.meta("kind", kind),
            Error::SagaKindUnknown { kind } => builder.meta("kind", kind),
            Error::MasterKeyInUse { why, .. } | Error::KeyringReadOnly { why } => {
                builder.meta("why", why)
            }
            Error::MasterKeyLost { version } => {
                tracing::error!(version, "a secret is sealed under a master key that is not there");
                builder.meta("version", version.to_string())
            }
            Error::Unavailable { source } => {
                tracing::warn!(error = %source, "a call found something unavailable");
                builder.retry_after(RETRY_AFTER).source(source)
            }
            Error::Unclear { source } => {
                tracing::warn!(error = %source, "nobody knows whether a commit was stored");
                builder.source(source)
            }
            Error::Internal { source } => {
                tracing::error!(error = %source, "a call failed by a fault of ours");
                builder.source(source)
            }
            _ => builder,
        }
        .build()
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::InvalidFields(violations)
    }
}

impl From<stowage_db::Error> for Error {
    fn from(error: stowage_db::Error) -> Self {
        match error {
            stowage_db::Error::Full | stowage_db::Error::Unavailable { .. } => {
                Self::Unavailable { source: error.into() }
            }
            stowage_db::Error::Unclear { .. } => Self::Unclear { source: error.into() },
            stowage_db::Error::Nul => Violations::nul().into(),
            _ => Self::internal(error),
        }
    }
}

impl From<stowage_saga::Error> for Error {
    fn from(error: stowage_saga::Error) -> Self {
        match error {
            stowage_saga::Error::Db(error) => error.into(),
            _ => Self::internal(error),
        }
    }
}

impl From<stowage_keyring::Error> for Error {
    fn from(error: stowage_keyring::Error) -> Self {
        match error {
            stowage_keyring::Error::UnknownVersion { version } => Self::MasterKeyLost { version },
            stowage_keyring::Error::Full => Self::KeyringFull,
            error => Self::internal(error),
        }
    }
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Db(error) => error.into(),
            other => Self::Letter(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use stowage_runtime::{metadata_of, reason_of};

    use super::*;

    #[test]
    fn every_variant_of_customers_has_its_code_and_reason() {
        use ErrorReason as R;
        let wrong_state = Code::FailedPrecondition;
        let why = || "w".to_owned();
        let refused =
            Error::Refused { code: Code::NotFound, reason: R::PlanNotFound, message: why() };
        let cases = [
            (Error::field("f", "is bad"), Code::InvalidArgument, R::InvalidField),
            (Error::PageTokenInvalid, Code::InvalidArgument, R::PageTokenInvalid),
            (stowage_request::Error::Reused.into(), Code::AlreadyExists, R::RequestIdReused),
            (Error::CustomerNotFound, Code::NotFound, R::CustomerNotFound),
            (Error::EmailTaken, Code::AlreadyExists, R::EmailTaken),
            (Error::ApiKeyNotFound, Code::NotFound, R::ApiKeyNotFound),
            (Error::ApiKeyInvalid, Code::Unauthenticated, R::ApiKeyInvalid),
            (Error::TokenInvalid, Code::Unauthenticated, R::TokenInvalid),
            (Error::RoleNotAllowed { what: "x" }, Code::PermissionDenied, R::RoleNotAllowed),
            (Error::AccountNotFound, Code::NotFound, R::AccountNotFound),
            (
                Error::AccountState { state: "PENDING", action: "delete" },
                Code::FailedPrecondition,
                R::AccountState,
            ),
            (Error::TooManyKeys { max: 2 }, Code::FailedPrecondition, R::TooManyKeys),
            (Error::WebhookNotFound, Code::NotFound, R::WebhookNotFound),
            (Error::WebhookDeliveryNotFound, Code::NotFound, R::WebhookDeliveryNotFound),
            (Error::AccountMoving, Code::FailedPrecondition, R::AccountMoving),
            (Error::AccountMoveNotFound, Code::NotFound, R::AccountMoveNotFound),
            (
                Error::AccountMoveState { state: "SWITCHED" },
                Code::FailedPrecondition,
                R::AccountMoveState,
            ),
            (Error::AccountBusy, Code::Aborted, R::AccountBusy),
            (
                Error::ChangeFailed { step: "s".into(), why: "w".into() },
                Code::FailedPrecondition,
                R::ChangeFailed,
            ),
            (Error::AccessKeyNotFound, Code::NotFound, R::AccessKeyNotFound),
            (
                Error::PlanMismatch { what: "location".into() },
                Code::FailedPrecondition,
                R::PlanMismatch,
            ),
            (
                Error::BucketCreationFailed { why: why() },
                Code::FailedPrecondition,
                R::BucketCreationFailed,
            ),
            (Error::OrderFailed { step: why(), why: why() }, wrong_state, R::OrderFailed),
            (refused, Code::NotFound, R::PlanNotFound),
        ];
        assert_told(cases);
    }

    #[test]
    fn every_variant_of_operators_and_of_the_machine_has_its_code_and_reason() {
        use ErrorReason as R;
        let wrong_state = Code::FailedPrecondition;
        let why = || "w".to_owned();
        let cases = [
            (Error::SagaNotFound, Code::NotFound, R::SagaNotFound),
            (Error::SagaEnded { status: "undone" }, Code::FailedPrecondition, R::SagaEnded),
            (Error::SagaForwardOnly { kind: "k" }, Code::FailedPrecondition, R::SagaForwardOnly),
            (Error::SagaKindUnknown { kind: why() }, Code::FailedPrecondition, R::SagaKindUnknown),
            (Error::MasterKeyNotFound { version: 1 }, Code::NotFound, R::MasterKeyNotFound),
            (Error::MasterKeyInUse { version: 1, why: why() }, wrong_state, R::MasterKeyInUse),
            (Error::MasterKeyLost { version: 1 }, Code::DataLoss, R::MasterKeyLost),
            (Error::KeyringReadOnly { why: why() }, Code::FailedPrecondition, R::KeyringReadOnly),
            (Error::KeyringFull, Code::ResourceExhausted, R::KeyringFull),
            (Error::DeadlineExceeded, Code::DeadlineExceeded, R::DeadlineExceeded),
            (Error::Unavailable { source: why().into() }, Code::Unavailable, R::Unavailable),
            (stowage_db::Error::Nul.into(), Code::InvalidArgument, R::InvalidField),
            (
                stowage_db::Error::Unclear { source: None }.into(),
                Code::Unknown,
                R::ConnectionBroken,
            ),
            (Error::internal(why()), Code::Internal, R::Internal),
        ];
        assert_told(cases);
    }

    fn assert_told(cases: impl IntoIterator<Item = (Error, Code, ErrorReason)>) {
        for (error, code, reason) in cases {
            let name = format!("{error:?}");
            let status = Status::from(error);
            assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{name}");
        }
    }

    #[test]
    fn what_varies_is_in_the_metadata_and_causes_are_not_sent() {
        let failed = Error::OrderFailed { step: "place_order".into(), why: "no credit".into() };
        let status = Status::from(failed);
        assert_eq!(metadata_of(&status, "step").as_deref(), Some("place_order"));
        assert_eq!(metadata_of(&status, "why").as_deref(), Some("no credit"));
        let status = Status::from(Error::internal("SELECT secret"));
        assert_eq!(status.message(), "internal error");
    }
}
