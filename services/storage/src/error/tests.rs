//! Each error, and what it answers.

use stowage_runtime::{field_violations, metadata_of, reason_of};

use super::*;

#[test]
fn every_variant_has_its_code_and_reason() {
    let engine = || stowage_engine::Error::unavailable("host 10.0.0.1 is down");
    let bucket = || "photos".to_owned();
    let table = [
        (Error::field("bucket", "is bad"), Code::InvalidArgument, ErrorReason::InvalidField),
        (Error::PageTokenInvalid, Code::InvalidArgument, ErrorReason::PageTokenInvalid),
        (stowage_request::Error::InProgress.into(), Code::Aborted, ErrorReason::RequestInProgress),
        (Error::AccountNotFound, Code::NotFound, ErrorReason::AccountNotFound),
        (
            Error::AccountState { state: "REMOVED" },
            Code::FailedPrecondition,
            ErrorReason::AccountState,
        ),
        (
            Error::BucketNameTaken { bucket: bucket() },
            Code::AlreadyExists,
            ErrorReason::BucketNameTaken,
        ),
        (Error::BucketNotFound { bucket: bucket() }, Code::NotFound, ErrorReason::BucketNotFound),
        (Error::BucketNotEmpty, Code::FailedPrecondition, ErrorReason::BucketNotEmpty),
        (Error::BucketDeletionNotFound, Code::NotFound, ErrorReason::BucketDeletionNotFound),
        (
            Error::BucketDeletionState { state: "DONE" },
            Code::FailedPrecondition,
            ErrorReason::BucketDeletionState,
        ),
        (
            Error::ChangeFailed { step: "make_bucket".to_owned(), why: "no".to_owned() },
            Code::FailedPrecondition,
            ErrorReason::ChangeFailed,
        ),
        (Error::BucketLimit, Code::ResourceExhausted, ErrorReason::BucketLimit),
        (Error::QuotaExceeded, Code::ResourceExhausted, ErrorReason::QuotaExceeded),
        (Error::EngineUnsupported, Code::FailedPrecondition, ErrorReason::EngineUnsupported),
        (engine().into(), Code::Unavailable, ErrorReason::EngineUnavailable),
        (stowage_db::Error::Nul.into(), Code::InvalidArgument, ErrorReason::InvalidField),
        (stowage_db::Error::Full.into(), Code::Unavailable, ErrorReason::Unavailable),
        (
            stowage_db::Error::Unclear { source: None }.into(),
            Code::Unknown,
            ErrorReason::ConnectionBroken,
        ),
        (Error::Internal { source: "a secret".into() }, Code::Internal, ErrorReason::Internal),
    ];
    assert_answers(table);
}

#[test]
fn what_is_refused_of_locations_has_its_code_and_reason() {
    let location = || "DE".to_owned();
    assert_answers([
        (Error::LocationNotFound, Code::NotFound, ErrorReason::LocationNotFound),
        (
            Error::LocationClosed { location: location() },
            Code::FailedPrecondition,
            ErrorReason::LocationClosed,
        ),
        (
            Error::LocationExists { location: location(), what: "with other settings" },
            Code::AlreadyExists,
            ErrorReason::LocationExists,
        ),
        (
            Error::LocationConfigured { location: location(), why: "it is configured" },
            Code::FailedPrecondition,
            ErrorReason::LocationConfigured,
        ),
        (
            Error::LocationNotEmpty { location: location(), why: "1 account".to_owned() },
            Code::FailedPrecondition,
            ErrorReason::LocationNotEmpty,
        ),
        (
            Error::LocationChanged { location: location() },
            Code::Aborted,
            ErrorReason::LocationChanged,
        ),
    ]);
}

#[test]
fn what_operators_are_refused_has_its_code_and_reason() {
    assert_answers([
        (Error::RoleNotAllowed { what: "x" }, Code::PermissionDenied, ErrorReason::RoleNotAllowed),
        (Error::SagaNotFound, Code::NotFound, ErrorReason::SagaNotFound),
        (Error::SagaEnded { status: "undone" }, Code::FailedPrecondition, ErrorReason::SagaEnded),
        (
            Error::SagaForwardOnly { kind: "k" },
            Code::FailedPrecondition,
            ErrorReason::SagaForwardOnly,
        ),
        (
            Error::SagaKindUnknown { kind: "k".to_owned() },
            Code::FailedPrecondition,
            ErrorReason::SagaKindUnknown,
        ),
    ]);
}

#[test]
fn what_a_move_is_refused_has_its_code_and_reason() {
    assert_answers([
        (Error::AccountMoving, Code::FailedPrecondition, ErrorReason::AccountMoving),
        (
            Error::AccountMoveRefused { why: "no room".to_owned() },
            Code::FailedPrecondition,
            ErrorReason::AccountMoveRefused,
        ),
        (Error::AccountMoveNotFound, Code::NotFound, ErrorReason::AccountMoveNotFound),
        (
            Error::AccountMoveState { state: "COPYING" },
            Code::FailedPrecondition,
            ErrorReason::AccountMoveState,
        ),
    ]);
}

fn assert_answers(table: impl IntoIterator<Item = (Error, Code, ErrorReason)>) {
    for (error, code, reason) in table {
        let label = format!("{error:?}");
        let status = Status::from(error);
        assert_eq!(status.code(), code, "{label}");
        assert_eq!(reason_of(&status), Some(reason), "{label}");
        for secret in ["10.0.0.1", "a secret"] {
            assert!(!status.message().contains(secret), "{label}");
        }
    }
}

#[test]
fn what_varies_is_in_the_metadata() {
    let status = Status::from(Error::BucketNameTaken { bucket: "photos".to_owned() });
    assert_eq!(metadata_of(&status, "bucket").as_deref(), Some("photos"));
    let status = Status::from(Error::field("bucket", "is bad"));
    assert_eq!(field_violations(&status), [("bucket".to_owned(), "is bad".to_owned())]);
}

#[test]
fn engine_errors_become_ours() {
    use stowage_engine::Error as Engine;
    let table = [
        (Engine::NotFound, ErrorReason::AccountNotFound),
        (Engine::AlreadyExists, ErrorReason::Internal),
        (Engine::NotEmpty, ErrorReason::BucketNotEmpty),
        (Engine::QuotaExceeded, ErrorReason::QuotaExceeded),
        (Engine::LimitReached, ErrorReason::BucketLimit),
        (Engine::Denied, ErrorReason::EngineUnavailable),
        (Engine::Invalid { why: "odd".to_owned() }, ErrorReason::Internal),
        (Engine::Conflict, ErrorReason::EngineUnavailable),
        (Engine::Unsupported, ErrorReason::EngineUnsupported),
        (Engine::unavailable("away"), ErrorReason::EngineUnavailable),
    ];
    for (engine, reason) in table {
        let label = format!("{engine:?}");
        let status = Status::from(Error::from(engine));
        assert_eq!(reason_of(&status), Some(reason), "{label}");
    }
}

#[test]
fn what_cannot_be_adopted_has_its_code_and_reason() {
    assert_answers([
        (Error::ForeignAccountNotFound, Code::NotFound, ErrorReason::ForeignAccountNotFound),
        (
            Error::AdoptionRefused { why: "it has no key".to_owned() },
            Code::FailedPrecondition,
            ErrorReason::AdoptionRefused,
        ),
    ]);
}
