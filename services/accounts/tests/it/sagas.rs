//! What operators see of sagas, and do to them.

use std::sync::Arc;

use stowage_accounts::Config;
use stowage_auth::Principal;
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::metadata_of;
use tokio::sync::Semaphore;
use tonic::{Code, Response, Status};

use crate::double::{When, World};
use crate::kit::{Kit, acting_for, admin, assert_reason, until};

const NOTHING: &str = "0 orders, 0 engine accounts, 0 buckets, 0 meters";

async fn list(kit: &Kit, request: pb::ListSagasRequest) -> Result<pb::ListSagasResponse, Status> {
    kit.sagas().list_sagas(kit.by(&admin(), request)).await.map(Response::into_inner)
}

async fn get(kit: &Kit, by: &Principal, name: &str) -> Result<pb::Saga, Status> {
    let request = pb::GetSagaRequest { name: name.to_owned() };
    kit.sagas().get_saga(kit.by(by, request)).await.map(Response::into_inner)
}

async fn retry(kit: &Kit, name: &str, request_id: &str) -> Result<pb::Saga, Status> {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    let request = pb::RetrySagaRequest { name, request_id };
    kit.sagas().retry_saga(kit.by(&admin(), request)).await.map(Response::into_inner)
}

async fn undo(kit: &Kit, name: &str, request_id: &str) -> Result<pb::Saga, Status> {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    let request = pb::UndoSagaRequest { name, request_id };
    kit.sagas().undo_saga(kit.by(&admin(), request)).await.map(Response::into_inner)
}

async fn only(kit: &Kit, status: pb::SagaStatus) -> pb::Saga {
    let request = pb::ListSagasRequest { status: status.into(), ..Default::default() };
    let mut sagas = list(kit, request).await.unwrap().sagas;
    assert_eq!(sagas.len(), 1, "{sagas:?}");
    sagas.remove(0)
}

async fn reaches(kit: &Kit, name: &str, status: pb::SagaStatus) -> pb::Saga {
    until(async || get(kit, &admin(), name).await.unwrap().status() == status).await;
    get(kit, &admin(), name).await.unwrap()
}

/// Events of history about sagas, as the administrator reads them.
async fn changes(kit: &Kit) -> Vec<String> {
    let events = kit.history(&admin()).await;
    events.into_iter().filter(|event| event.starts_with("saga.")).collect()
}

#[tokio::test]
async fn an_order_that_is_stuck_is_found_and_tried_again() {
    let mut config = Config::default();
    config.sagas.undo_attempts = 3;
    let kit = Kit::with(config, World::default()).await;
    let customer = kit.customer("a@example.com").await;
    let taken = (Code::AlreadyExists, ErrorReason::BucketNameTaken);
    kit.world.fail("CreateBucket", When::Before, taken, 1);
    let refused = (Code::FailedPrecondition, ErrorReason::SubscriptionState);
    kit.world.fail("UndoOrder", When::Before, refused, 3);
    let error = kit.order(&customer, "photos", "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::BucketCreationFailed);

    let found = only(&kit, pb::SagaStatus::Stuck).await;
    assert_eq!(
        (found.direction(), found.step.as_str()),
        (pb::SagaDirection::Undoing, "place_order")
    );
    assert_eq!((found.step_number, found.step_count, found.attempts), (2, 7, 3));
    assert_eq!((found.kind.as_str(), found.forward_only), ("accounts.create_account.v1", false));
    assert_eq!((found.next_attempt_time, found.state_json.as_str()), (None, ""));
    let failure = found.failure.clone().unwrap();
    assert_eq!(
        (failure.step.as_str(), failure.reason.as_str()),
        ("create_bucket", "BUCKET_NAME_TAKEN")
    );
    // Beside what turned it back, what its undo meets.
    assert!(found.attempt_error.contains("SUBSCRIPTION_STATE"), "{found:?}");
    let whole = get(&kit, &admin(), &found.name).await.unwrap();
    let state: serde_json::Value = serde_json::from_str(&whole.state_json).unwrap();
    assert_eq!(state["bucket"], "photos");
    assert_eq!(pb::Saga { state_json: String::new(), ..whole }, found);

    let tried = retry(&kit, &found.name, "r").await.unwrap();
    assert_eq!((tried.status(), tried.attempts), (pb::SagaStatus::Running, 0));
    let ended = reaches(&kit, &found.name, pb::SagaStatus::Undone).await;
    assert_eq!(ended.failure, Some(failure));
    assert_eq!(kit.world.left(), NOTHING);
    // The first answer again, whatever has happened since; a new request is refused.
    assert_eq!(retry(&kit, &found.name, "r").await.unwrap(), tried);
    for error in [retry(&kit, &found.name, "").await, undo(&kit, &found.name, "").await] {
        let error = error.unwrap_err();
        assert_reason(&error, Code::FailedPrecondition, ErrorReason::SagaEnded);
        assert_eq!(metadata_of(&error, "status").as_deref(), Some("undone"));
    }
    assert_eq!(changes(&kit).await, ["saga.retried"]);
    assert!(kit.history(&customer).await.iter().all(|event| !event.starts_with("saga.")));
}

#[tokio::test]
async fn an_order_is_turned_back_while_its_bucket_is_being_made() {
    let gate = Arc::new(Semaphore::new(0));
    let world = World { gate: Some(Arc::clone(&gate)), ..World::default() };
    let kit = Arc::new(Kit::with(Config::default(), world).await);
    let customer = kit.customer("a@example.com").await;
    let order = tokio::spawn({
        let (kit, customer) = (Arc::clone(&kit), customer.clone());
        async move { kit.order(&customer, "photos", "o").await }
    });
    until(async || kit.world.left().contains("1 engine accounts")).await;
    let name = only(&kit, pb::SagaStatus::Running).await.name;
    until(async || get(&kit, &admin(), &name).await.unwrap().step == "create_bucket").await;

    // Two operators at once, one of them twice.
    let (one, two) = tokio::join!(undo(&kit, &name, "u"), undo(&kit, &name, ""));
    for turned in [one.unwrap(), two.unwrap(), undo(&kit, &name, "u").await.unwrap()] {
        assert_eq!((turned.direction(), turned.attempts), (pb::SagaDirection::Undoing, 0));
        let failure = turned.failure.unwrap();
        let wanted = ("create_bucket", "UNDONE_BY_OPERATOR", "turned back by administrator");
        assert_eq!((&*failure.step, &*failure.reason, &*failure.why), wanted);
    }
    gate.add_permits(1);
    let error = order.await.unwrap().unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::OrderFailed);
    assert_eq!(metadata_of(&error, "why").as_deref(), Some("the provider has withdrawn it"));
    reaches(&kit, &name, pb::SagaStatus::Undone).await;
    assert_eq!(kit.world.left(), NOTHING);
    assert_eq!(changes(&kit).await, ["saga.turned_back"; 2]);
    // The customer may order again.
    gate.add_permits(1);
    kit.order(&customer, "photos", "o").await.unwrap_err();
    kit.order(&customer, "photos", "o2").await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_is_stuck_is_tried_again_and_never_turned_back() {
    let mut config = Config::default();
    config.sagas.undo_attempts = 2;
    let kit = Kit::with(config, World::default()).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let away = (Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.world.fail("RemoveEngineAccount", When::Before, away, 2);
    let request = pb::DeleteAccountRequest { name, ..Default::default() };
    let mut accounts = kit.accounts();
    accounts.delete_account(kit.by(&customer, request)).await.unwrap_err();

    let stuck = only(&kit, pb::SagaStatus::Stuck).await;
    assert!(stuck.forward_only);
    assert_eq!(stuck.failure.clone().unwrap().reason, "ATTEMPTS_EXHAUSTED");
    let error = undo(&kit, &stuck.name, "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::SagaForwardOnly);
    assert_eq!(metadata_of(&error, "kind").as_deref(), Some("accounts.delete_account.v2"));
    assert_eq!(get(&kit, &admin(), &stuck.name).await.unwrap().status(), pb::SagaStatus::Stuck);

    retry(&kit, &stuck.name, "").await.unwrap();
    let ended = reaches(&kit, &stuck.name, pb::SagaStatus::Completed).await;
    assert_eq!((ended.step_number, ended.step.as_str(), ended.failure), (6, "mark_deleted", None));
    assert_eq!(kit.world.left(), NOTHING);
}

#[tokio::test]
async fn sagas_are_listed_newest_first_by_page_status_and_kind() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let mut names = Vec::new();
    for bucket in ["aaa", "bbb", "ccc"] {
        // Ids begin with the time, in milliseconds.
        kit.clock.advance(std::time::Duration::from_secs(1));
        names.push(kit.order(&customer, bucket, "").await.unwrap().name);
    }
    let request = pb::DeleteAccountRequest { name: names.remove(0), ..Default::default() };
    kit.accounts().delete_account(kit.by(&customer, request)).await.unwrap();

    let kind = "accounts.create_account.v1".to_owned();
    let orders = pb::ListSagasRequest { kind, page_size: 2, ..Default::default() };
    let page = list(&kit, orders.clone()).await.unwrap();
    assert_eq!(page.sagas.len(), 2);
    let token = page.next_page_token.clone();
    let next = pb::ListSagasRequest { page_token: token.clone(), ..orders.clone() };
    let last = list(&kit, next).await.unwrap();
    assert_eq!((last.sagas.len(), last.next_page_token.as_str()), (1, ""));
    let all = [page.sagas, last.sagas].concat();
    assert!(all.is_sorted_by(|newer, older| newer.name > older.name), "{all:?}");
    assert_eq!(list(&kit, pb::ListSagasRequest::default()).await.unwrap().sagas.len(), 4);

    let other = pb::ListSagasRequest { page_token: token, ..Default::default() };
    let error = list(&kit, other).await.unwrap_err();
    assert_reason(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    for (bad, field) in [
        (pb::ListSagasRequest { status: 9, ..Default::default() }, "status"),
        (pb::ListSagasRequest { kind: "x".repeat(101), ..Default::default() }, "kind"),
        (pb::ListSagasRequest { page_size: -1, ..Default::default() }, "page_size"),
    ] {
        let error = list(&kit, bad).await.unwrap_err();
        assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
        assert!(error.message().contains(field), "{error:?}");
    }
}

#[tokio::test]
async fn who_acts_for_a_customer_sees_no_sagas_and_absent_ones_are_told() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    let name = only(&kit, pb::SagaStatus::Completed).await.name;
    let by = acting_for(&customer);
    let request = |name: &str| pb::UndoSagaRequest { name: name.to_owned(), ..Default::default() };
    let refusals = [
        get(&kit, &by, &name).await.map(drop),
        kit.sagas().undo_saga(kit.by(&by, request(&name))).await.map(drop),
        kit.sagas().list_sagas(kit.by(&by, pb::ListSagasRequest::default())).await.map(drop),
    ];
    for refused in refusals {
        let error = refused.unwrap_err();
        assert_reason(&error, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
    let absent = "sagas/01890000-0000-7000-8000-000000000000";
    for error in [get(&kit, &admin(), absent).await, retry(&kit, absent, "").await] {
        assert_reason(&error.unwrap_err(), Code::NotFound, ErrorReason::SagaNotFound);
    }
    for name in ["", "sagas/", "sagas/x", "accounts/1"] {
        let error = undo(&kit, name, "").await.unwrap_err();
        assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
    }
}
