//! What can go wrong, and how it is told.

use std::time::Duration;

use stowage_bus::ReplayError;
use stowage_proto::common::ErrorReason;
use stowage_types::Violations;
use tonic::{Code, Status};

/// The role could not be built.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration: {}", faults.join("; "))]
pub struct BuildError {
    /// Everything that is wrong.
    pub faults: Vec<String>,
}

impl BuildError {
    /// The database could not be prepared.
    pub(crate) fn of_database(error: &Error) -> Self {
        Self { faults: vec![format!("metering: {error}")] }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no such meter")]
    MeterNotFound,
    #[error(transparent)]
    Letter(ReplayError),
    #[error("the role may not {what}")]
    RoleNotAllowed { what: &'static str },
    #[error("as many watch as this process can serve")]
    TooManyWatches,
    #[error("the page token is not one of this listing")]
    PageTokenInvalid,
    #[error(transparent)]
    Request(#[from] stowage_request::Error),
    #[error("{0}")]
    Invalid(Violations),
    #[error("the database is unavailable")]
    Database(#[from] stowage_db::Error),
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        use stowage_db::Error as Db;
        use stowage_runtime::{invalid, status};
        let text = error.to_string();
        match error {
            Error::MeterNotFound => {
                status(Code::NotFound, ErrorReason::MeterNotFound, text).build()
            }
            Error::Letter(error) => error.into(),
            Error::RoleNotAllowed { .. } => {
                status(Code::PermissionDenied, ErrorReason::RoleNotAllowed, text).build()
            }
            Error::TooManyWatches => {
                status(Code::ResourceExhausted, ErrorReason::TooManyWatches, text)
                    .retry_after(Duration::from_secs(10))
                    .build()
            }
            Error::PageTokenInvalid => {
                status(Code::InvalidArgument, ErrorReason::PageTokenInvalid, text).build()
            }
            Error::Request(error) => error.into(),
            Error::Invalid(violations) => invalid(&violations),
            Error::Database(cause @ Db::Unclear { .. }) => {
                let text = "the answer of the database was lost; the call may have been executed";
                status(Code::Unknown, ErrorReason::ConnectionBroken, text).source(cause).build()
            }
            Error::Database(cause @ (Db::Full | Db::Unavailable { .. })) => {
                status(Code::Unavailable, ErrorReason::Unavailable, text)
                    .retry_after(Duration::from_secs(1))
                    .source(cause)
                    .build()
            }
            Error::Database(Db::Nul) => invalid(&Violations::nul()),
            Error::Database(cause) => {
                let text = "an internal error occurred";
                status(Code::Internal, ErrorReason::Internal, text).source(cause).build()
            }
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
    use super::*;

    #[test]
    fn every_error_has_its_code_and_reason() {
        let unavailable = stowage_db::Error::Unavailable { why: "busy", source: None };
        let unclear = stowage_db::Error::Unclear { source: None };
        let cases = [
            (Error::MeterNotFound, Code::NotFound, ErrorReason::MeterNotFound),
            (
                Error::RoleNotAllowed { what: "" },
                Code::PermissionDenied,
                ErrorReason::RoleNotAllowed,
            ),
            (Error::TooManyWatches, Code::ResourceExhausted, ErrorReason::TooManyWatches),
            (Error::PageTokenInvalid, Code::InvalidArgument, ErrorReason::PageTokenInvalid),
            (
                Error::Invalid(Violations::of("skip", "is bad")),
                Code::InvalidArgument,
                ErrorReason::InvalidField,
            ),
            (stowage_db::Error::Full.into(), Code::Unavailable, ErrorReason::Unavailable),
            (unavailable.into(), Code::Unavailable, ErrorReason::Unavailable),
            (unclear.into(), Code::Unknown, ErrorReason::ConnectionBroken),
            (stowage_db::Error::Nul.into(), Code::InvalidArgument, ErrorReason::InvalidField),
            (stowage_db::Error::RowNotFound.into(), Code::Internal, ErrorReason::Internal),
        ];
        for (error, code, reason) in cases {
            let text = format!("{error:?}");
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{text}");
            assert_eq!(stowage_runtime::reason_of(&status), Some(reason), "{text}");
        }
    }
}
