//! Accounts whose engine makes keys itself and takes no others.

use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage::EngineKey;
use tonic::{Code, Response, Status};

use crate::changes::{Change, ask, assert_agreement, keys};
use crate::double::{BIGGER, When, World};
use crate::kit::{Kit, admin, assert_reason};

const AWAY: (Code, ErrorReason) = (Code::Unavailable, ErrorReason::EngineUnavailable);
const NOTHING: &str = "0 orders, 0 engine accounts, 0 buckets, 0 meters";

async fn rotate(kit: &Kit, name: &str, request_id: &str) -> Result<pb::AccessKey, Status> {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    let message = pb::RotateAccessKeyRequest { name, overlap: None, request_id };
    kit.accounts().rotate_access_key(kit.by(&admin(), message)).await.map(Response::into_inner)
}

fn on_engine(kit: &Kit, name: &str) -> Vec<EngineKey> {
    kit.world.state().issued[name.trim_start_matches("accounts/")].clone()
}

async fn with_account() -> (Kit, String) {
    let kit = Kit::with(stowage_accounts::Config::default(), World::issuing()).await;
    let customer = kit.customer("a@example.com").await;
    let name = kit.order(&customer, "photos", "").await.unwrap().name;
    (kit, name)
}

#[tokio::test]
async fn an_order_shows_the_key_that_the_engine_has_made() {
    let (kit, name) = with_account().await;
    let (shown, made) = (keys(&kit, &name).await, on_engine(&kit, &name));
    assert_eq!((shown.len(), made.len()), (1, 1));
    assert_eq!(shown[0].access_key, made[0].access_key);
    let parent = name.clone();
    let message = pb::ListAccessKeysRequest { parent, with_secrets: true, ..Default::default() };
    let told = kit.accounts().list_access_keys(kit.by(&admin(), message)).await.unwrap();
    assert_eq!(told.into_inner().access_keys[0].secret_key, made[0].secret_key);
    let bytes = kit.database_bytes().await;
    let secret = made[0].secret_key.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|part| part == secret), "the secret is sealed");
}

#[tokio::test]
async fn a_key_whose_answer_was_lost_is_not_left_behind_an_order() {
    for when in [When::Before, When::After] {
        for method in ["IssueEngineKey", "EnsureEngineAccount"] {
            let world = World::issuing();
            world.fail(method, when, AWAY, 3);
            let kit = Kit::with(stowage_accounts::Config::default(), world).await;
            let customer = kit.customer("a@example.com").await;
            let name = kit.order(&customer, "photos", "").await.unwrap().name;
            assert_agreement(&kit, &name, method).await;
            assert_eq!(on_engine(&kit, &name).len(), 1, "{method} {when:?}");
        }
    }
}

#[tokio::test]
async fn an_order_that_fails_leaves_no_key() {
    let world = World::issuing();
    let refused = (Code::FailedPrecondition, ErrorReason::EngineUnsupported);
    world.fail("IssueEngineKey", When::After, refused, 1);
    let kit = Kit::with(stowage_accounts::Config::default(), world).await;
    let customer = kit.customer("a@example.com").await;
    let error = kit.order(&customer, "photos", "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::OrderFailed);
    assert_eq!(kit.world.left(), NOTHING);
    assert!(kit.world.state().issued.is_empty());
    assert_eq!(kit.count("SELECT count(*) FROM access_key WHERE sealed IS NOT NULL").await, 0);
}

#[tokio::test]
async fn a_rotation_answers_the_new_key_and_its_repeat_the_same() {
    let (kit, name) = with_account().await;
    let old = on_engine(&kit, &name).remove(0);
    let made = rotate(&kit, &name, "r").await.unwrap();
    let now = on_engine(&kit, &name);
    assert_eq!((now.len(), &now[0]), (2, &old));
    assert_eq!((&made.access_key, &made.secret_key), (&now[1].access_key, &now[1].secret_key));
    assert_eq!(rotate(&kit, &name, "r").await.unwrap(), made);
    // An attempt that was cut off before its answer was kept: its repeat finds the key.
    kit.tamper("UPDATE request SET answer = NULL, lease_until = '2000-01-01T00:00:00.000000Z'")
        .await;
    assert_eq!(rotate(&kit, &name, "r").await.unwrap(), made);
    // A plan with more has no room for it: such an engine has two for each account.
    ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap();
    let third = rotate(&kit, &name, "s").await.unwrap_err();
    assert_reason(&third, Code::FailedPrecondition, ErrorReason::TooManyKeys);
    assert_eq!(on_engine(&kit, &name), now);
    ask(&kit, Change::Revoke, &name, "").await.unwrap();
    assert_eq!(on_engine(&kit, &name), [now[1].clone()]);
    assert_agreement(&kit, &name, "revoked").await;
}

#[tokio::test]
async fn a_lost_answer_leaves_no_third_key_behind_a_rotation() {
    for when in [When::Before, When::After] {
        for method in ["IssueEngineKey", "EnsureEngineAccount"] {
            let (kit, name) = with_account().await;
            kit.world.fail(method, when, AWAY, 3);
            let made = rotate(&kit, &name, "").await.unwrap();
            let now = on_engine(&kit, &name);
            assert_eq!((now.len(), &now[1].access_key), (2, &made.access_key), "{method} {when:?}");
            assert_agreement(&kit, &name, method).await;
        }
    }
}

#[tokio::test]
async fn a_rotation_that_fails_leaves_the_key_that_was() {
    let (kit, name) = with_account().await;
    let before = (keys(&kit, &name).await, on_engine(&kit, &name));
    let refused = (Code::FailedPrecondition, ErrorReason::EngineUnsupported);
    kit.world.fail("IssueEngineKey", When::After, refused, 1);
    let error = rotate(&kit, &name, "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::ChangeFailed);
    assert_eq!((keys(&kit, &name).await, on_engine(&kit, &name)), before);
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_found_and_removed() {
    let (kit, name) = with_account().await;
    let known = on_engine(&kit, &name);
    let uid = name.trim_start_matches("accounts/").to_owned();
    {
        let state = &mut *kit.world.state();
        let lost = crate::double_keys::issue(state, &uid).unwrap();
        state.engine.get_mut(&uid).unwrap().keys.push(lost);
    }
    assert_eq!(on_engine(&kit, &name).len(), 2);
    ask(&kit, Change::Suspend, &name, "").await.unwrap();
    assert_eq!(on_engine(&kit, &name), known);
}
