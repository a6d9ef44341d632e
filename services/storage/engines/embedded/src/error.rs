//! One error for index and blobs, and how each front says it: S3 code or engine error.

use std::io;

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// What can go wrong below the S3 and engine fronts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no such account")]
    NoSuchAccount,
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("no such key")]
    NoSuchKey,
    #[error("no such upload")]
    NoSuchUpload,
    #[error("another account holds the name")]
    Taken,
    #[error("not empty")]
    NotEmpty,
    #[error("the account has as many buckets as it may have")]
    TooManyBuckets,
    #[error("the quota of the account or the bucket is exceeded")]
    QuotaExceeded,
    #[error("the account is read-only")]
    ReadOnly,
    #[error("a precondition does not hold")]
    Precondition,
    #[error("a part is missing or differs")]
    InvalidPart,
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    #[error("a part other than the last is smaller than 5 MiB")]
    PartTooSmall,
    #[error("{0}")]
    Invalid(String),
    #[error("the content does not match its digest")]
    BadDigest,
    #[error("the body ended early or went on too long")]
    IncompleteBody,
    #[error("nothing of the body came for too long")]
    BodyTimeout,
    #[error("the disk is full")]
    Full,
    #[error("file system")]
    Io(#[source] io::Error),
    #[error("index")]
    Index(#[source] stowage_db::Error),
    #[error("secrets")]
    Sealed(#[from] stowage_keyring::Error),
    #[error("body")]
    Body(#[source] s3s::StdError),
}

impl Error {
    /// Whether nothing was stored for certain; otherwise the outcome of a commit is not known.
    pub(crate) fn is_certain(&self) -> bool {
        !matches!(self, Self::Index(_))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<stowage_db::Error> for Error {
    fn from(error: stowage_db::Error) -> Self {
        match error {
            stowage_db::Error::Full => Self::Full,
            other => Self::Index(other),
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

/// An S3 error that s3s has no code for.
pub(crate) fn custom(code: &'static str, status: StatusCode, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

impl From<Error> for S3Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let code = match error {
            Error::NoSuchAccount | Error::ReadOnly => S3ErrorCode::AccessDenied,
            Error::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            Error::NoSuchKey => S3ErrorCode::NoSuchKey,
            Error::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            Error::Taken => S3ErrorCode::BucketAlreadyExists,
            Error::NotEmpty => S3ErrorCode::BucketNotEmpty,
            Error::TooManyBuckets => S3ErrorCode::TooManyBuckets,
            Error::Precondition => S3ErrorCode::PreconditionFailed,
            Error::InvalidPart => S3ErrorCode::InvalidPart,
            Error::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Error::PartTooSmall => S3ErrorCode::EntityTooSmall,
            Error::Invalid(_) => S3ErrorCode::InvalidArgument,
            Error::BadDigest => S3ErrorCode::BadDigest,
            Error::IncompleteBody => S3ErrorCode::IncompleteBody,
            Error::BodyTimeout => S3ErrorCode::RequestTimeout,
            Error::QuotaExceeded => return custom("QuotaExceeded", StatusCode::FORBIDDEN, message),
            Error::Full => {
                return custom("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, message);
            }
            Error::Body(source) => return refused_body(source),
            Error::Io(_) | Error::Index(_) | Error::Sealed(_) => {
                tracing::error!(error = ?error, "the embedded engine failed");
                return Self::with_message(S3ErrorCode::ServiceUnavailable, "try again");
            }
        };
        Self::with_message(code, message)
    }
}

/// The body's stream failed: the client went away, or s3s found the content not to be what was
/// signed. Either way nothing is stored.
fn refused_body(source: s3s::StdError) -> S3Error {
    match source.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(source) => {
            let text = source.to_string().to_ascii_lowercase();
            let message = "the body could not be read as it was announced";
            let code = if text.contains("checksum") || text.contains("sha256") {
                let code = "XAmzContentSHA256Mismatch";
                return custom(code, StatusCode::BAD_REQUEST, message.to_owned());
            } else if text.contains("signature") {
                S3ErrorCode::SignatureDoesNotMatch
            } else {
                S3ErrorCode::IncompleteBody
            };
            S3Error::with_message(code, message)
        }
    }
}

impl From<Error> for stowage_engine::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchAccount | Error::NoSuchBucket | Error::NoSuchKey | Error::NoSuchUpload => {
                Self::NotFound
            }
            Error::Taken => Self::AlreadyExists,
            Error::NotEmpty => Self::NotEmpty,
            Error::TooManyBuckets => Self::LimitReached,
            Error::QuotaExceeded => Self::QuotaExceeded,
            Error::ReadOnly => Self::Denied,
            Error::Precondition => Self::Conflict,
            Error::Full | Error::Io(_) | Error::Index(_) | Error::Sealed(_) | Error::Body(_) => {
                Self::unavailable(error)
            }
            other => Self::Invalid { why: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = Error::from(io::Error::from(kind));
            assert!(error.is_certain(), "{error}: its files go");
            let error = S3Error::from(error);
            assert_eq!(error.status_code(), Some(StatusCode::INSUFFICIENT_STORAGE));
            assert_eq!(error.code().as_str(), "InsufficientStorage");
        }
        let error = S3Error::from(Error::from(stowage_db::Error::Full));
        assert_eq!(error.status_code(), Some(StatusCode::INSUFFICIENT_STORAGE));
    }
}
