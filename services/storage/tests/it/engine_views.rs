//! What engines have and what storage knows, side by side; and when keys were used.

use stowage_engine::{AccountAccess, AccountSpec, Quota};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::EngineAccountState as State;
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OTHER, OWNER, assert_reason, wanted};

async fn page(
    kit: &Kit,
    location: &str,
    (page_size, page_token): (i32, &str),
) -> Result<pb::ListEngineAccountsResponse, Status> {
    let request = pb::ListEngineAccountsRequest {
        parent: format!("locations/{location}"),
        page_size,
        page_token: page_token.to_owned(),
    };
    let request = kit.as_administrator(request);
    Ok(kit.accounts().list_engine_accounts(request).await?.into_inner())
}

fn put_behind_the_back(kit: &Kit, uid: &S3uid) {
    let (quota, access) = (Quota::bytes(7), AccountAccess::Suspended);
    let spec = AccountSpec::new(uid.clone(), Vec::new());
    kit.engine.insert_account(AccountSpec { quota, access, ..spec });
}

#[tokio::test]
async fn differences_between_an_engine_and_the_table_can_be_found() {
    let kit = Kit::start().await;
    let good = kit.account().await;
    kit.create_bucket(OWNER, &good, "photos").await.unwrap();
    let lost = kit.account().await;
    kit.engine.forget_account(&lost);
    let changed = kit.account().await;
    put_behind_the_back(&kit, &changed);
    let unknown = S3uid::generate(&SystemRandom);
    put_behind_the_back(&kit, &unknown);
    let (removed, leftover) = (kit.account().await, kit.account().await);
    kit.remove(&removed, false).await.unwrap();
    kit.remove(&leftover, false).await.unwrap();
    put_behind_the_back(&kit, &leftover);

    let seen = page(&kit, "NL", (0, "")).await.unwrap();
    assert!(seen.next_page_token.is_empty());
    let names: Vec<_> = seen.accounts.iter().map(|view| view.name.clone()).collect();
    let mut expected: Vec<_> =
        [&good, &lost, &changed, &unknown, &leftover].map(name::account).to_vec();
    expected.sort();
    assert_eq!(names, expected, "a tombstone alone is no difference");
    let view = |uid: &S3uid| {
        let found = seen.accounts.iter().find(|view| view.name == name::account(uid)).unwrap();
        (found.on_engine.clone(), found.in_storage.clone())
    };
    let (on_engine, in_storage) = view(&good);
    let (on_engine, in_storage) = (on_engine.unwrap(), in_storage.unwrap());
    assert_eq!(on_engine.access_keys, [wanted(&good).keys[0].access_key.clone()]);
    assert_eq!((on_engine.quota_bytes, on_engine.bucket_max), (1_000_000, 3));
    assert_eq!((on_engine.suspended, on_engine.bucket_count), (false, 1));
    assert_eq!((in_storage.state(), in_storage.customer_id), (State::Active, OWNER));
    assert_eq!((in_storage.quota_bytes, in_storage.bucket_max), (1_000_000, 3));
    assert_eq!(in_storage.location, "locations/NL");
    let (on_engine, in_storage) = view(&lost);
    assert!(on_engine.is_none() && in_storage.is_some());
    let (on_engine, in_storage) = view(&changed);
    let (on_engine, in_storage) = (on_engine.unwrap(), in_storage.unwrap());
    assert!(on_engine.access_keys.is_empty() && on_engine.suspended && !in_storage.suspended);
    assert_eq!((on_engine.quota_bytes, on_engine.bucket_max), (7, 0));
    let (on_engine, in_storage) = view(&unknown);
    assert!(on_engine.is_some() && in_storage.is_none());
    let (on_engine, in_storage) = view(&leftover);
    assert!(on_engine.is_some());
    assert_eq!(in_storage.unwrap().state(), State::Removed);
    assert!(page(&kit, "FAR", (0, "")).await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn accounts_of_an_engine_are_paged_and_tokens_belong_to_their_location() {
    let kit = Kit::start().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let uid = kit.account().await;
        match number % 3 {
            0 => kit.engine.forget_account(&uid),
            1 => {}
            _ => put_behind_the_back(&kit, &S3uid::generate(&SystemRandom)),
        }
        expected.push(name::account(&uid));
    }
    for size in [1, 2, 3, 9, 10] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        for _ in 0..20 {
            let page = page(&kit, "NL", (size, &token)).await.unwrap();
            assert!(page.accounts.len() <= usize::try_from(size).unwrap());
            seen.extend(page.accounts.into_iter().map(|view| view.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{size}: {seen:?}");
        assert_eq!(seen.len(), 9, "{size}");
        assert!(expected.iter().all(|name| seen.contains(name)), "{size}: {seen:?}");
    }
    let first = page(&kit, "NL", (1, "")).await.unwrap().next_page_token;
    let refused = page(&kit, "FAR", (1, &first)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let absent = page(&kit, "XX", (1, "")).await;
    assert_reason(absent, Code::NotFound, ErrorReason::LocationNotFound);
    kit.engine.set_down(true);
    let away = page(&kit, "NL", (1, "")).await;
    assert_reason(away, Code::Unavailable, ErrorReason::EngineUnavailable);
}

#[tokio::test]
async fn who_acts_for_a_customer_sees_his_accounts_only() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    put_behind_the_back(&kit, &S3uid::generate(&SystemRandom));
    let request = || pb::ListEngineAccountsRequest {
        parent: "locations/NL".to_owned(),
        ..Default::default()
    };
    for (customer, expected) in [(OWNER, vec![name::account(&uid)]), (OTHER, vec![])] {
        let request = kit.as_service_for(customer, request());
        let page = kit.accounts().list_engine_accounts(request).await.unwrap().into_inner();
        let seen: Vec<_> = page.accounts.into_iter().map(|view| view.name).collect();
        assert_eq!(seen, expected);
    }
}

async fn uses(kit: &Kit, uid: &S3uid, page: (i32, &str)) -> pb::ListKeyUsageResponse {
    let (parent, page_token) = (name::account(uid), page.1.to_owned());
    let request = pb::ListKeyUsageRequest { parent, page_size: page.0, page_token };
    kit.accounts().list_key_usage(kit.as_service(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn uses_of_keys_are_listed_where_the_engine_tells() {
    let silent = Kit::start().await;
    let uid = silent.account().await;
    assert_eq!(uses(&silent, &uid, (0, "")).await, pb::ListKeyUsageResponse::default());

    let mut engine = Memory::default();
    engine.capabilities.key_usage = true;
    let kit = Kit::with(engine).await;
    let uid = kit.account().await;
    let key = |number: u32| pb::EngineKey {
        access_key: format!("KEY{number:017}"),
        secret_key: "a-secret-of-a-fair-length-0123456789".to_owned(),
    };
    let keys = (0..5).map(key).collect();
    kit.ensure(pb::EnsureEngineAccountRequest { keys, ..wanted(&uid) }).await.unwrap();
    kit.engine.use_key(&key(3).access_key);
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = uses(&kit, &uid, (2, &token)).await;
        seen.extend(page.keys);
        token = page.next_page_token;
    }
    assert!(token.is_empty());
    let used: Vec<_> = seen.iter().map(|key| key.last_use_time.is_some()).collect();
    assert_eq!(used, [false, false, false, true, false]);
    let ids: Vec<_> = seen.into_iter().map(|usage| usage.access_key).collect();
    assert_eq!(ids, (0..5).map(|number| key(number).access_key).collect::<Vec<_>>());
    let request = pb::ListKeyUsageRequest { parent: name::account(&uid), ..Default::default() };
    let foreign = kit.accounts().list_key_usage(kit.as_service_for(OTHER, request)).await;
    assert_reason(foreign, Code::NotFound, ErrorReason::AccountNotFound);
}
