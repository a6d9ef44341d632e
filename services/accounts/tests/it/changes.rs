//! Changes of an account: suspension, plan, keys, and the end of its subscription.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use stowage_auth::Principal;
use stowage_bus::Event;
use stowage_proto::accounts as pb;
use stowage_proto::billing::{InvoiceOverdue, InvoiceSettled};
use stowage_proto::common::ErrorReason;
use stowage_runtime::metadata_of;
use stowage_types::{Clock as _, SystemRandom, new_id};
use tonic::{Code, Response, Status};

use crate::double::{ARCHIVE, BIGGER, PLAN, When};
use crate::kit::{Kit, admin, assert_reason, staff, until};

/// A change, as an operator or a customer asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Suspend,
    Resume,
    Plan(i64),
    Rotate,
    /// The key that a rotation retires.
    Revoke,
    /// The end of the account at the end of its period.
    Cancel,
    /// Its withdrawal.
    Withdraw,
}

/// The key pairs of an account that work: id and when it is revoked.
pub(crate) async fn keys(kit: &Kit, name: &str) -> Vec<pb::AccessKey> {
    let message = pb::ListAccessKeysRequest {
        parent: name.to_owned(),
        with_secrets: false,
        ..Default::default()
    };
    let listed = kit.accounts().list_access_keys(kit.by(&admin(), message)).await;
    listed.unwrap().into_inner().access_keys
}

pub(crate) async fn get(kit: &Kit, name: &str) -> pb::Account {
    let message = pb::GetAccountRequest { name: name.to_owned() };
    kit.accounts().get_account(kit.by(&admin(), message)).await.unwrap().into_inner()
}

/// Asks for a change as an administrator.
pub(crate) async fn ask(kit: &Kit, change: Change, name: &str, id: &str) -> Result<(), Status> {
    let (name, request_id) = (name.to_owned(), id.to_owned());
    let mut accounts = kit.accounts();
    match change {
        Change::Suspend => {
            let reason = "abuse".to_owned();
            let message = pb::SuspendAccountRequest { name, cause: 0, reason, request_id };
            accounts.suspend_account(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Resume => {
            let message = pb::ResumeAccountRequest { name, reason: String::new(), request_id };
            accounts.resume_account(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Plan(plan) => {
            let plan = format!("plans/{plan}");
            let message = pb::ChangeAccountPlanRequest { name, plan, request_id };
            accounts.change_account_plan(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Rotate => {
            let message = pb::RotateAccessKeyRequest { name, overlap: None, request_id };
            accounts.rotate_access_key(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Revoke => {
            let sql = "SELECT access_key FROM access_key WHERE revoke_time IS NOT NULL";
            let (access_key,): (String,) =
                kit.db.fetch_one(sql, stowage_db::args![]).await.unwrap();
            let message = pb::RevokeAccessKeyRequest { name, access_key, request_id };
            accounts.revoke_access_key(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Cancel => {
            let reason = "too dear".to_owned();
            let message = pb::ScheduleCancellationRequest { name, reason, request_id };
            accounts.schedule_cancellation(kit.by(&admin(), message)).await.map(|_| ())
        }
        Change::Withdraw => {
            let message = pb::WithdrawCancellationRequest { name, request_id };
            accounts.withdraw_cancellation(kit.by(&admin(), message)).await.map(|_| ())
        }
    }
}

/// Account, engine, subscription and meter say the same of an account that is not deleted.
pub(crate) async fn assert_agreement(kit: &Kit, name: &str, context: &str) {
    let account = get(kit, name).await;
    let listed: BTreeSet<_> = keys(kit, name).await.into_iter().map(|key| key.access_key).collect();
    let state = kit.world.state();
    let engine = &state.engine[&account.s3uid];
    let on_engine: BTreeSet<_> = engine.keys.iter().map(|key| key.access_key.clone()).collect();
    assert_eq!(on_engine, listed, "{context}");
    let held = [pb::AccountState::Suspended, pb::AccountState::Ended].contains(&account.state());
    assert_eq!(engine.suspended, held, "{context}");
    let is_capped = account.cap() != pb::AccountCap::Unspecified && !held;
    let is_read = account.state() == pb::AccountState::ReadOnly || is_capped;
    assert_eq!(engine.read_only, is_read, "{context}");
    let bounds = (account.quota_bytes, account.bucket_max);
    assert_eq!((engine.quota_bytes, engine.bucket_max), bounds, "{context}");
    let order = &state.orders[&account.s3uid];
    assert_eq!(format!("plans/{}", order.plan_id), account.plan, "{context}");
    if account.state() != pb::AccountState::Ended {
        assert_eq!(order.cancel_time, account.cancel_time, "{context}");
    }
    let meter = &state.meters[&account.s3uid];
    assert_eq!(format!("plans/{}", meter.plan_id), account.plan, "{context}");
    assert_eq!(meter.gb_bytes, account.gb_bytes, "{context}");
}

pub(crate) async fn with_account() -> (Kit, Principal, String) {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    (kit, customer, name)
}

#[tokio::test]
async fn a_suspension_reaches_the_engine_and_is_lifted_again() {
    let (kit, customer, name) = with_account().await;
    for _ in 0..2 {
        ask(&kit, Change::Suspend, &name, "").await.unwrap();
        let account = get(&kit, &name).await;
        let expected = (pb::AccountState::Suspended, pb::SuspensionCause::Administrator);
        assert_eq!((account.state(), account.suspension_cause()), expected);
        assert_eq!(account.cost(), pb::AccountCost::PlanAndStorage);
        assert_agreement(&kit, &name, "suspended").await;
    }
    // Unpaid is the weaker cause.
    let cause = pb::SuspensionCause::Unpaid.into();
    let message = pb::SuspendAccountRequest { name: name.clone(), cause, ..Default::default() };
    let held = kit.accounts().suspend_account(kit.by(&admin(), message.clone())).await.unwrap();
    assert_eq!(held.into_inner().suspension_cause(), pb::SuspensionCause::Administrator);
    let refused = ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(metadata_of(&refused, "state").as_deref(), Some("SUSPENDED"));
    assert_eq!(metadata_of(&refused, "action").as_deref(), Some("change_plan"));

    ask(&kit, Change::Resume, &name, "").await.unwrap();
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Active);
    assert_agreement(&kit, &name, "resumed").await;
    for by in [&customer, &staff()] {
        let refused = kit.accounts().suspend_account(kit.by(by, message.clone())).await;
        assert_reason(&refused.unwrap_err(), Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
    let events = kit.history(&customer).await;
    assert_eq!(events[3..], ["account.suspended", "account.resumed"], "each once");
}

#[tokio::test]
async fn an_unpaid_invoice_suspends_until_it_is_settled_and_an_old_event_changes_nothing() {
    let (kit, customer, name) = with_account().await;
    let s3uid = name.trim_start_matches("accounts/").to_owned();
    let event = |kind: &str, data: Vec<u8>| Event {
        id: new_id(&*kit.clock, &SystemRandom),
        source: "stowage/billing".into(),
        kind: format!("stowage.billing.invoice.{kind}.v1"),
        subject: name.clone(),
        time: kit.clock.now(),
        data,
        trace: Default::default(),
    };
    // As an older sender tells it: without stage and number.
    let overdue = InvoiceOverdue { s3uid: s3uid.clone(), invoice_id: 7, ..Default::default() };
    let settled = InvoiceSettled { s3uid: s3uid.clone(), invoice_id: 7, ..Default::default() };
    let (overdue, settled) = (overdue.encode_to_vec(), settled.encode_to_vec());
    let (overdue, settled) = (event("overdue", overdue), event("settled", settled));
    kit.bus.publish(&overdue).await.unwrap();
    let account = get(&kit, &name).await;
    let held = (account.state(), account.suspension_cause());
    assert_eq!(held, (pb::AccountState::Suspended, pb::SuspensionCause::Unpaid));
    assert_agreement(&kit, &name, "unpaid").await;
    kit.bus.publish(&settled).await.unwrap();
    kit.bus.publish(&overdue).await.unwrap();
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Active);
    // What an administrator wants is not lifted by a payment.
    ask(&kit, Change::Suspend, &name, "").await.unwrap();
    let again = Event { id: new_id(&*kit.clock, &SystemRandom), ..settled };
    kit.bus.publish(&again).await.unwrap();
    assert_eq!(get(&kit, &name).await.state(), pb::AccountState::Suspended);
    // Of an account that is gone nothing is to be held.
    let message = pb::DeleteAccountRequest { name: name.clone(), ..Default::default() };
    kit.accounts().delete_account(kit.by(&customer, message)).await.unwrap();
    let late = Event { id: new_id(&*kit.clock, &SystemRandom), ..overdue };
    kit.bus.publish(&late).await.unwrap();
    let nobody = InvoiceOverdue { s3uid: "x".to_owned(), invoice_id: 8, ..Default::default() };
    assert!(kit.bus.publish(&event("overdue", nobody.encode_to_vec())).await.is_err());
}

#[tokio::test]
async fn a_change_of_plan_changes_all_or_nothing() {
    let (kit, customer, name) = with_account().await;
    ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap();
    let account = get(&kit, &name).await;
    assert_eq!((account.quota_bytes, account.bucket_max, account.key_max), (2 << 40, 20, 3));
    assert_agreement(&kit, &name, "bigger").await;
    // Back again, with a part that refuses.
    let refusal = (Code::InvalidArgument, ErrorReason::InvalidField);
    kit.world.fail("EnsureEngineAccount", When::Before, refusal, 1);
    let failed = ask(&kit, Change::Plan(PLAN), &name, "").await.unwrap_err();
    assert_reason(&failed, Code::FailedPrecondition, ErrorReason::ChangeFailed);
    assert_eq!(metadata_of(&failed, "step").as_deref(), Some("change_engine_account"));
    assert_eq!(get(&kit, &name).await, account);
    assert_agreement(&kit, &name, "as before").await;
    for (plan, code, reason) in [
        (9, Code::NotFound, ErrorReason::PlanNotFound),
        (ARCHIVE, Code::FailedPrecondition, ErrorReason::PlanMismatch),
    ] {
        let refused = ask(&kit, Change::Plan(plan), &name, "").await.unwrap_err();
        assert_reason(&refused, code, reason);
    }
    let events = kit.history(&customer).await;
    assert_eq!(events[3..], ["account.plan_changed"], "what was undone is no change");
}

#[tokio::test]
async fn a_key_is_rotated_and_the_old_one_revoked_when_its_time_is_over() {
    let (mut kit, customer, name) = with_account().await;
    let old = keys(&kit, &name).await.remove(0);
    kit.clock.advance(Duration::from_secs(1));
    let overlap = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let rotate =
        pb::RotateAccessKeyRequest { name: name.clone(), overlap, request_id: "r".to_owned() };
    let new = kit.accounts().rotate_access_key(kit.by(&customer, rotate.clone())).await.unwrap();
    let new = new.into_inner();
    assert_eq!((new.access_key.len(), new.secret_key.len()), (20, 40));
    assert_agreement(&kit, &name, "two keys").await;
    let both = keys(&kit, &name).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].access_key, old.access_key);
    let hour = both[0].revoke_time.unwrap().seconds - kit.clock_now().unix_timestamp();
    assert!((3590..=3600).contains(&hour) && both[1].revoke_time.is_none(), "{both:?}");
    // The repeat has the same secret, and it is stored sealed.
    let again = kit.accounts().rotate_access_key(kit.by(&customer, rotate)).await.unwrap();
    assert_eq!(again.into_inner(), new);
    let bytes = kit.database_bytes().await;
    assert!(!bytes.windows(40).any(|part| part == new.secret_key.as_bytes()));
    // A third is too many.
    let refused = ask(&kit, Change::Rotate, &name, "").await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, ErrorReason::TooManyKeys);
    assert_eq!(metadata_of(&refused, "max").as_deref(), Some("2"));

    // A plan with more has room for it, until the old ones' time is over.
    ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap();
    kit.clock.advance(Duration::from_secs(1));
    ask(&kit, Change::Rotate, &name, "").await.unwrap();
    let three = keys(&kit, &name).await;
    assert_eq!((three.len(), three[0].revoke_time), (3, both[0].revoke_time));
    assert_agreement(&kit, &name, "three keys").await;

    kit.clock.advance(Duration::from_secs(3601));
    // The timer looks at start-up, too.
    kit.restart().await;
    until(async || keys(&kit, &name).await.len() == 2).await;
    assert_eq!(keys(&kit, &name).await[0].access_key, new.access_key);
    assert_agreement(&kit, &name, "two keys again").await;
    let erased = "SELECT count(*) FROM access_key WHERE sealed IS NULL";
    assert_eq!(kit.count(erased).await, 1);
    let events = kit.history(&customer).await;
    let expected = ["key.rotated", "account.plan_changed", "key.rotated", "key.revoked"];
    assert_eq!(events[3..], expected);
}

#[tokio::test]
async fn a_key_is_revoked_at_once_but_never_the_last_one() {
    let (mut kit, customer, name) = with_account().await;
    let revoke = async |kit: &Kit, access_key: &str| {
        let message = pb::RevokeAccessKeyRequest {
            name: name.clone(),
            access_key: access_key.to_owned(),
            ..Default::default()
        };
        let answer = kit.accounts().revoke_access_key(kit.by(&customer, message)).await;
        answer.map(Response::into_inner)
    };
    let old = keys(&kit, &name).await.remove(0).access_key;
    let last = revoke(&kit, &old).await.unwrap_err();
    assert_reason(&last, Code::InvalidArgument, ErrorReason::InvalidField);
    let absent = revoke(&kit, "AKIANOBODY").await.unwrap_err();
    assert_reason(&absent, Code::NotFound, ErrorReason::AccessKeyNotFound);
    kit.clock.advance(Duration::from_secs(1));
    ask(&kit, Change::Rotate, &name, "").await.unwrap();
    // The new one has leaked: the old one goes on, and its end is called off.
    let new = keys(&kit, &name).await.remove(1).access_key;
    let revoked = revoke(&kit, &new).await.unwrap();
    assert_eq!((revoked.access_key.as_str(), revoked.secret_key.as_str()), (new.as_str(), ""));
    assert_eq!(revoke(&kit, &new).await.unwrap(), revoked, "and once more");
    assert_agreement(&kit, &name, "the old one").await;
    kit.clock.advance(Duration::from_secs(90 * 86_400));
    kit.restart().await;
    kit.sagas_ended().await;
    let left = keys(&kit, &name).await;
    assert_eq!((left.len(), left[0].access_key.as_str()), (1, old.as_str()));
    assert_eq!(left[0].revoke_time, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_come_at_once_are_made_one_after_the_other() {
    let (kit, customer, name) = with_account().await;
    let changes = [
        Change::Suspend,
        Change::Plan(BIGGER),
        Change::Rotate,
        Change::Resume,
        Change::Suspend,
        Change::Plan(PLAN),
    ];
    let asked = changes.map(|change| ask(&kit, change, &name, ""));
    for (change, answer) in changes.iter().zip(futures_util::future::join_all(asked).await) {
        if let Err(error) = answer {
            // While it is suspended, its plan stays.
            assert!(matches!(change, Change::Plan(_)), "{change:?} {error:?}");
            assert_reason(&error, Code::FailedPrecondition, ErrorReason::AccountState);
        }
    }
    assert_agreement(&kit, &name, "after all").await;
    assert_eq!(kit.count("SELECT count(*) FROM account WHERE change_saga IS NULL").await, 1);
    let message = pb::DeleteAccountRequest { name: name.clone(), ..Default::default() };
    let delete = kit.accounts();
    let (deleted, _) = tokio::join!(
        async { delete.clone().delete_account(kit.by(&customer, message)).await },
        ask(&kit, Change::Rotate, &name, ""),
    );
    assert_eq!(deleted.unwrap().into_inner().state(), pb::AccountState::Deleted);
    assert_eq!(kit.world.left(), "0 orders, 0 engine accounts, 0 buckets, 0 meters");
}

#[tokio::test]
async fn the_data_of_an_ended_account_is_kept_for_the_retention_time() {
    let (mut kit, customer, name) = with_account().await;
    let message = pb::ScheduleCancellationRequest { name: name.clone(), ..Default::default() };
    kit.accounts().schedule_cancellation(kit.by(&customer, message)).await.unwrap();
    kit.clock.set(time::OffsetDateTime::from_unix_timestamp(4_000_000_001).unwrap());
    kit.restart().await;
    until(async || get(&kit, &name).await.state() == pb::AccountState::Ended).await;
    let account = get(&kit, &name).await;
    let left = account.delete_time.unwrap().seconds - kit.clock_now().unix_timestamp();
    assert!((14 * 86_400 - 60..=14 * 86_400).contains(&left), "{left}");
    assert_eq!(account.cost(), pb::AccountCost::Unspecified);
    assert_eq!(kit.world.left(), "0 orders, 1 engine accounts, 1 buckets, 1 meters");
    assert_agreement(&kit, &name, "ended").await;
    for change in [Change::Resume, Change::Suspend, Change::Plan(BIGGER), Change::Rotate] {
        let refused = ask(&kit, change, &name, "").await.unwrap_err();
        assert_reason(&refused, Code::FailedPrecondition, ErrorReason::AccountState);
    }
    let withdraw = pb::WithdrawCancellationRequest { name: name.clone(), ..Default::default() };
    let refused = kit.accounts().withdraw_cancellation(kit.by(&customer, withdraw)).await;
    assert_reason(&refused.unwrap_err(), Code::FailedPrecondition, ErrorReason::AccountState);

    kit.clock.advance(Duration::from_secs(14 * 86_400 + 1));
    kit.restart().await;
    until(async || kit.world.left().starts_with("0 orders, 0 engine")).await;
    kit.sagas_ended().await;
    let events = kit.history(&customer).await;
    assert_eq!(
        events[3..],
        ["cancellation.scheduled", "account.ended", "account.deletion_begun", "account.deleted"]
    );
}
