use std::time::Duration;

use stowage_auth::Principal;
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::metadata_of;
use tonic::{Code, Response};

use crate::double::When;
use crate::kit::{Kit, acting_for, admin, assert_reason, staff, until};

const HIDDEN: &str = "S3 account not found for this customer";

async fn get(kit: &Kit, by: &Principal, name: &str) -> Result<pb::Account, tonic::Status> {
    let message = pb::GetAccountRequest { name: name.into() };
    kit.accounts().get_account(kit.by(by, message)).await.map(Response::into_inner)
}

async fn delete(kit: &Kit, by: &Principal, name: &str) -> Result<pb::Account, tonic::Status> {
    let message = pb::DeleteAccountRequest {
        name: name.into(),
        reason: "moving".into(),
        ..Default::default()
    };
    kit.accounts().delete_account(kit.by(by, message)).await.map(Response::into_inner)
}

#[tokio::test]
async fn foreign_absent_and_malformed_are_one_answer() {
    let kit = Kit::start().await;
    let (one, two) = (kit.customer("a@example.com").await, kit.customer("b@example.com").await);
    let account = kit.order(&one, "photos", "").await.unwrap();
    for by in [&one, &staff(), &admin(), &acting_for(&one)] {
        assert_eq!(get(&kit, by, &account.name).await.unwrap(), account);
        assert_eq!(get(&kit, by, "accounts/1").await.unwrap(), account);
    }
    assert_eq!(get(&kit, &one, "accounts/-").await.unwrap(), account);
    let absent = format!("accounts/{}", "0".repeat(32));
    let names = [account.name.as_str(), "accounts/1", "accounts/2", "accounts/x", &absent];
    for name in names.into_iter().chain(["accounts/-"]) {
        let error = get(&kit, &two, name).await.unwrap_err();
        assert_reason(&error, Code::NotFound, ErrorReason::AccountNotFound);
        assert_eq!(error.message(), HIDDEN, "{name}");
    }
    let error = delete(&kit, &two, &account.name).await.unwrap_err();
    assert_eq!(error.message(), HIDDEN);
    let message = pb::ListAccessKeysRequest {
        parent: account.name,
        with_secrets: false,
        ..Default::default()
    };
    let error = kit.accounts().list_access_keys(kit.by(&two, message)).await.unwrap_err();
    assert_eq!(error.message(), HIDDEN);
}

/// A customer with three accounts, one with a fourth, and their s3uids.
async fn three_and_one(kit: &Kit) -> (Principal, Principal, Vec<String>) {
    let (one, two) = (kit.customer("a@example.com").await, kit.customer("b@example.com").await);
    let mut s3uids = Vec::new();
    for bucket in ["aaa", "bbb", "ccc"] {
        s3uids.push(kit.order(&one, bucket, "").await.unwrap().s3uid);
    }
    s3uids.push(kit.order(&two, "ddd", "").await.unwrap().s3uid);
    (one, two, s3uids)
}

#[tokio::test]
async fn accounts_are_listed_in_order_and_filtered() {
    let kit = Kit::start().await;
    let (one, two, s3uids) = three_and_one(&kit).await;
    let list = async |by: &Principal, s3uids: &[String], page_token: &str| {
        let message = pb::ListAccountsRequest {
            page_size: 2,
            page_token: page_token.into(),
            s3uids: s3uids.to_vec(),
            view: 0,
        };
        let page = kit.accounts().list_accounts(kit.by(by, message)).await.unwrap().into_inner();
        let ids: Vec<_> = page.accounts.into_iter().map(|account| account.account_id).collect();
        (ids, page.next_page_token)
    };
    let (ids, next) = list(&one, &[], "").await;
    assert_eq!(ids, [1, 2]);
    assert_eq!(list(&one, &[], &next).await, (vec![3], String::new()));
    let (ids, next) = list(&staff(), &s3uids[1..], "").await;
    assert_eq!(ids, [2, 3]);
    assert_eq!(list(&staff(), &s3uids[1..], &next).await, (vec![4], String::new()));
    assert_eq!(list(&two, &s3uids, "").await, (vec![4], String::new()));
}

#[tokio::test]
async fn a_basic_view_says_the_same_of_fewer_fields_about_the_same_accounts() {
    let kit = Kit::start().await;
    let (one, two, s3uids) = three_and_one(&kit).await;
    let deleted = format!("accounts/{}", s3uids[2]);
    delete(&kit, &one, &deleted).await.unwrap();
    let list = async |by: &Principal, s3uids: &[String], view: pb::AccountView| {
        let (mut accounts, mut page_token) = (Vec::new(), String::new());
        loop {
            let s3uids = s3uids.to_vec();
            let message =
                pb::ListAccountsRequest { page_size: 1, page_token, s3uids, view: view.into() };
            let answer = kit.accounts().list_accounts(kit.by(by, message)).await.unwrap();
            let page = answer.into_inner();
            accounts.extend(page.accounts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return accounts;
            }
        }
    };
    let basic_of = |account: pb::Account| pb::Account {
        name: account.name,
        s3uid: account.s3uid,
        account_id: account.account_id,
        customer: account.customer,
        state: account.state,
        subscription: account.subscription,
        service_id: account.service_id,
        currency: account.currency,
        ..Default::default()
    };
    for (by, named, count) in
        [(&one, &[][..], 2), (&one, &s3uids, 2), (&two, &s3uids, 1), (&staff(), &s3uids[1..], 2)]
    {
        let full = list(by, named, pb::AccountView::Full).await;
        assert_eq!(full.len(), count);
        assert!(full.iter().all(|account| account.service_id > 0 && !account.currency.is_empty()));
        let expected: Vec<_> = full.into_iter().map(basic_of).collect();
        assert_eq!(list(by, named, pb::AccountView::Basic).await, expected);
    }
}

#[tokio::test]
async fn a_deleted_account_is_gone_everywhere_and_deleting_it_again_says_so() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap();
    let heard = kit.listen("stowage.accounts.account.deleted.v1");
    let away = (Code::Unavailable, ErrorReason::ProviderUnavailable);
    kit.world.fail("TerminateSubscription", When::After, away, 8);
    let deleted = delete(&kit, &customer, &account.name).await.unwrap();
    assert_eq!(deleted.state(), pb::AccountState::Deleted);
    assert_eq!(kit.world.left(), "0 orders, 0 engine accounts, 0 buckets, 0 meters");
    assert_eq!(kit.count("SELECT count(*) FROM access_key WHERE sealed IS NOT NULL").await, 0);
    assert_eq!(get(&kit, &customer, &account.name).await.unwrap_err().message(), HIDDEN);
    assert_eq!(delete(&kit, &customer, &account.name).await.unwrap(), deleted);
    until(async || heard.lock().unwrap().len() == 1).await;
    assert_eq!(kit.history(&customer).await.last().unwrap(), "account.deleted");
}

#[tokio::test]
async fn a_cancellation_is_scheduled_once_withdrawn_once_and_carried_out_when_due() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let schedule = async || {
        let message = pb::ScheduleCancellationRequest {
            name: name.clone(),
            reason: "too dear".into(),
            ..Default::default()
        };
        let answer = kit.accounts().schedule_cancellation(kit.by(&customer, message)).await;
        answer.unwrap().into_inner().cancel_time
    };
    let first = schedule().await;
    assert_eq!(first.unwrap().seconds, 4_000_000_000);
    assert_eq!(schedule().await, first);
    assert_eq!(get(&kit, &customer, &name).await.unwrap().cancel_time, first);
    for _ in 0..2 {
        let message = pb::WithdrawCancellationRequest { name: name.clone(), ..Default::default() };
        let answer = kit.accounts().withdraw_cancellation(kit.by(&customer, message)).await;
        assert_eq!(answer.unwrap().into_inner().cancel_time, None);
    }
    let events = kit.history(&customer).await;
    assert_eq!(events[3..], ["cancellation.scheduled", "cancellation.withdrawn"]);
}

#[tokio::test]
async fn without_a_retention_time_a_cancellation_that_falls_due_deletes_the_account() {
    let config = stowage_accounts::Config { retention_days: 0, ..Default::default() };
    let mut kit = Kit::with(config, crate::double::World::default()).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let message = pb::ScheduleCancellationRequest {
        name: name.clone(),
        reason: String::new(),
        ..Default::default()
    };
    kit.accounts().schedule_cancellation(kit.by(&customer, message)).await.unwrap();
    kit.clock.set(time::OffsetDateTime::from_unix_timestamp(4_000_000_001).unwrap());
    // The timer looks at start-up, too.
    kit.restart().await;
    let ended = "SELECT count(*) FROM account WHERE hold = 'ENDED'";
    until(async || kit.count(ended).await == 1).await;
    kit.restart().await;
    until(async || get(&kit, &customer, &name).await.is_err()).await;
    until(async || kit.world.left().starts_with("0 orders, 0 engine")).await;
    kit.clock.advance(Duration::from_secs(1));
}

#[tokio::test]
async fn the_state_of_an_account_decides_what_can_be_done() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    let refused = (Code::FailedPrecondition, ErrorReason::SubscriptionState);
    kit.world.fail("ScheduleCancellation", When::Before, refused, 1);
    let message = pb::ScheduleCancellationRequest {
        name: name.clone(),
        reason: String::new(),
        ..Default::default()
    };
    let answer = kit.accounts().schedule_cancellation(kit.by(&customer, message)).await;
    let error = answer.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(metadata_of(&error, "state").as_deref(), Some("ACTIVE"));
}

#[tokio::test]
async fn staff_never_reads_a_secret_and_every_reading_is_noted() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let parent = kit.order(&customer, "photos", "").await.unwrap().name;
    let read = async |by: &Principal, with_secrets: bool| {
        let message = pb::ListAccessKeysRequest {
            parent: parent.clone(),
            with_secrets,
            ..Default::default()
        };
        let answer = kit.accounts().list_access_keys(kit.by(by, message)).await;
        answer.map(|keys| keys.into_inner().access_keys.remove(0))
    };
    let shown = read(&staff(), false).await.unwrap();
    assert_eq!((shown.access_key.len(), shown.secret_key.as_str()), (20, ""));
    let error = read(&staff(), true).await.unwrap_err();
    assert_reason(&error, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    assert!(!kit.history(&customer).await.contains(&"key.read".to_owned()));
    assert_eq!(read(&acting_for(&customer), true).await.unwrap().secret_key.len(), 40);
    let sql = "SELECT count(*) FROM history WHERE event = 'key.read' \
        AND actor = 'administrator' AND acted_for = 1001";
    assert_eq!(kit.count(sql).await, 1);
}
