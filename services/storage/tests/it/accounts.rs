//! What accounts are on their engine.

use secrecy::ExposeSecret;
use stowage_engine::AccountSpec;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::{field_violations, metadata_of};
use stowage_types::{S3uid, SystemRandom, name};
use tonic::Code;

use crate::kit::{Kit, OTHER, OWNER, assert_reason, killed_after, wanted};

#[tokio::test]
async fn an_account_is_ensured_again_and_again() {
    let kit = Kit::start().await;
    let uid = S3uid::generate(&SystemRandom);
    for _ in 0..2 {
        let made = kit.ensure(wanted(&uid)).await.unwrap();
        assert_eq!(made.name, name::account(&uid));
        assert_eq!(made.location, "locations/NL");
        assert_eq!(made.endpoint, "http://127.0.0.1:9000");
        assert_eq!(made.region, "us-east-1");
    }
    let spec = kit.engine.account(&uid).unwrap();
    assert_eq!((spec.quota.bytes, spec.bucket_max), (Some(1_000_000), Some(3)));
    assert_eq!(spec.keys.len(), 1);
    assert!(spec.keys[0].secret_key.expose_secret().starts_with("a-secret"));

    let changed = pb::EnsureEngineAccountRequest { quota_bytes: 0, bucket_max: 0, ..wanted(&uid) };
    kit.ensure(changed).await.unwrap();
    let spec = kit.engine.account(&uid).unwrap();
    assert_eq!((spec.quota.bytes, spec.bucket_max), (None, None), "0 is no bound");
}

#[tokio::test]
async fn all_bad_fields_of_an_account_are_told() {
    let kit = Kit::start().await;
    let bad = pb::EnsureEngineAccountRequest {
        name: "accounts/x".to_owned(),
        customer_id: 0,
        location: "NL".to_owned(),
        keys: vec![pb::EngineKey { access_key: String::new(), secret_key: String::new() }],
        quota_bytes: -1,
        bucket_max: -1,
        ..Default::default()
    };
    let refused = kit.ensure(bad).await;
    let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    let fields: Vec<_> = field_violations(&status).into_iter().map(|bad| bad.0).collect();
    let expected = [
        "name",
        "location",
        "customer_id",
        "keys[0].access_key",
        "keys[0].secret_key",
        "quota_bytes",
        "bucket_max",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn an_account_goes_to_an_open_location_that_exists() {
    let kit = Kit::start().await;
    for (location, code, reason) in [
        ("locations/XX", Code::NotFound, ErrorReason::LocationNotFound),
        ("locations/FAR", Code::FailedPrecondition, ErrorReason::LocationClosed),
    ] {
        let uid = S3uid::generate(&SystemRandom);
        let request =
            pb::EnsureEngineAccountRequest { location: location.to_owned(), ..wanted(&uid) };
        assert_reason(kit.ensure(request).await, code, reason);
        assert!(kit.engine.account(&uid).is_none());
    }
}

#[tokio::test]
async fn an_account_keeps_its_customer_and_location() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let stolen = pb::EnsureEngineAccountRequest { customer_id: OTHER, ..wanted(&uid) };
    let status =
        assert_reason(kit.ensure(stolen).await, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(field_violations(&status)[0].0, "customer_id");
    let moved =
        pb::EnsureEngineAccountRequest { location: "locations/FAR".to_owned(), ..wanted(&uid) };
    let status =
        assert_reason(kit.ensure(moved).await, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(field_violations(&status)[0].0, "location");
    let request = kit.as_service_for(OTHER, wanted(&S3uid::generate(&SystemRandom)));
    let refused = kit.accounts().ensure_engine_account(request).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn a_lost_answer_of_the_engine_is_mended_by_a_repeat() {
    let kit = Kit::start().await;
    let uid = S3uid::generate(&SystemRandom);
    kit.engine.fail_after_next_ensure();
    let lost = kit.ensure(wanted(&uid)).await;
    assert_reason(lost, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.ensure(wanted(&uid)).await.unwrap();
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();

    // The other way on: given up after the lost answer.
    let uid = S3uid::generate(&SystemRandom);
    kit.engine.fail_after_next_ensure();
    kit.ensure(wanted(&uid)).await.unwrap_err();
    kit.remove(&uid, false).await.unwrap();
    assert!(kit.engine.account(&uid).is_none(), "nothing is left on the engine");
}

#[tokio::test]
async fn a_removed_account_is_not_brought_back_by_a_late_repeat() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.remove(&uid, false).await.unwrap();
    kit.remove(&uid, false).await.unwrap();
    let late = kit.ensure(wanted(&uid)).await;
    let status = assert_reason(late, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(metadata_of(&status, "state").as_deref(), Some("REMOVED"));
    assert!(kit.engine.account(&uid).is_none());

    let never_seen = S3uid::generate(&SystemRandom);
    kit.remove(&never_seen, true).await.unwrap();
    let late = kit.ensure(wanted(&never_seen)).await;
    assert_reason(late, Code::FailedPrecondition, ErrorReason::AccountState);
    assert!(kit.engine.account(&never_seen).is_none());
}

#[tokio::test]
async fn what_a_late_repeat_left_on_the_engine_is_removed() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.remove(&uid, false).await.unwrap();
    // A repeat that reached the engine after the removal, and died before it could look.
    kit.engine.insert_account(AccountSpec::new(uid.clone(), Vec::new()));
    kit.ensure(wanted(&uid)).await.unwrap_err();
    assert!(kit.engine.account(&uid).is_none());
}

#[tokio::test]
async fn removing_without_purge_keeps_objects_and_takes_empty_buckets() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "empty").await.unwrap();
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.engine.put("photos", "a.jpg", 5);
    let refused = kit.remove(&uid, false).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::BucketNotEmpty);
    kit.create_bucket(OWNER, &uid, "empty").await.expect("the account is as it was");

    let empty_only = kit.account().await;
    kit.create_bucket(OWNER, &empty_only, "also-empty").await.unwrap();
    kit.remove(&empty_only, false).await.unwrap();
    assert!(kit.engine.account(&empty_only).is_none());

    kit.remove(&uid, true).await.unwrap();
    assert!(kit.engine.account(&uid).is_none());
    let gone = kit.create_bucket(OWNER, &uid, "photos").await;
    assert_reason(gone, Code::NotFound, ErrorReason::AccountNotFound);
}

#[tokio::test]
async fn a_removal_goes_on_when_the_engine_is_back() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.engine.set_down(true);
    let away = kit.remove(&uid, true).await;
    assert_reason(away, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.engine.set_down(false);
    let hidden = kit.create_bucket(OWNER, &uid, "photos").await;
    assert_reason(hidden, Code::NotFound, ErrorReason::AccountNotFound);
    let late = kit.ensure(wanted(&uid)).await;
    let status = assert_reason(late, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(metadata_of(&status, "state").as_deref(), Some("REMOVING"));
    kit.remove(&uid, true).await.unwrap();
    assert!(kit.engine.account(&uid).is_none());
}

#[tokio::test]
async fn a_service_acting_for_another_customer_removes_nothing() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let request = pb::RemoveEngineAccountRequest { name: name::account(&uid), purge: true };
    let refused = kit.accounts().remove_engine_account(kit.as_service_for(OTHER, request)).await;
    assert_reason(refused, Code::NotFound, ErrorReason::AccountNotFound);
    assert!(kit.engine.account(&uid).is_some());
}

#[tokio::test]
async fn a_kill_at_any_point_is_mended_by_a_repeat() {
    let kit = Kit::start().await;
    for polls in 0..30 {
        let made = S3uid::generate(&SystemRandom);
        let _ = killed_after(polls, kit.ensure(wanted(&made))).await;
        kit.ensure(wanted(&made)).await.unwrap();
        kit.create_bucket(OWNER, &made, &format!("photos-{polls}")).await.unwrap();

        let given_up = S3uid::generate(&SystemRandom);
        let _ = killed_after(polls, kit.ensure(wanted(&given_up))).await;
        kit.remove(&given_up, false).await.unwrap();
        assert!(kit.engine.account(&given_up).is_none(), "{polls}");

        let _ = killed_after(polls, kit.remove(&made, true)).await;
        kit.remove(&made, true).await.unwrap();
        assert!(kit.engine.account(&made).is_none(), "{polls}");
        kit.ensure(wanted(&made)).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_account_made_and_removed_at_once_is_gone() {
    let kit = Kit::start().await;
    for _ in 0..30 {
        let uid = S3uid::generate(&SystemRandom);
        let (_, twin, removed) = tokio::join!(
            kit.ensure(wanted(&uid)),
            kit.ensure(wanted(&uid)),
            kit.remove(&uid, false),
        );
        removed.unwrap();
        drop(twin);
        assert!(kit.engine.account(&uid).is_none());
        kit.ensure(wanted(&uid)).await.unwrap_err();
    }
}
