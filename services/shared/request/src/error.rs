//! What keeps a request from being executed.

use std::time::Duration;

use stowage_proto::common::ErrorReason;
use stowage_runtime::{BoxError, field_violations, invalid, status};
use stowage_types::Violations;
use tonic::{Code, Status};

/// When to ask again for a request that is running.
const RUNNING_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to come back after the database was away.
const AWAY_RETRY_AFTER: Duration = Duration::from_secs(2);

/// An error of this crate. `Display` is public.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request id is malformed.
    #[error("{0}")]
    Invalid(Violations),
    /// The request id was used for something else.
    #[error("the request id was used for another request")]
    Reused,
    /// A twin is running, or has taken over.
    #[error("the same request is still running")]
    InProgress,
    /// The database failed.
    #[error("the request could not be looked up or stored")]
    Db(#[from] stowage_db::Error),
    /// A fault of ours.
    #[error("internal error")]
    Internal(BoxError),
}

impl Error {
    pub(crate) fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        use stowage_db::Error as Db;
        let text = error.to_string();
        match error {
            Error::Invalid(violations) => return invalid(&violations),
            Error::Reused => status(Code::AlreadyExists, ErrorReason::RequestIdReused, text),
            Error::InProgress => status(Code::Aborted, ErrorReason::RequestInProgress, text)
                .retry_after(RUNNING_RETRY_AFTER),
            Error::Db(error @ Db::Unclear { .. }) => {
                tracing::warn!(%error, "nobody knows whether a request's answer was stored");
                let text = "the answer of the database was lost; the call may have been executed";
                status(Code::Unknown, ErrorReason::ConnectionBroken, text).source(error)
            }
            Error::Db(error @ (Db::Full | Db::Unavailable { .. })) => {
                tracing::warn!(%error, "the database of requests is away");
                status(Code::Unavailable, ErrorReason::Unavailable, text)
                    .retry_after(AWAY_RETRY_AFTER)
                    .source(error)
            }
            Error::Db(Db::Nul) => return invalid(&Violations::nul()),
            Error::Db(error) => {
                tracing::error!(%error, "a request failed by a fault of ours");
                status(Code::Internal, ErrorReason::Internal, "internal error").source(error)
            }
            Error::Internal(error) => {
                tracing::error!(%error, "a request failed by a fault of ours");
                status(Code::Internal, ErrorReason::Internal, text).source(error)
            }
        }
        .build()
    }
}

/// Bad fields of the content, told together with a bad request id.
pub(crate) fn all_bad_fields(mut bad: Violations, also: &Status) -> Status {
    for (field, why) in field_violations(also) {
        bad.push(field, why);
    }
    invalid(&bad)
}
