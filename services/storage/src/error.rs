//! Why a call of this role fails, and what it then answers.

use std::time::Duration;

use stowage_engine::BoxError;
use stowage_proto::common::ErrorReason;
use stowage_types::Violations;
use tonic::{Code, Status};

/// When a caller should try again while an engine or the database is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A failed call. `Display` is public.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields that are wrong.
    #[error("invalid request: {0}")]
    Invalid(Violations),
    /// The request id stands in the way, or its answer could not be stored.
    #[error(transparent)]
    Request(#[from] stowage_request::Error),
    /// The page token is not of this listing.
    #[error("page token is not one of this listing")]
    PageTokenInvalid,
    /// No such account, or another's: callers cannot tell the two apart.
    #[error("S3 account not found for this customer")]
    AccountNotFound,
    /// The account was removed, is being removed, or is suspended or read-only.
    #[error("the account is {state}")]
    AccountState {
        /// `REMOVING`, `REMOVED`, `SUSPENDED` or `READ_ONLY`.
        state: &'static str,
    },
    /// The account is compared with its copy at another location, or is being moved already.
    #[error("the account is being moved; try again when that has ended, or cancel it")]
    AccountMoving,
    /// The account cannot be moved, or not at present.
    #[error("the account cannot be moved: {why}")]
    AccountMoveRefused {
        /// All that is in the way.
        why: String,
    },
    /// No such move.
    #[error("no such move of an account")]
    AccountMoveNotFound,
    /// The move is not there yet, or not any more.
    #[error("the move of the account is {state}")]
    AccountMoveState {
        /// `COPYING`.
        state: &'static str,
    },
    /// Nobody at the engine has the name, or who has it is an account.
    #[error("nobody at the engine has that name without being an account")]
    ForeignAccountNotFound,
    /// Who is at the engine cannot become this account.
    #[error("this cannot become an account: {why}")]
    AdoptionRefused {
        /// For the operator.
        why: String,
    },
    /// No such location, or not shown to customers.
    #[error("location not found")]
    LocationNotFound,
    /// The location takes no new accounts.
    #[error("location {location} takes no orders at present")]
    LocationClosed {
        /// Its code.
        location: String,
    },
    /// The code of a location is in use.
    #[error("location {location} is there already, {what}")]
    LocationExists {
        /// Its code.
        location: String,
        /// `with other settings`.
        what: &'static str,
    },
    /// What was asked of a location is a matter of the configuration.
    #[error("location {location}: {why}")]
    LocationConfigured {
        /// Its code.
        location: String,
        /// For the operator.
        why: &'static str,
    },
    /// Something is at the location still.
    #[error("location {location} is not empty: {why}")]
    LocationNotEmpty {
        /// Its code.
        location: String,
        /// All that is there.
        why: String,
    },
    /// Another has changed the location in this moment.
    #[error("location {location} was changed by another in this moment; look, and try again")]
    LocationChanged {
        /// Its code.
        location: String,
    },
    /// Another account has a bucket of that name.
    #[error("bucket name {bucket} is taken")]
    BucketNameTaken {
        /// The name.
        bucket: String,
    },
    /// No such bucket in this account.
    #[error("bucket {bucket} not found")]
    BucketNotFound {
        /// The name.
        bucket: String,
    },
    /// The bucket, or a bucket of the account, holds objects.
    #[error("bucket not empty")]
    BucketNotEmpty,
    /// No such deletion of a bucket in this account.
    #[error("deletion of a bucket not found")]
    BucketDeletionNotFound,
    /// The deletion has ended.
    #[error("the deletion of the bucket is {state}")]
    BucketDeletionState {
        /// `DONE`, `CANCELLED` or `FAILED`.
        state: &'static str,
    },
    /// The account has as many buckets as it may have.
    #[error("the account has as many buckets as its plan allows")]
    BucketLimit,
    /// The bytes would exceed the quota.
    #[error("the quota of the account is exceeded")]
    QuotaExceeded,
    /// The engine cannot do this.
    #[error("the storage engine of this location cannot do this")]
    EngineUnsupported,
    /// The engine does not answer, or refuses us.
    #[error("the storage engine is unavailable")]
    EngineUnavailable {
        /// The cause, for logs.
        source: BoxError,
    },
    /// The database does not answer, or is full.
    #[error("storage is unavailable at present")]
    Unavailable {
        /// The cause, for logs.
        source: stowage_db::Error,
    },
    /// The database did not say whether a commit was stored.
    #[error("the answer of the database was lost; the call may have been executed")]
    Unclear {
        /// The cause, for logs.
        source: stowage_db::Error,
    },
    /// A change of a bucket was turned back.
    #[error("the change failed, and all is as before: {why}")]
    ChangeFailed {
        /// Name of the saga's step.
        step: String,
        /// For the customer.
        why: String,
    },
    /// The principal may not do that.
    #[error("the role may not {what}")]
    RoleNotAllowed {
        /// Verb phrase.
        what: &'static str,
    },
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
    /// A fault of ours.
    #[error("internal error")]
    Internal {
        /// The cause, for logs.
        source: BoxError,
    },
}

impl Error {
    /// One bad field.
    pub(crate) fn field(field: &str, why: impl Into<String>) -> Self {
        Self::Invalid(Violations::of(field, why))
    }

    /// A fault of ours.
    pub(crate) fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal { source: source.into() }
    }

    /// What programs tell it by.
    pub(crate) fn reason(&self) -> ErrorReason {
        self.code_and_reason().1
    }

    /// The code and reason a caller gets.
    fn code_and_reason(&self) -> (Code, ErrorReason) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, ErrorReason::InvalidField),
            Self::PageTokenInvalid => (Code::InvalidArgument, ErrorReason::PageTokenInvalid),
            Self::AccountNotFound => (Code::NotFound, ErrorReason::AccountNotFound),
            Self::AccountState { .. } => (Code::FailedPrecondition, ErrorReason::AccountState),
            Self::AccountMoving => (Code::FailedPrecondition, ErrorReason::AccountMoving),
            Self::ForeignAccountNotFound => (Code::NotFound, ErrorReason::ForeignAccountNotFound),
            Self::AdoptionRefused { .. } => {
                (Code::FailedPrecondition, ErrorReason::AdoptionRefused)
            }
            Self::AccountMoveRefused { .. } => {
                (Code::FailedPrecondition, ErrorReason::AccountMoveRefused)
            }
            Self::AccountMoveNotFound => (Code::NotFound, ErrorReason::AccountMoveNotFound),
            Self::AccountMoveState { .. } => {
                (Code::FailedPrecondition, ErrorReason::AccountMoveState)
            }
            Self::LocationNotFound => (Code::NotFound, ErrorReason::LocationNotFound),
            Self::LocationClosed { .. } => (Code::FailedPrecondition, ErrorReason::LocationClosed),
            Self::LocationExists { .. } => (Code::AlreadyExists, ErrorReason::LocationExists),
            Self::LocationConfigured { .. } => {
                (Code::FailedPrecondition, ErrorReason::LocationConfigured)
            }
            Self::LocationNotEmpty { .. } => {
                (Code::FailedPrecondition, ErrorReason::LocationNotEmpty)
            }
            Self::LocationChanged { .. } => (Code::Aborted, ErrorReason::LocationChanged),
            Self::BucketNameTaken { .. } => (Code::AlreadyExists, ErrorReason::BucketNameTaken),
            Self::BucketNotFound { .. } => (Code::NotFound, ErrorReason::BucketNotFound),
            Self::BucketNotEmpty => (Code::FailedPrecondition, ErrorReason::BucketNotEmpty),
            Self::BucketDeletionNotFound => (Code::NotFound, ErrorReason::BucketDeletionNotFound),
            Self::BucketDeletionState { .. } => {
                (Code::FailedPrecondition, ErrorReason::BucketDeletionState)
            }
            Self::ChangeFailed { .. } => (Code::FailedPrecondition, ErrorReason::ChangeFailed),
            Self::RoleNotAllowed { .. } => (Code::PermissionDenied, ErrorReason::RoleNotAllowed),
            Self::SagaNotFound => (Code::NotFound, ErrorReason::SagaNotFound),
            Self::SagaEnded { .. } => (Code::FailedPrecondition, ErrorReason::SagaEnded),
            Self::SagaForwardOnly { .. } => {
                (Code::FailedPrecondition, ErrorReason::SagaForwardOnly)
            }
            Self::SagaKindUnknown { .. } => {
                (Code::FailedPrecondition, ErrorReason::SagaKindUnknown)
            }
            Self::BucketLimit => (Code::ResourceExhausted, ErrorReason::BucketLimit),
            Self::QuotaExceeded => (Code::ResourceExhausted, ErrorReason::QuotaExceeded),
            Self::EngineUnsupported => (Code::FailedPrecondition, ErrorReason::EngineUnsupported),
            Self::EngineUnavailable { .. } => (Code::Unavailable, ErrorReason::EngineUnavailable),
            Self::Unavailable { .. } => (Code::Unavailable, ErrorReason::Unavailable),
            Self::Unclear { .. } => (Code::Unknown, ErrorReason::ConnectionBroken),
            // A request's error knows its own form.
            Self::Request(_) | Self::Internal { .. } => (Code::Internal, ErrorReason::Internal),
        }
    }

    /// What varies in the text, for programs.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AccountState { state }
            | Self::AccountMoveState { state }
            | Self::BucketDeletionState { state } => {
                vec![("state", (*state).to_owned())]
            }
            Self::AccountMoveRefused { why } | Self::AdoptionRefused { why } => {
                vec![("why", why.clone())]
            }
            Self::LocationClosed { location }
            | Self::LocationExists { location, .. }
            | Self::LocationConfigured { location, .. }
            | Self::LocationChanged { location } => vec![("location", location.clone())],
            Self::LocationNotEmpty { location, why } => {
                vec![("location", location.clone()), ("why", why.clone())]
            }
            Self::BucketNameTaken { bucket } | Self::BucketNotFound { bucket } => {
                vec![("bucket", bucket.clone())]
            }
            Self::ChangeFailed { step, why } => {
                vec![("step", step.clone()), ("why", why.clone())]
            }
            Self::SagaEnded { status } => vec![("status", (*status).to_owned())],
            Self::SagaForwardOnly { kind } => vec![("kind", (*kind).to_owned())],
            Self::SagaKindUnknown { kind } => vec![("kind", kind.clone())],
            _ => Vec::new(),
        }
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<stowage_saga::Error> for Error {
    fn from(error: stowage_saga::Error) -> Self {
        match error {
            stowage_saga::Error::Db(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<stowage_db::Error> for Error {
    fn from(error: stowage_db::Error) -> Self {
        match error {
            stowage_db::Error::Full | stowage_db::Error::Unavailable { .. } => {
                Self::Unavailable { source: error }
            }
            stowage_db::Error::Unclear { .. } => Self::Unclear { source: error },
            stowage_db::Error::Nul => Violations::nul().into(),
            other => Self::Internal { source: Box::new(other) },
        }
    }
}

/// What an engine's error means whatever was asked of it. Callers first take out the ones that
/// mean something else in their place, such as what was not found.
impl From<stowage_engine::Error> for Error {
    fn from(error: stowage_engine::Error) -> Self {
        use stowage_engine::Error as Engine;
        match error {
            Engine::NotFound => Self::AccountNotFound,
            Engine::NotEmpty => Self::BucketNotEmpty,
            Engine::QuotaExceeded => Self::QuotaExceeded,
            Engine::LimitReached => Self::BucketLimit,
            Engine::Unsupported => Self::EngineUnsupported,
            // Denied: our own credentials are refused, which only the operator can mend. A lost
            // race may be won by the caller's next try.
            Engine::Denied | Engine::Conflict | Engine::Unavailable { .. } => {
                Self::EngineUnavailable { source: Box::new(error) }
            }
            Engine::AlreadyExists | Engine::Invalid { .. } => {
                Self::Internal { source: Box::new(error) }
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Invalid(violations) = &error {
            return stowage_runtime::invalid(violations);
        }
        if let Error::Request(error) = error {
            return error.into();
        }
        let (code, reason) = error.code_and_reason();
        let mut status = stowage_runtime::status(code, reason, error.to_string());
        for (key, value) in error.metadata() {
            status = status.meta(key, value);
        }
        if code == Code::Unavailable {
            status = status.retry_after(RETRY_AFTER);
        }
        status.source(error).build()
    }
}

#[cfg(test)]
mod tests;
