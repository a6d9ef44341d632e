//! Keys that an engine makes itself.

use std::sync::Arc;

use stowage_db::testing::Scratch;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::{field_violations, metadata_of};
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Engines, Kit, OTHER, Settings, assert_reason, location, metered_bus, wanted};

fn issuing() -> Memory {
    let mut engine = Memory::default();
    engine.capabilities.issues_keys = true;
    engine.capabilities.keys_max = Some(2);
    engine
}

fn keyless(uid: &S3uid) -> pb::EnsureEngineAccountRequest {
    pb::EnsureEngineAccountRequest { keys: Vec::new(), ..wanted(uid) }
}

async fn issue(kit: &Kit, uid: &S3uid) -> Result<pb::EngineKey, Status> {
    let request = kit.as_service(pb::IssueEngineKeyRequest { name: name::account(uid) });
    kit.accounts().issue_engine_key(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn an_account_without_keys_is_given_one_by_its_engine() {
    let (kit, uid) = (Kit::with(issuing()).await, S3uid::generate(&SystemRandom));
    let absent = issue(&kit, &uid).await;
    assert_reason(absent, Code::NotFound, ErrorReason::AccountNotFound);
    kit.ensure(keyless(&uid)).await.unwrap();
    let made = issue(&kit, &uid).await.unwrap();
    assert_eq!((made.access_key.len(), made.secret_key.as_str()), (20, "hush"));
    issue(&kit, &uid).await.unwrap();
    // Whoever lost one ensures what he knows, and asks again.
    let third = issue(&kit, &uid).await;
    assert_reason(third, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.ensure(pb::EnsureEngineAccountRequest { keys: vec![made], ..wanted(&uid) }).await.unwrap();
    issue(&kit, &uid).await.unwrap();
    let request = pb::IssueEngineKeyRequest { name: name::account(&uid) };
    let foreign = kit.accounts().issue_engine_key(kit.as_service_for(OTHER, request)).await;
    assert_reason(foreign, Code::NotFound, ErrorReason::AccountNotFound);
    let request = pb::GetLocationRequest { name: "locations/NL".to_owned() };
    let found = kit.locations().get_location(kit.as_service(request)).await.unwrap().into_inner();
    assert!(found.issues_keys);
}

#[tokio::test]
async fn an_engine_that_takes_keys_makes_none() {
    let (kit, uid) = (Kit::start().await, S3uid::generate(&SystemRandom));
    let refused = kit.ensure(keyless(&uid)).await;
    let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(field_violations(&status)[0].0, "keys");
    kit.ensure(wanted(&uid)).await.unwrap();
    let refused = issue(&kit, &uid).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::EngineUnsupported);
}

#[tokio::test]
async fn an_account_does_not_move_to_an_engine_that_takes_its_own_keys_only() {
    let more: Engines = vec![(location("DE"), Arc::new(issuing()))];
    let settings = Settings { more, ..Settings::default() };
    let place = Arc::new(Scratch::new().await);
    let kit = Kit::set(Arc::new(Memory::default()), place, metered_bus(), settings).await;
    let uid = kit.account().await;
    let request = pb::StartAccountMoveRequest {
        name: name::account_move(&uid, uuid::Uuid::from_u128(1)),
        location: "locations/DE".to_owned(),
        keys: wanted(&uid).keys,
        validate_only: true,
    };
    let refused = kit.moves().start_account_move(kit.as_service(request)).await;
    let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountMoveRefused);
    let why = metadata_of(&status, "why").unwrap_or_else(|| status.message().to_owned());
    assert!(why.contains("takes no keys but its own"), "{why}");
}
