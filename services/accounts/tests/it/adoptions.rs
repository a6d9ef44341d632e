//! Accounts out of what is on an engine already.

use stowage_proto::accounts as pb;
use stowage_proto::accounts::adoption_service_client::AdoptionServiceClient;
use stowage_proto::common::ErrorReason;
use stowage_runtime::field_violations;
use stowage_types::{CustomerId, name};
use tonic::{Code, Response, Status};

use crate::changes::{Change, ask, assert_agreement, get, keys};
use crate::double::{BIGGER, ENDPOINT, LOCATION, PLAN, World};
use crate::double_adoptions::{BUCKET_MAX, QUOTA_BYTES, SOMEBODY, secret_of, somebody};
use crate::kit::{Kit, admin, assert_reason, staff};

const ONE: &str = "1 orders, 1 engine accounts, 1 buckets, 1 meters";
const REFUSED: (Code, ErrorReason) = (Code::FailedPrecondition, ErrorReason::AdoptionRefused);

fn wanted(foreign: &str, customer: i64) -> pb::AdoptAccountRequest {
    pb::AdoptAccountRequest {
        location: LOCATION.to_owned(),
        foreign: foreign.to_owned(),
        customer: name::customer(CustomerId(customer)),
        plan: format!("plans/{PLAN}"),
        request_id: String::new(),
    }
}

pub(crate) async fn adopt(
    kit: &Kit,
    request: pb::AdoptAccountRequest,
) -> Result<pb::Account, Status> {
    let mut adoptions = AdoptionServiceClient::new(kit.channel());
    adoptions.adopt_account(kit.by(&admin(), request)).await.map(Response::into_inner)
}

async fn check(kit: &Kit, request: &pb::AdoptAccountRequest) -> Result<String, Status> {
    let pb::AdoptAccountRequest { location, foreign, customer, plan, .. } = request.clone();
    let request = pb::CheckAdoptionRequest { location, foreign, customer, plan };
    let mut adoptions = AdoptionServiceClient::new(kit.channel());
    let checked = adoptions.check_adoption(kit.by(&admin(), request)).await;
    Ok(checked?.into_inner().account)
}

/// A kit with somebody on its engine, and a customer.
pub(crate) async fn inhabited() -> (Kit, i64) {
    let kit = Kit::with(stowage_accounts::Config::default(), World::inhabited()).await;
    let customer = kit.customer("a@example.com").await.customer.unwrap();
    (kit, customer.0)
}

/// The request of the one who is there, under an id.
pub(crate) fn somebodys(customer: i64, request_id: &str) -> pb::AdoptAccountRequest {
    pb::AdoptAccountRequest { request_id: request_id.to_owned(), ..wanted(SOMEBODY, customer) }
}

#[tokio::test]
async fn who_was_there_is_an_account_with_what_it_had() {
    let (kit, customer) = inhabited().await;
    let request = somebodys(customer, "r1");
    assert_eq!(check(&kit, &request).await.unwrap(), "", "it can be");
    assert_eq!(kit.count("SELECT count(*) FROM account").await, 0, "a check writes nothing");
    let made = adopt(&kit, request.clone()).await.unwrap();
    assert_eq!((made.state(), made.endpoint.as_str()), (pb::AccountState::Active, ENDPOINT));
    assert_eq!((made.quota_bytes, made.bucket_max), (QUOTA_BYTES, BUCKET_MAX), "not the plan's");
    assert_eq!(kit.world.left(), ONE);
    let parent = made.name.clone();
    let message = pb::ListAccessKeysRequest { parent, with_secrets: true, ..Default::default() };
    let told = kit.accounts().list_access_keys(kit.by(&admin(), message)).await.unwrap();
    let told = told.into_inner().access_keys;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].secret_key, secret_of(&told[0].access_key));
    let (bytes, secret) = (kit.database_bytes().await, secret_of(&told[0].access_key));
    let is_clear = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    assert!(!is_clear, "the secret is sealed");
    for id in ["r1", "", "r2"] {
        let again = adopt(&kit, somebodys(customer, id)).await.unwrap();
        assert_eq!(again.name, made.name, "a repeat");
    }
    assert_eq!(check(&kit, &request).await.unwrap(), made.name, "it is one already");
    assert_eq!(kit.world.left(), ONE);
    for event in ["account.adoption_begun", "account.adopted"] {
        let sql = "SELECT count(*) FROM history WHERE event = $1";
        let (count,): (i64,) = kit.db.fetch_one(sql, stowage_db::args![event]).await.unwrap();
        assert_eq!(count, 1, "{event}");
    }
}

#[tokio::test]
async fn it_lives_on_as_every_account() {
    let (kit, customer) = inhabited().await;
    let name = adopt(&kit, somebodys(customer, "")).await.unwrap().name;
    assert_agreement(&kit, &name, "adopted").await;
    for change in [Change::Suspend, Change::Resume, Change::Rotate] {
        ask(&kit, change, &name, "").await.unwrap();
        assert_agreement(&kit, &name, "changed").await;
    }
    assert_eq!(get(&kit, &name).await.quota_bytes, QUOTA_BYTES, "still its own");
    ask(&kit, Change::Plan(BIGGER), &name, "").await.unwrap();
    assert_eq!(get(&kit, &name).await.quota_bytes, 2 << 40, "the new plan's");
    assert_eq!(keys(&kit, &name).await.len(), 2);
    let message = pb::DeleteAccountRequest { name, ..Default::default() };
    kit.accounts().delete_account(kit.by(&admin(), message)).await.unwrap();
    // Somebody else may come there under that name.
    kit.world.settle(somebody(SOMEBODY, "PANELKEY000000000008"));
    adopt(&kit, somebodys(customer, "")).await.unwrap();
}

#[tokio::test]
async fn who_has_a_uid_for_a_name_keeps_it() {
    let (kit, customer) = inhabited().await;
    let uid = "0123456789abcdef0123456789abcdef";
    let account = format!("accounts/{uid}");
    let foreign = somebody(uid, "PANELKEY000000000009");
    kit.world.settle(stowage_proto::storage::ForeignAccount {
        account: account.clone(),
        ..foreign.clone()
    });
    assert_eq!(adopt(&kit, wanted(uid, customer)).await.unwrap().name, account);
    // Another of the same name elsewhere cannot be it too.
    let renamed = stowage_proto::storage::ForeignAccount {
        foreign: "other".to_owned(),
        access_keys: vec!["PANELKEY000000000010".to_owned()],
        account,
        ..foreign
    };
    kit.world.settle(renamed);
    let refused = adopt(&kit, wanted("other", customer)).await.unwrap_err();
    assert_reason(&refused, REFUSED.0, REFUSED.1);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let (kit, customer) = inhabited().await;
    let other = kit.customer("b@example.com").await.customer.unwrap().0;
    let name = adopt(&kit, somebodys(customer, "")).await.unwrap().name;
    let had = keys(&kit, &name).await[0].access_key.clone();
    let obstacle = "it has subusers".to_owned();
    let odd = somebody("odd", "PANELKEY000000000001");
    kit.world.settle(stowage_proto::storage::ForeignAccount { obstacle, ..odd });
    kit.world.settle(somebody("twin", &had));
    kit.world.settle(somebody("fine", "PANELKEY000000000002"));
    let before = kit.count("SELECT count(*) FROM account").await;
    let plan = |plan: &str, foreign| pb::AdoptAccountRequest {
        plan: plan.to_owned(),
        ..wanted(foreign, customer)
    };
    let not_found = |reason| (Code::NotFound, reason);
    let cases = [
        (wanted("odd", customer), REFUSED, "it has subusers"),
        (wanted("twin", customer), REFUSED, had.as_str()),
        (somebodys(other, ""), REFUSED, name.trim_start_matches("accounts/")),
        (plan("plans/2", SOMEBODY), REFUSED, "with plan 1"),
        (wanted("nobody", customer), not_found(ErrorReason::ForeignAccountNotFound), ""),
        (wanted("fine", 4711), not_found(ErrorReason::CustomerNotFound), ""),
        (plan("plans/99", "fine"), not_found(ErrorReason::PlanNotFound), ""),
    ];
    for (request, (code, reason), text) in cases {
        let refused = [
            check(&kit, &request).await.unwrap_err(),
            adopt(&kit, request.clone()).await.unwrap_err(),
        ];
        for refused in refused {
            assert_reason(&refused, code, reason);
            assert!(refused.message().contains(text), "{text}: {refused:?}");
        }
    }
    assert_eq!(kit.count("SELECT count(*) FROM account").await, before);
    assert_eq!(kit.world.left(), ONE);
}

#[tokio::test]
async fn every_bad_field_is_named_and_only_an_administrator_may() {
    let (kit, customer) = inhabited().await;
    let bad = pb::AdoptAccountRequest {
        location: "NL".to_owned(),
        foreign: "x".repeat(1025),
        customer: "customers/-1".to_owned(),
        plan: "1".to_owned(),
        request_id: String::new(),
    };
    let refused = adopt(&kit, bad).await.unwrap_err();
    let fields: Vec<_> = field_violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["location", "foreign", "customer", "plan"]);
    let refused = adopt(&kit, wanted("", customer)).await.unwrap_err();
    assert_eq!(field_violations(&refused)[0].0, "foreign");
    let mut adoptions = AdoptionServiceClient::new(kit.channel());
    let request = kit.by(&staff(), somebodys(customer, ""));
    let refused = adoptions.adopt_account(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_account_comes() {
    let (kit, customer) = inhabited().await;
    let many = (0..8).map(|_| adopt(&kit, somebodys(customer, "")));
    let answers = futures_util::future::join_all(many).await;
    let names: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().name).collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(kit.world.left(), ONE);
    assert_eq!(kit.count("SELECT count(*) FROM account").await, 1);
}
