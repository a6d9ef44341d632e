use std::sync::Arc;
use std::time::Duration;

use stowage_accounts::Config;
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::{field_violations, metadata_of};
use tokio::sync::Semaphore;
use tonic::Code;

use crate::double::{When, World};
use crate::kit::{Kit, acting_for, admin, assert_reason, order, until};

const NOTHING: &str = "0 orders, 0 engine accounts, 0 buckets, 0 meters";
const ONE: &str = "1 orders, 1 engine accounts, 1 buckets, 1 meters";

#[tokio::test]
async fn an_order_ends_in_an_active_account_with_its_bucket() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let heard = kit.listen("stowage.accounts.account.activated.v1");
    let account = kit.order(&customer, "photos", "r1").await.unwrap();
    assert_eq!(account.state(), pb::AccountState::Active);
    assert_eq!((account.account_id, account.service_id, account.order_id), (1, 100, 1100));
    assert_eq!((account.invoice_id, account.billing.as_str()), (2100, "ledger"));
    assert_eq!((account.email.as_str(), account.plan_version), ("a@example.com", 3));
    assert_eq!((account.endpoint.as_str(), account.gb_bytes), ("http://127.0.0.1:9000", 1 << 30));
    assert_eq!(kit.world.left(), ONE);
    let meter = kit.world.state().meters[&account.s3uid].clone();
    assert_eq!((meter.account_id, meter.customer_id, meter.plan_id), (1, 1001, 1));
    until(async || heard.lock().unwrap().len() == 1).await;
    assert_eq!(
        kit.history(&customer).await,
        ["customer.created", "account.ordered", "account.activated"]
    );

    // The keys that are shown are those that the engine knows.
    let message = pb::ListAccessKeysRequest {
        parent: account.name.clone(),
        with_secrets: true,
        ..Default::default()
    };
    let keys = kit.accounts().list_access_keys(kit.by(&customer, message)).await.unwrap();
    let key = keys.into_inner().access_keys.remove(0);
    let known = kit.world.state().engine[&account.s3uid].keys[0].clone();
    assert_eq!((key.access_key, key.secret_key.clone()), (known.access_key, known.secret_key));
    let bytes = kit.database_bytes().await;
    let is_in = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(is_in(&account.s3uid) && !is_in(&key.secret_key), "the secret is sealed");
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_before_anything_is_written() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.world.state().buckets.insert("taken".into(), "somebody".into());
    let no_plan = pb::CreateAccountRequest { plan: "plans/9".into(), ..order("photos", "") };
    let nowhere = pb::CreateAccountRequest { location: "locations/XX".into(), ..order("pix", "") };
    let cases = [
        (no_plan, Code::NotFound, ErrorReason::PlanNotFound),
        (nowhere, Code::NotFound, ErrorReason::LocationNotFound),
        (order("taken", ""), Code::FailedPrecondition, ErrorReason::BucketCreationFailed),
        (order("No!", ""), Code::InvalidArgument, ErrorReason::InvalidField),
    ];
    for (message, code, reason) in cases {
        let error = kit.accounts().create_account(kit.by(&customer, message)).await.unwrap_err();
        assert_reason(&error, code, reason);
    }
    let error = kit.order(&customer, "taken", "").await.unwrap_err();
    assert_eq!(metadata_of(&error, "why").as_deref(), Some("bucket name \"taken\" is taken"));
    let bad = pb::CreateAccountRequest { plan: "1".into(), ..order("", &"x".repeat(65)) };
    let error = kit.accounts().create_account(kit.by(&customer, bad)).await.unwrap_err();
    assert_eq!(field_violations(&error).len(), 3);
    let error = kit.order(&admin(), "photos", "").await.unwrap_err();
    assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);
    let limit = (Code::ResourceExhausted, ErrorReason::FreePlanLimit);
    kit.world.fail("QuoteOrder", When::Before, limit, 1);
    let error = kit.order(&customer, "photos", "").await.unwrap_err();
    assert_reason(&error, Code::ResourceExhausted, ErrorReason::FreePlanLimit);
    assert_eq!(kit.count("SELECT count(*) FROM account").await, 0);
    assert!(kit.world.state().calls.is_empty());
}

#[tokio::test]
async fn a_bucket_that_is_taken_meanwhile_undoes_the_order() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let taken = (Code::AlreadyExists, ErrorReason::BucketNameTaken);
    kit.world.fail("CreateBucket", When::Before, taken, 1);
    let error = kit.order(&customer, "photos", "r1").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::BucketCreationFailed);
    assert_eq!(metadata_of(&error, "why").as_deref(), Some("bucket name \"photos\" is taken"));
    assert_eq!(kit.world.left(), NOTHING);
    assert_eq!(kit.count("SELECT count(*) FROM access_key WHERE sealed IS NOT NULL").await, 0);
    // The same request has the same answer; the account is nobody's.
    let again = kit.order(&customer, "photos", "r1").await.unwrap_err();
    assert_eq!((again.code(), again.message()), (error.code(), error.message()));
    let get = pb::GetAccountRequest { name: "accounts/1".into() };
    let error = kit.accounts().get_account(kit.by(&customer, get)).await.unwrap_err();
    assert_reason(&error, Code::NotFound, ErrorReason::AccountNotFound);
    assert!(kit.history(&customer).await.contains(&"account.failed".to_owned()));
    assert!(kit.order(&customer, "photos", "r2").await.is_ok());
}

#[tokio::test]
async fn a_definite_failure_of_another_step_names_it_and_an_unclear_one_is_retried() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let limit = (Code::ResourceExhausted, ErrorReason::FreePlanLimit);
    kit.world.fail("PlaceOrder", When::After, limit, 1);
    let error = kit.order(&customer, "photos", "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::OrderFailed);
    assert_eq!(metadata_of(&error, "step").as_deref(), Some("place_order"));
    assert_eq!(metadata_of(&error, "why").as_deref(), Some("made to fail"));
    assert_eq!(kit.world.left(), NOTHING);

    let away = (Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.world.fail("EnsureEngineAccount", When::After, away, 2);
    kit.world.fail("OpenMeter", When::Before, (Code::Unknown, ErrorReason::Internal), 2);
    assert!(kit.order(&customer, "photos", "").await.is_ok());
    assert_eq!(kit.world.left(), ONE);

    kit.world.fail("CreateBucket", When::After, away, 100);
    let error = kit.order(&customer, "films", "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::BucketCreationFailed);
    assert_eq!(kit.world.left(), ONE);
}

#[tokio::test]
async fn a_request_id_is_one_order() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let first = kit.order(&customer, "photos", "r1").await.unwrap();
    assert_eq!(kit.order(&customer, "photos", "r1").await.unwrap(), first);
    let error = kit.order(&customer, "films", "r1").await.unwrap_err();
    assert_reason(&error, Code::AlreadyExists, ErrorReason::RequestIdReused);
    // Another customer's ids are his own.
    let other = kit.customer("b@example.com").await;
    assert_ne!(kit.order(&other, "films", "r1").await.unwrap().s3uid, first.s3uid);
    // An administrator who acts for the customer repeats the customer's order.
    let again = kit.order(&acting_for(&customer), "photos", "r1").await.unwrap();
    assert_eq!(again.s3uid, first.s3uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_are_one_order_with_and_without_a_request_id() {
    let kit = Arc::new(Kit::start().await);
    let customer = kit.customer("a@example.com").await;
    for (bucket, request_id) in [("photos", ""), ("films", "r1")] {
        let twins: Vec<_> = (0..8)
            .map(|_| {
                let (kit, customer) = (Arc::clone(&kit), customer.clone());
                tokio::spawn(async move { kit.order(&customer, bucket, request_id).await })
            })
            .collect();
        let mut s3uids = Vec::new();
        for twin in twins {
            match twin.await.unwrap() {
                Ok(account) => s3uids.push(account.s3uid),
                Err(error) => {
                    assert_eq!(request_id, "r1", "{error}");
                    assert_reason(&error, Code::Aborted, ErrorReason::RequestInProgress);
                }
            }
        }
        s3uids.dedup();
        assert_eq!(s3uids.len(), 1, "{bucket}");
    }
    assert_eq!(kit.count("SELECT count(*) FROM account").await, 2);
}

#[tokio::test]
async fn without_a_request_id_a_repeat_within_a_minute_is_the_same_order() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let first = kit.order(&customer, "photos", "").await.unwrap();
    kit.clock.advance(Duration::from_secs(30));
    assert_eq!(kit.order(&customer, "photos", "").await.unwrap().s3uid, first.s3uid);
    kit.clock.advance(Duration::from_secs(31));
    let error = kit.order(&customer, "photos", "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::BucketCreationFailed);
    // The bucket is free again: then it is a new order.
    kit.world.state().buckets.clear();
    assert_ne!(kit.order(&customer, "photos", "").await.unwrap().s3uid, first.s3uid);
}

#[tokio::test]
async fn an_order_goes_on_when_its_caller_gives_up() {
    let world = World { gate: Some(Arc::new(Semaphore::new(0))), ..World::default() };
    let config = Config { order_wait_seconds: 1, ..Config::default() };
    let kit = Kit::with(config, world).await;
    let customer = kit.customer("a@example.com").await;
    let error = kit.order(&customer, "photos", "r1").await.unwrap_err();
    assert_reason(&error, Code::DeadlineExceeded, ErrorReason::DeadlineExceeded);
    let get = || pb::GetAccountRequest { name: "accounts/-".into() };
    let open = kit.accounts().get_account(kit.by(&customer, get())).await.unwrap();
    assert_eq!(open.into_inner().state(), pb::AccountState::Pending);
    kit.world.gate.as_ref().unwrap().add_permits(1);
    let account = kit.order(&customer, "photos", "r1").await.unwrap();
    assert_eq!(account.state(), pb::AccountState::Active);
}
