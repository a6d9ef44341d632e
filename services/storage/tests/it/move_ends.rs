//! Moves that are refused, looked at, and given up.

use stowage_engine::{AccountSpec, Engine, KeyPair};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::AccountMoveState as State;
use stowage_types::{BucketName, S3uid, SystemRandom, name};
use tonic::Code;

use crate::kit::{Kit, assert_reason, wanted};
use crate::moves::Two;

#[tokio::test]
async fn what_cannot_be_moved_is_refused_with_all_that_is_in_the_way() {
    let two = Two::start().await;
    let (uid, stored) = two.account().await;
    let there = S3uid::generate(&SystemRandom);
    two.to.ensure_account(&AccountSpec::new(there.clone(), Vec::new())).await.unwrap();
    for bucket in ["photos", "papers"] {
        two.to.create_bucket(&there, &BucketName::new(bucket).unwrap()).await.unwrap();
    }
    let reason = ErrorReason::AccountMoveRefused;
    let status = assert_reason(two.start_move(&uid).await, Code::FailedPrecondition, reason);
    assert!(status.message().contains("photos is taken"), "{status:?}");
    assert!(status.message().contains("papers is taken"), "{status:?}");
    two.to.remove_account(&there, true).await.unwrap();

    let key = &wanted(&uid).keys[0];
    let (access_key, secret_key) = (key.access_key.clone(), "another-secret".into());
    let spec = AccountSpec::new(there.clone(), vec![KeyPair { access_key, secret_key }]);
    two.to.ensure_account(&spec).await.unwrap();
    let refused = two.start_move(&uid).await;
    let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    assert!(status.message().contains("keys"), "{status:?}");
    assert_eq!(two.get(&uid).await.state(), State::Cancelled);
    assert!(two.is_gone(&two.to, &uid).await);
    two.assert_has(0, &uid, &stored).await;
    two.close().await;
}

#[tokio::test]
async fn a_move_needs_an_account_and_another_open_location() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let name = name::account_move(&uid, uuid::Uuid::from_u128(7));
    let start = async |location: &str, uid: &S3uid| {
        let request = pb::StartAccountMoveRequest {
            name: name.replace(&uid.to_string(), uid.as_str()),
            location: format!("locations/{location}"),
            keys: wanted(uid).keys,
            validate_only: true,
        };
        kit.moves().start_account_move(kit.as_service(request)).await
    };
    let closed = (Code::FailedPrecondition, ErrorReason::LocationClosed);
    assert_reason(start("FAR", &uid).await, closed.0, closed.1);
    let absent = (Code::NotFound, ErrorReason::LocationNotFound);
    assert_reason(start("XX", &uid).await, absent.0, absent.1);
    let same = (Code::InvalidArgument, ErrorReason::InvalidField);
    assert_reason(start("NL", &uid).await, same.0, same.1);
    let nobody = S3uid::generate(&SystemRandom);
    let request = pb::StartAccountMoveRequest {
        name: name::account_move(&nobody, uuid::Uuid::from_u128(8)),
        location: "locations/FAR".to_owned(),
        keys: wanted(&nobody).keys,
        validate_only: false,
    };
    let refused = kit.moves().start_account_move(kit.as_service(request)).await;
    assert_reason(refused, Code::NotFound, ErrorReason::AccountNotFound);
    let request = pb::GetAccountMoveRequest { name: name.clone() };
    let refused = kit.moves().get_account_move(kit.as_staff(request)).await;
    assert_reason(refused, Code::NotFound, ErrorReason::AccountMoveNotFound);
    let request = pb::GetAccountMoveRequest { name: "accounts/x".to_owned() };
    let refused = kit.moves().get_account_move(kit.as_staff(request)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn one_that_is_only_tried_changes_nothing() {
    let two = Two::start().await;
    let (uid, _) = two.account().await;
    let request = pb::StartAccountMoveRequest {
        name: two.name(&uid),
        location: "locations/DE".to_owned(),
        keys: wanted(&uid).keys,
        validate_only: true,
    };
    let tried = two.kit.moves().start_account_move(two.kit.as_service(request)).await.unwrap();
    assert_eq!(tried.into_inner().start_object_count, 40);
    assert_eq!(two.kit.count("SELECT count(*) FROM account_move").await, 0);
    assert!(two.is_gone(&two.to, &uid).await);
    two.close().await;
}

#[tokio::test]
async fn a_move_is_cancelled_wherever_it_is_before_the_switch() {
    for at in [State::Copying, State::Copied, State::Freezing, State::Verified] {
        let mut two = Two::start().await;
        let (uid, stored) = two.account().await;
        two.start_move(&uid).await.unwrap();
        if at != State::Copying {
            two.kit.run_tasks();
            two.reach(&uid, State::Copied).await;
        }
        if !matches!(at, State::Copying | State::Copied) {
            two.freeze(&uid).await.unwrap();
        }
        if at == State::Verified {
            two.reach(&uid, at).await;
        }
        two.cancel(&uid).await.unwrap();
        two.cancel(&uid).await.unwrap();
        two.kit.run_tasks();
        let ended = two.reach(&uid, State::Cancelled).await;
        assert!(ended.end_time.is_some());
        assert!(two.is_gone(&two.to, &uid).await, "{at:?}: the copy stays");
        assert!(two.is_writable(0, &uid).await, "{at:?}: it has not its access back");
        two.assert_has(0, &uid, &stored).await;
        two.kit.ensure(wanted(&uid)).await.expect("it can be changed again");
        let state = (Code::FailedPrecondition, ErrorReason::AccountMoveState);
        assert_reason(two.switch(&uid).await, state.0, state.1);
        assert_reason(two.confirm(&uid).await, state.0, state.1);
        two.close().await;
    }
}

#[tokio::test]
async fn there_is_no_way_back_from_a_switch() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    let state = (Code::FailedPrecondition, ErrorReason::AccountMoveState);
    assert_reason(two.switch(&uid).await, state.0, state.1);
    assert_reason(two.confirm(&uid).await, state.0, state.1);
    two.move_on(&uid).await;
    assert_reason(two.cancel(&uid).await, state.0, state.1);
    assert_reason(two.freeze(&uid).await, state.0, state.1);
    // Another move would have two old sides.
    let request = pb::StartAccountMoveRequest {
        name: name::account_move(&uid, uuid::Uuid::from_u128(9)),
        location: "locations/NL".to_owned(),
        keys: wanted(&uid).keys,
        validate_only: false,
    };
    let refused = two.kit.moves().start_account_move(two.kit.as_service(request.clone())).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountMoving);
    two.confirm(&uid).await.unwrap();
    two.reach(&uid, State::Confirmed).await;
    two.kit.moves().start_account_move(two.kit.as_service(request)).await.unwrap();
    two.assert_has(1, &uid, &stored).await;
    let request = pb::ListAccountMovesRequest {
        parent: "accounts/-".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let mut listed = two.kit.moves().list_account_moves(two.kit.as_staff(request.clone())).await;
    let first = listed.unwrap().into_inner();
    let second = pb::ListAccountMovesRequest { page_token: first.next_page_token, ..request };
    listed = two.kit.moves().list_account_moves(two.kit.as_staff(second)).await;
    let second = listed.unwrap().into_inner();
    let ids: Vec<_> = [first.moves, second.moves].concat().into_iter().map(|m| m.name).collect();
    assert!(ids.len() == 2 && ids.contains(&two.name(&uid)), "{ids:?}");
    assert_eq!(second.next_page_token, "");
    two.close().await;
}

#[tokio::test]
async fn an_account_that_is_removed_goes_from_the_old_side_too() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, _) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    two.kit.remove(&uid, true).await.unwrap();
    for engine in [&two.to, &two.kit.engine] {
        assert!(two.is_gone(engine, &uid).await, "a side has it still");
    }
    assert_eq!(two.get(&uid).await.state(), State::Confirmed);
    two.close().await;
}

#[tokio::test]
async fn one_whose_old_side_is_gone_already_is_confirmed() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    // As by a process that has died before it could write so.
    two.kit.engine.remove_account(&uid, true).await.unwrap();
    two.confirm(&uid).await.unwrap();
    two.reach(&uid, State::Confirmed).await;
    two.assert_has(1, &uid, &stored).await;
    two.close().await;
}
