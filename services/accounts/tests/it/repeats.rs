use stowage_auth::Principal;
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use tonic::{Code, Status};

use crate::kit::{Kit, admin, assert_reason, service};

fn key(of: &Principal, label: &str, request_id: &str) -> pb::CreateApiKeyRequest {
    let (label, request_id) = (label.to_owned(), request_id.to_owned());
    pb::CreateApiKeyRequest { customer: of.subject.clone(), label, request_id }
}

fn assert_reused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let error = answer.unwrap_err();
    assert_reason(&error, Code::AlreadyExists, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn an_api_key_is_made_once_and_its_stored_answer_is_sealed() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let mut sessions = kit.sessions();
    let first = sessions.create_api_key(kit.by(&admin(), key(&customer, "laptop", "k"))).await;
    let first = first.unwrap().into_inner();
    let again = sessions.create_api_key(kit.by(&admin(), key(&customer, "laptop", "k"))).await;
    assert_eq!(again.unwrap().into_inner(), first);
    assert_reused(sessions.create_api_key(kit.by(&admin(), key(&customer, "phone", "k"))).await);
    assert_eq!(kit.count("SELECT count(*) FROM api_key").await, 1);
    // Another principal who sends the same gets a key of his own, never this one.
    let other = sessions.create_api_key(kit.by(&service(), key(&customer, "laptop", "k"))).await;
    assert_ne!(other.unwrap().into_inner().secret, first.secret);
    let bytes = kit.database_bytes().await;
    let secret = first.secret.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|part| part == secret));

    let revoke = || pb::RevokeApiKeyRequest {
        name: first.api_key.clone().unwrap().name,
        request_id: "r".to_owned(),
    };
    let revoked = sessions.revoke_api_key(kit.by(&admin(), revoke())).await.unwrap();
    let again = sessions.revoke_api_key(kit.by(&admin(), revoke())).await.unwrap();
    assert_eq!(again.into_inner(), revoked.into_inner());
    let other = pb::RevokeApiKeyRequest { name: "apiKeys/x".to_owned(), ..revoke() };
    let error = sessions.revoke_api_key(kit.by(&admin(), other)).await.unwrap_err();
    assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn the_first_answer_stands_whatever_has_happened_since() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "o").await.unwrap().name;
    let schedule = async |reason: &str, id: &str| {
        let (reason, request_id) = (reason.to_owned(), id.to_owned());
        let message = pb::ScheduleCancellationRequest { name: name.clone(), reason, request_id };
        let answer = kit.accounts().schedule_cancellation(kit.by(&customer, message)).await;
        answer.map(tonic::Response::into_inner)
    };
    let withdraw = async |id: &str| {
        let request_id = id.to_owned();
        let message = pb::WithdrawCancellationRequest { name: name.clone(), request_id };
        let answer = kit.accounts().withdraw_cancellation(kit.by(&customer, message)).await;
        answer.map(tonic::Response::into_inner)
    };
    let scheduled = schedule("too dear", "s").await.unwrap();
    let withdrawn = withdraw("w").await.unwrap();
    assert!(scheduled.cancel_time.is_some() && withdrawn.cancel_time.is_none());
    // A late resend of the first does not schedule it again.
    assert_eq!(schedule("too dear", "s").await.unwrap(), scheduled);
    assert_eq!(kit.count("SELECT count(*) FROM account WHERE cancel_time IS NULL").await, 1);
    schedule("again", "s2").await.unwrap();
    assert_eq!(withdraw("w").await.unwrap(), withdrawn);
    assert_eq!(kit.count("SELECT count(*) FROM account WHERE cancel_time IS NULL").await, 0);
    assert_reused(schedule("other", "s").await);
    assert_reused(withdraw("s").await);

    let delete = async |name: &str, reason: &str| {
        let (name, reason, request_id) = (name.to_owned(), reason.to_owned(), "d".to_owned());
        let message = pb::DeleteAccountRequest { name, reason, request_id };
        let answer = kit.accounts().delete_account(kit.by(&customer, message)).await;
        answer.map(tonic::Response::into_inner)
    };
    // By its number too, which no call without an id finds once it is gone.
    let deleted = delete("accounts/1", "moving").await.unwrap();
    assert_eq!(deleted.state(), pb::AccountState::Deleted);
    assert_eq!(delete("accounts/1", "moving").await.unwrap(), deleted);
    assert_reused(delete("accounts/1", "").await);
    let nothing = delete("accounts/-", "").await.unwrap_err();
    assert_reason(&nothing, Code::NotFound, ErrorReason::AccountNotFound);
    // The order still answers what it answered.
    assert_eq!(kit.order(&customer, "photos", "o").await.unwrap().state(), ACTIVE);
}

#[tokio::test]
async fn a_bound_id_names_one_action_on_one_account_and_outlives_the_account() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "o").await.unwrap().name;
    let other = kit.order(&customer, "films", "").await.unwrap().name;
    let bind = async |name: &str, action: &str, id: &str| {
        let (name, action, request_id) = (name.to_owned(), action.to_owned(), id.to_owned());
        let message = pb::BindRequestRequest { name, action, request_id };
        let answer = kit.accounts().bind_request(kit.by(&customer, message)).await;
        answer.map(|bound| bound.into_inner().name)
    };
    assert_eq!(bind("accounts/1", "create_bucket", "b").await.unwrap(), name);
    assert_eq!(bind(&name, "delete_bucket", "d").await.unwrap(), name);
    assert_reused(bind("accounts/1", "delete_bucket", "b").await);
    assert_reused(bind(&other, "delete_bucket", "d").await);
    // What an order was made under is no id for anything else, and the other way round.
    assert_reused(bind(&name, "create_bucket", "o").await);
    assert_reused(kit.order(&customer, "music", "b").await);
    for (name, action) in
        [(name.as_str(), ""), (name.as_str(), "x".repeat(65).as_str()), ("x", "y")]
    {
        let error = bind(name, action, "bad").await.unwrap_err();
        assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    let message = pb::DeleteAccountRequest { name: name.clone(), ..Default::default() };
    kit.accounts().delete_account(kit.by(&customer, message)).await.unwrap();
    assert_eq!(bind("accounts/1", "create_bucket", "b").await.unwrap(), name);
    for name in ["accounts/1", "accounts/-", "accounts/x", "accounts/99"] {
        let gone = bind(name, "create_bucket", name).await.unwrap_err();
        assert_reason(&gone, Code::NotFound, ErrorReason::AccountNotFound);
    }
}

const ACTIVE: pb::AccountState = pb::AccountState::Active;
