//! What went wrong with a call, before it is known what that means.

use http::StatusCode;
use stowage_engine::{BoxError, Error};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server answered so.
    #[error("the server answered {status} {code}")]
    Refused {
        /// Of HTTP.
        status: StatusCode,
        /// Its word for it; empty: it gave none.
        code: String,
    },
    /// There was no answer, or none that can be read. What was asked may have been done.
    #[error("the server gave no answer")]
    Failed(#[source] BoxError),
}

impl Fault {
    /// Wraps the cause of a call that had no answer.
    pub fn failed(source: impl Into<BoxError>) -> Self {
        Self::Failed(source.into())
    }

    /// The server's code, if it gave one.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Failed(_) => "",
        }
    }
}

/// What a refusal means, unless the caller knows better: some codes say another thing than they
/// seem to.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let Fault::Refused { status, code } = &fault else {
            return Self::unavailable(fault);
        };
        match (status.as_u16(), code.as_str()) {
            (_, "QuotaExceeded") => Self::QuotaExceeded,
            (_, "TooManyBuckets") => Self::LimitReached,
            (_, "BucketNotEmpty") => Self::NotEmpty,
            // A lost race for the version of a user or bucket.
            (500, "UnknownError") | (409, "ConcurrentModification" | "OperationAborted") => {
                Self::Conflict
            }
            (404, _) => Self::NotFound,
            (409, _) => Self::AlreadyExists,
            (401 | 403, _) => Self::Denied,
            (408 | 429 | 500.., _) => Self::unavailable(fault),
            _ => Self::Invalid { why: code.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_errors() {
        type Expected = fn(&Error) -> bool;
        let table: &[(u16, &str, Expected)] = &[
            (403, "QuotaExceeded", |e| matches!(e, Error::QuotaExceeded)),
            (400, "TooManyBuckets", |e| matches!(e, Error::LimitReached)),
            (409, "BucketNotEmpty", |e| matches!(e, Error::NotEmpty)),
            (500, "UnknownError", |e| matches!(e, Error::Conflict)),
            (404, "NoSuchUser", |e| matches!(e, Error::NotFound)),
            (404, "NoSuchBucket", |e| matches!(e, Error::NotFound)),
            (409, "KeyExists", |e| matches!(e, Error::AlreadyExists)),
            (409, "BucketAlreadyExists", |e| matches!(e, Error::AlreadyExists)),
            (403, "AccessDenied", |e| matches!(e, Error::Denied)),
            (403, "UserSuspended", |e| matches!(e, Error::Denied)),
            (403, "SignatureDoesNotMatch", |e| matches!(e, Error::Denied)),
            (400, "InvalidArgument", |e| matches!(e, Error::Invalid { .. })),
            (405, "MethodNotAllowed", |e| matches!(e, Error::Invalid { .. })),
            (503, "SlowDown", |e| matches!(e, Error::Unavailable { .. })),
            (502, "", |e| matches!(e, Error::Unavailable { .. })),
        ];
        for (status, code, expected) in table {
            let status = StatusCode::from_u16(*status).unwrap();
            let error = Error::from(Fault::Refused { status, code: (*code).to_owned() });
            assert!(expected(&error), "{status} {code}: {error:?}");
        }
        let error = Error::from(Fault::failed("cut off"));
        assert!(error.is_transient(), "{error:?}");
    }
}
