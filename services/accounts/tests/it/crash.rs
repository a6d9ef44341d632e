//! Every fault in every step of every saga of the role, the death of the process included.

use std::sync::Arc;

use stowage_accounts::{Config, matrix};
use stowage_proto::accounts as pb;
use stowage_proto::billing::DunningStage;
use stowage_proto::common::ErrorReason;
use stowage_runtime::reason_of;
use stowage_saga::matrix::{Case, Fault, Faults, Injection, Moment};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::adoptions::{adopt, somebodys};
use crate::changes::{Change, ask, assert_agreement, get, keys};
use crate::double::{BIGGER, LOCATION, World};
use crate::double_moves::ELSEWHERE;
use crate::dunning::{Word, overdue, said};
use crate::kit::Kit;
use crate::moves::{self, Order, hold, order};

const SWITCHED: &str = "SELECT count(*) FROM history WHERE event = 'account.moved'";
const NOTHING: &str = "0 orders, 0 engine accounts, 0 buckets, 0 meters";
const ONE: &str = "1 orders, 1 engine accounts, 1 buckets, 1 meters";

/// Every change that one saga makes.
const CHANGES: [Change; 5] =
    [Change::Suspend, Change::Resume, Change::Plan(BIGGER), Change::Rotate, Change::Revoke];

/// What billing says, and before that.
const WORDS: [(Option<Word>, Word); 3] = [
    (None, overdue(DunningStage::ReadOnly)),
    (Some(overdue(DunningStage::Suspended)), overdue(DunningStage::Ended)),
    (Some(overdue(DunningStage::Ended)), Word::Settled),
];

/// Cases that run at once.
const AT_ONCE: usize = 4;

async fn kit_with(faults: &Arc<Faults>) -> Kit {
    kit_in(World::default(), faults).await
}

async fn kit_in(world: World, faults: &Arc<Faults>) -> Kit {
    let mut config = Config::default();
    config.sagas.faults = Some(Arc::clone(faults));
    Kit::with(config, world).await
}

/// Runs every case, some at a time; a failing one is named by its panic. On a server, where each
/// takes longer, every fourth: files prove the sagas, it proves the locks.
async fn for_each<F>(cases: Vec<Case>, run: impl Fn(Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    let every = if stowage_db::testing::is_postgres() { 4 } else { 1 };
    for case in cases.into_iter().step_by(every) {
        if running.len() >= AT_ONCE {
            running.remove(0).await.unwrap();
        }
        running.push(tokio::spawn(run(case)));
    }
    for task in running {
        task.await.unwrap();
    }
}

async fn outlive_order(case: Case, world: World) {
    let faults = Arc::new(Faults::new(case.faults.clone()));
    let mut kit = kit_in(world, &faults).await;
    let customer = kit.customer("a@example.com").await;
    let answer = tokio::select! {
        answer = kit.order(&customer, "photos", "r1") => Some(answer),
        () = faults.crashed() => None,
    };
    kit.restart().await;
    answered_without_its_caller(&kit, "r1").await;
    let answer = match answer {
        Some(answer) => answer,
        None => kit.order(&customer, "photos", "r1").await,
    };
    check_order(&kit, &case, answer).await;
    assert!(faults.is_used_up(), "{case:?}");
}

/// Whoever ends the saga, its answer is there as soon as its effect is, and not before.
async fn answered_without_its_caller(kit: &Kit, request_id: &str) {
    kit.sagas_ended().await;
    let sql = match request_id {
        "d" => {
            "SELECT count(*) FROM account a WHERE (a.state = 'DELETED') <> EXISTS \
            (SELECT 1 FROM request WHERE request_id = 'd' AND answer IS NOT NULL)"
        }
        _ => {
            "SELECT count(*) FROM account a WHERE (a.state = 'ACTIVE') <> EXISTS \
            (SELECT 1 FROM request WHERE request_id = 'r1' AND answer IS NOT NULL)"
        }
    };
    assert_eq!(kit.count(sql).await, 0, "{request_id}");
}

async fn check_order(kit: &Kit, case: &Case, answer: Result<pb::Account, Status>) {
    let states = "SELECT count(*) FROM account WHERE state = 'ACTIVE'";
    let keys = "SELECT count(*) FROM access_key WHERE sealed IS NOT NULL";
    let activated = "SELECT count(*) FROM history WHERE event = 'account.activated'";
    let failed = "SELECT count(*) FROM history WHERE event = 'account.failed'";
    if case.is_undone {
        let reason = reason_of(&answer.unwrap_err());
        let expected = match (case.faults[0].step, case.faults[0].fault) {
            // An operator turned it back, wherever it stood.
            (_, Fault::TurnBack) => ErrorReason::OrderFailed,
            ("create_bucket", _) => ErrorReason::BucketCreationFailed,
            _ => ErrorReason::OrderFailed,
        };
        assert_eq!(reason, Some(expected), "{case:?}");
        assert_eq!(kit.world.left(), NOTHING, "{case:?}");
    } else {
        assert_eq!(answer.unwrap().state(), pb::AccountState::Active, "{case:?}");
        assert_eq!(kit.world.left(), ONE, "{case:?}");
    }
    let is_done = i64::from(!case.is_undone);
    for (sql, expected) in
        [(states, is_done), (keys, is_done), (activated, is_done), (failed, 1 - is_done)]
    {
        assert_eq!(kit.count(sql).await, expected, "{sql} {case:?}");
    }
    kit.drain().await;
    assert_eq!(kit.count("SELECT count(*) FROM saga WHERE status = 'running'").await, 0);
}

async fn outlive_deletion(case: Case) {
    let faults = Arc::new(Faults::new(case.faults.clone()));
    let mut kit = kit_with(&faults).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let delete = || pb::DeleteAccountRequest {
        name: name.clone(),
        reason: String::new(),
        request_id: "d".to_owned(),
    };
    {
        let mut client = kit.accounts();
        tokio::select! {
            answer = client.delete_account(kit.by(&customer, delete())) => { answer.unwrap(); }
            () = faults.crashed() => {}
        }
    }
    kit.restart().await;
    answered_without_its_caller(&kit, "d").await;
    let answer = kit.accounts().delete_account(kit.by(&customer, delete())).await.unwrap();
    assert_eq!(answer.into_inner().state(), pb::AccountState::Deleted, "{case:?}");
    assert_eq!(kit.world.left(), NOTHING, "{case:?}");
    let deleted = "SELECT count(*) FROM history WHERE event = 'account.deleted'";
    assert_eq!(kit.count(deleted).await, 1, "{case:?}");
    assert!(faults.is_used_up(), "{case:?}");
}

/// A change, the account it is made of, and a fault: all is as before or as asked for, at once or
/// when the next process has ended it.
async fn outlive_change(case: Case, change: Change, world: World) {
    let faults = Arc::new(Faults::new(Vec::new()));
    let mut kit = kit_in(world, &faults).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    match change {
        Change::Resume => ask(&kit, Change::Suspend, &name, "").await.unwrap(),
        Change::Revoke => ask(&kit, Change::Rotate, &name, "").await.unwrap(),
        Change::Withdraw => ask(&kit, Change::Cancel, &name, "").await.unwrap(),
        _ => {}
    }
    let (before, keys_before) = (get(&kit, &name).await, keys(&kit, &name).await);
    faults.add(case.faults.clone());
    let answer = tokio::select! {
        answer = ask(&kit, change, &name, "c") => Some(answer),
        () = faults.crashed() => None,
    };
    kit.restart().await;
    kit.sagas_ended().await;
    let context = format!("{change:?} {case:?}");
    assert_agreement(&kit, &name, &context).await;
    let is_as_before = (get(&kit, &name).await, keys(&kit, &name).await) == (before, keys_before);
    assert_eq!(is_as_before, case.is_undone, "{context}");
    match answer {
        Some(Err(error)) => {
            let is_away = case.faults.iter().any(|fault| fault.fault == Fault::Away);
            let reason = if is_away { ErrorReason::Unavailable } else { ErrorReason::ChangeFailed };
            assert_eq!(reason_of(&error), Some(reason), "{context}");
            assert!(case.is_undone, "{context}");
        }
        Some(Ok(())) => assert!(!case.is_undone, "{context}"),
        None => {}
    }
    assert!(faults.is_used_up(), "{context}");
    // A repeat makes it so, or finds it so.
    faults.clear();
    ask(&kit, change, &name, "c").await.unwrap();
    assert_agreement(&kit, &name, &context).await;
    let busy = "SELECT count(*) FROM account WHERE change_saga IS NOT NULL";
    assert_eq!(kit.count(busy).await, 0, "{context}");
}

/// What billing says of unpaid invoices, which comes again until it is taken.
async fn outlive_word(case: Case, (before, word): (Option<Word>, Word)) {
    let faults = Arc::new(Faults::new(Vec::new()));
    let mut kit = kit_with(&faults).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    if let Some(before) = before {
        kit.bus.publish(&said(&kit, &name, before, 1)).await.unwrap();
    }
    let was = get(&kit, &name).await;
    let noted = kit.history(&customer).await.len();
    let event = said(&kit, &name, word, 2);
    faults.add(case.faults.clone());
    let bus = kit.bus.clone();
    let answer = tokio::select! {
        answer = bus.publish(&event) => Some(answer),
        () = faults.crashed() => None,
    };
    kit.restart().await;
    kit.sagas_ended().await;
    let context = format!("{word:?} {case:?}");
    assert_agreement(&kit, &name, &context).await;
    assert_eq!(get(&kit, &name).await == was, case.is_undone, "{context}");
    if let Some(answer) = answer {
        assert_eq!(answer.is_err(), case.is_undone, "{context}");
    }
    assert!(faults.is_used_up(), "{context}");
    faults.clear();
    kit.bus.publish(&event).await.unwrap();
    assert_agreement(&kit, &name, &context).await;
    assert_ne!(get(&kit, &name).await, was, "{context}");
    assert_eq!(kit.history(&customer).await.len(), noted + 1, "once: {context}");
    let busy = "SELECT count(*) FROM account WHERE change_saga IS NOT NULL";
    assert_eq!(kit.count(busy).await, 0, "{context}");
}

async fn outlive_end(case: Case) {
    let faults = Arc::new(Faults::new(case.faults.clone()));
    let mut kit = kit_with(&faults).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let message = pb::ScheduleCancellationRequest { name: name.clone(), ..Default::default() };
    kit.accounts().schedule_cancellation(kit.by(&customer, message)).await.unwrap();
    kit.clock.set(time::OffsetDateTime::from_unix_timestamp(4_000_000_001).unwrap());
    // The timer begins it, and the next process ends what a crash has cut off.
    for _ in 0..2 {
        kit.restart().await;
        let begun = "SELECT count(*) FROM saga WHERE kind = 'accounts.end_account.v1'";
        kit.is_one(begun).await;
        if case.faults.iter().any(|fault| fault.fault == Fault::Crash) && !faults.is_used_up() {
            faults.crashed().await;
        }
    }
    kit.sagas_ended().await;
    let context = format!("{case:?}");
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Ended, "{context}");
    assert_agreement(&kit, &name, &context).await;
    assert_eq!(kit.world.left(), "0 orders, 1 engine accounts, 1 buckets, 1 meters", "{context}");
    let ended = "SELECT count(*) FROM history WHERE event = 'account.ended'";
    assert_eq!(kit.count(ended).await, 1, "{context}");
    assert!(faults.is_used_up(), "{context}");
}

/// The beginning of a move: it is begun, or all is as before.
async fn outlive_move(case: Case) {
    let faults = Arc::new(Faults::new(case.faults.clone()));
    let mut kit = kit_with(&faults).await;
    hold(&kit.world, true);
    let name = moves::account(&kit).await;
    let before = get(&kit, &name).await;
    let answer = tokio::select! {
        answer = order(&kit, Order::Move, &name, "m") => Some(answer),
        () = faults.crashed() => None,
    };
    kit.restart().await;
    kit.sagas_ended().await;
    let context = format!("{case:?}");
    assert_eq!(get(&kit, &name).await, before, "{context}");
    let moving = kit.count("SELECT count(*) FROM account WHERE move_to = 'DE'").await;
    assert_eq!(moving, i64::from(!case.is_undone), "{context}");
    let open = |moved: &stowage_proto::storage::AccountMove| {
        moved.state() != stowage_proto::storage::AccountMoveState::Cancelled
    };
    let there = kit.world.state().moves.values().filter(|moved| open(moved)).count();
    assert_eq!(there, usize::from(!case.is_undone), "{context}");
    if let Some(answer) = answer {
        assert_eq!(answer.is_err(), case.is_undone, "{context}: {answer:?}");
    }
    assert!(faults.is_used_up(), "{context}");
    faults.clear();
    order(&kit, Order::Move, &name, "m").await.unwrap();
    let busy = "SELECT count(*) FROM account WHERE change_saga IS NOT NULL";
    assert_eq!(kit.count(busy).await, 0, "{context}");
}

/// The rest of a move: the faults happen to its switch, to its confirmation, or to its end.
async fn outlive_going_on(case: Case, what: What) {
    let faults = Arc::new(Faults::new(Vec::new()));
    let mut kit = kit_with(&faults).await;
    hold(&kit.world, true);
    let name = moves::account(&kit).await;
    order(&kit, Order::Move, &name, "").await.unwrap();
    if what == What::Confirm {
        hold(&kit.world, false);
        kit.is_one(SWITCHED).await;
        kit.sagas_ended().await;
    }
    faults.add(case.faults.clone());
    match what {
        What::Switch => {
            hold(&kit.world, false);
            if case.faults.iter().any(|fault| fault.fault == Fault::Crash) {
                faults.crashed().await;
            }
        }
        What::Confirm | What::Cancel => {
            let asked = if what == What::Confirm { Order::Confirm } else { Order::Cancel };
            tokio::select! {
                answer = order(&kit, asked, &name, "o") => { answer.unwrap(); }
                () = faults.crashed() => {}
            }
        }
    }
    let context = format!("{what:?} {case:?}");
    let (expected, noted) = match what {
        What::Switch => (ELSEWHERE, SWITCHED),
        What::Confirm => {
            (ELSEWHERE, "SELECT count(*) FROM history WHERE event = 'account.move_confirmed'")
        }
        What::Cancel => {
            (LOCATION, "SELECT count(*) FROM history WHERE event = 'account.move_cancelled'")
        }
    };
    if what == What::Switch && !case.faults.iter().any(|fault| fault.fault == Fault::Crash) {
        kit.is_one(SWITCHED).await;
    }
    kit.restart().await;
    kit.is_one(noted).await;
    kit.sagas_ended().await;
    assert_eq!(get(&kit, &name).await.location, expected, "{context}");
    assert_agreement(&kit, &name, &context).await;
    assert!(faults.is_used_up(), "{context}");
    let busy = "SELECT count(*) FROM account WHERE change_saga IS NOT NULL OR frozen \
        OR move_to IS NOT NULL";
    assert_eq!(kit.count(busy).await, 0, "{context}");
    let noted = kit.count("SELECT count(*) FROM account WHERE move_id IS NOT NULL").await;
    assert_eq!(noted, i64::from(what == What::Switch), "{context}");
}

/// An adoption, which has no way back.
async fn outlive_adoption(case: Case) {
    let faults = Arc::new(Faults::new(case.faults.clone()));
    let mut kit = kit_in(World::inhabited(), &faults).await;
    let customer = kit.customer("a@example.com").await.customer.unwrap().0;
    tokio::select! {
        answer = adopt(&kit, somebodys(customer, "r1")) => { answer.unwrap(); }
        () = faults.crashed() => {}
    }
    kit.restart().await;
    answered_without_its_caller(&kit, "r1").await;
    let made = adopt(&kit, somebodys(customer, "r1")).await.unwrap();
    let context = format!("{case:?}");
    assert_eq!(made.state(), pb::AccountState::Active, "{context}");
    assert_eq!(kit.world.left(), ONE, "{context}");
    assert_agreement(&kit, &made.name, &context).await;
    assert!(faults.is_used_up(), "{context}");
}

/// What of a move the faults happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Switch,
    Confirm,
    Cancel,
}

/// A deletion that the first release began, and a later one ends.
async fn outlive_upgrade() {
    let when = Moment::Before;
    let step = "remove_engine_account";
    let crash = Injection { step, is_undo: false, when, fault: Fault::Crash };
    let faults = Arc::new(Faults::new(vec![crash]));
    let mut kit = kit_with(&faults).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let message = pb::DeleteAccountRequest { name, ..Default::default() };
    let mut client = kit.accounts();
    tokio::select! {
        _ = client.delete_account(kit.by(&customer, message)) => panic!("it was cut off"),
        () = faults.crashed() => {}
    }
    let mut tx = kit.db.begin().await.unwrap();
    let sql = "SELECT state FROM saga WHERE kind = 'accounts.delete_account.v2'";
    let (state,): (String,) = tx.fetch_one(sql, stowage_db::args![]).await.unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&state).unwrap();
    state.as_object_mut().unwrap().remove("pending");
    let sql = "UPDATE saga SET kind = 'accounts.delete_account.v1', step = 1, state = $1 \
        WHERE kind = 'accounts.delete_account.v2'";
    tx.execute(sql, stowage_db::args![state.to_string()]).await.unwrap();
    tx.commit().await.unwrap();
    kit.restart().await;
    kit.sagas_ended().await;
    assert_eq!(kit.world.left(), NOTHING);
    assert_eq!(kit.count("SELECT count(*) FROM account WHERE state = 'DELETED'").await, 1);
}

/// Walks over what the role registers: a kind that is not named here fails.
#[tokio::test(flavor = "multi_thread")]
async fn every_registered_kind_of_saga_outlives_every_fault() {
    let kit = Kit::start().await;
    let mut kinds = matrix::of_role(Config::default(), &kit.deps());
    kinds.sort_by_key(|(kind, _)| *kind);
    for (kind, cases) in kinds {
        match kind {
            // Steps after the first write: 5 calls and a write. Each has 6 faults that are made
            // once and one operator; each call is away at 2 moments and has another operator; 6
            // undos have 6 faults; 5 run twice for nothing.
            "accounts.create_account.v1" => {
                assert_eq!(cases.len(), 6 * 6 + 6 + 5 * 3 + 6 * 6 + 5);
                for_each(cases.clone(), |case| outlive_order(case, World::default())).await;
                for_each(cases, |case| outlive_order(case, World::issuing())).await;
            }
            // 4 calls and a write.
            "accounts.adopt_account.v1" => {
                assert_eq!(cases.len(), 5 * 6);
                for_each(cases, outlive_adoption).await;
            }
            // It has no way back.
            "accounts.delete_account.v2" => {
                assert_eq!(cases.len(), 5 * 6);
                for_each(cases, outlive_deletion).await;
            }
            // None is begun any more; its steps are those of the second.
            "accounts.delete_account.v1" => outlive_upgrade().await,
            "accounts.end_account.v1" => {
                assert_eq!(cases.len(), 3 * 6);
                for_each(cases, outlive_end).await;
            }
            "accounts.change_account.v1" => {
                // 3 calls and a write, 4 undos.
                assert_eq!(cases.len(), 4 * 6 + 4 + 3 * 3 + 4 * 6 + 3);
                let run = |change, world: fn() -> World| {
                    for_each(cases.clone(), move |case| outlive_change(case, change, world()))
                };
                for change in CHANGES {
                    run(change, World::default).await;
                }
                run(Change::Rotate, World::issuing).await;
                for words in WORDS {
                    for_each(cases.clone(), move |case| outlive_word(case, words)).await;
                }
            }
            "accounts.change_cancellation.v1" => {
                // A call and a write, 2 undos.
                assert_eq!(cases.len(), 2 * 6 + 2 + 3 + 2 * 6 + 1);
                for change in [Change::Cancel, Change::Withdraw] {
                    let run = move |case| outlive_change(case, change, World::default());
                    for_each(cases.clone(), run).await;
                }
            }
            "accounts.start_move.v1" => {
                // A call and a write, 2 undos.
                assert_eq!(cases.len(), 2 * 6 + 2 + 3 + 2 * 6 + 1);
                for_each(cases, outlive_move).await;
            }
            "accounts.go_on_move.v1" => {
                // 2 calls and a write.
                assert_eq!(cases.len(), 3 * 6);
                for what in [What::Switch, What::Confirm, What::Cancel] {
                    for_each(cases.clone(), move |case| outlive_going_on(case, what)).await;
                }
            }
            other => panic!("no test lets every fault happen to sagas of kind {other}: add one"),
        }
    }
}
