//! Moves of accounts to other locations.

use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage::AccountMoveState;
use tonic::{Code, Status};

use crate::changes::{Change, ask, assert_agreement, get};
use crate::double::World;
use crate::double_moves::{ELSEWHERE, THERE};
use crate::kit::{Kit, admin, assert_reason, until};

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Move,
    Confirm,
    Cancel,
}

pub(crate) async fn order(kit: &Kit, order: Order, name: &str, id: &str) -> Result<String, Status> {
    let (name, request_id) = (name.to_owned(), id.to_owned());
    let mut moves = kit.moves();
    match order {
        Order::Move => {
            let location = ELSEWHERE.to_owned();
            let message = pb::MoveAccountRequest { name, location, request_id };
            Ok(moves.move_account(kit.by(&admin(), message)).await?.into_inner().r#move)
        }
        Order::Confirm => {
            let message = pb::ConfirmAccountMoveRequest { name, request_id };
            Ok(moves.confirm_account_move(kit.by(&admin(), message)).await?.into_inner().r#move)
        }
        Order::Cancel => {
            let message = pb::CancelAccountMoveRequest { name, request_id };
            Ok(moves.cancel_account_move(kit.by(&admin(), message)).await?.into_inner().r#move)
        }
    }
}

/// An account, which moves or does not until it is told to.
pub(crate) async fn account(kit: &Kit) -> String {
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap().name
}

pub(crate) fn hold(world: &World, is_held: bool) {
    world.state().moves_held = is_held;
}

async fn switched(kit: &Kit, name: &str) {
    until(async || get(kit, name).await.location == ELSEWHERE).await;
}

#[tokio::test]
async fn an_account_moves_and_is_called_by_its_new_location_everywhere() {
    let kit = Kit::start().await;
    let name = account(&kit).await;
    let moved = order(&kit, Order::Move, &name, "m").await.unwrap();
    assert_eq!(order(&kit, Order::Move, &name, "m").await.unwrap(), moved, "a repeat");
    switched(&kit, &name).await;
    assert_eq!(get(&kit, &name).await.endpoint, THERE);
    assert_agreement(&kit, &name, "moved").await;
    let s3uid = name.trim_start_matches("accounts/").to_owned();
    assert_eq!(kit.world.state().meters[&s3uid].location, "DE");
    // What changes it from now on does so where it is.
    for change in [Change::Suspend, Change::Resume, Change::Rotate] {
        ask(&kit, change, &name, "").await.unwrap();
    }
    assert_eq!(kit.world.state().engine[&s3uid].location, ELSEWHERE);
    let state = (Code::FailedPrecondition, ErrorReason::AccountMoveState);
    assert_reason(&order(&kit, Order::Cancel, &name, "").await.unwrap_err(), state.0, state.1);
    assert_eq!(order(&kit, Order::Confirm, &name, "c").await.unwrap(), moved);
    assert_eq!(order(&kit, Order::Confirm, &name, "c").await.unwrap(), moved, "a repeat");
    let none = (Code::NotFound, ErrorReason::AccountMoveNotFound);
    assert_reason(&order(&kit, Order::Confirm, &name, "").await.unwrap_err(), none.0, none.1);
    for event in ["account.move_begun", "account.moved", "account.move_confirmed"] {
        let sql = "SELECT count(*) FROM history WHERE event = $1";
        let (count,): (i64,) = kit.db.fetch_one(sql, stowage_db::args![event]).await.unwrap();
        assert_eq!(count, 1, "{event}");
    }
}

#[tokio::test]
async fn while_it_is_copied_it_changes_and_while_it_is_compared_it_does_not() {
    let kit = Kit::start().await;
    let name = account(&kit).await;
    hold(&kit.world, true);
    let moved = order(&kit, Order::Move, &name, "").await.unwrap();
    for change in [Change::Suspend, Change::Resume, Change::Rotate, Change::Cancel] {
        ask(&kit, change, &name, "").await.expect("it is only copied");
    }
    let moving = (Code::FailedPrecondition, ErrorReason::AccountMoving);
    let message = pb::DeleteAccountRequest { name: name.clone(), ..Default::default() };
    let refused = kit.accounts().delete_account(kit.by(&admin(), message)).await;
    assert_reason(&refused.unwrap_err(), moving.0, moving.1);
    let set = |state| kit.world.state().moves.get_mut(&moved).unwrap().set_state(state);
    set(AccountMoveState::Copied);
    let is_frozen = async || kit.count("SELECT count(*) FROM account WHERE frozen").await == 1;
    until(is_frozen).await;
    for change in [Change::Suspend, Change::Revoke, Change::Withdraw] {
        assert_reason(&ask(&kit, change, &name, "").await.unwrap_err(), moving.0, moving.1);
    }
    // It does not verify, and the account goes on where it was.
    set(AccountMoveState::Failed);
    until(async || !is_frozen().await).await;
    ask(&kit, Change::Revoke, &name, "").await.unwrap();
    assert_eq!(order(&kit, Order::Move, &name, "").await.unwrap(), moved, "it is gone on with");
    hold(&kit.world, false);
    switched(&kit, &name).await;
    assert_agreement(&kit, &name, "moved").await;
}

#[tokio::test]
async fn one_that_is_cancelled_leaves_all_as_it_was() {
    let kit = Kit::start().await;
    let name = account(&kit).await;
    hold(&kit.world, true);
    let before = get(&kit, &name).await;
    order(&kit, Order::Move, &name, "").await.unwrap();
    let state = (Code::FailedPrecondition, ErrorReason::AccountMoveState);
    assert_reason(&order(&kit, Order::Confirm, &name, "").await.unwrap_err(), state.0, state.1);
    order(&kit, Order::Cancel, &name, "c").await.unwrap();
    order(&kit, Order::Cancel, &name, "c").await.expect("a repeat");
    assert_eq!(get(&kit, &name).await, before);
    let sql = "SELECT count(*) FROM account WHERE move_id IS NOT NULL OR frozen";
    assert_eq!(kit.count(sql).await, 0);
    order(&kit, Order::Move, &name, "").await.expect("it can be moved again");
}
