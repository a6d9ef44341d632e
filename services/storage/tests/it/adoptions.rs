//! Who is on an engine without being an account, and becomes one.

use stowage_engine::{AccountAccess, Foreign, Quota, TrafficTotals};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::field_violations;
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Response, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OTHER, OWNER, assert_reason, this_hour, until};

fn somebody(name: &str, access: AccountAccess) -> Foreign {
    Foreign {
        name: name.to_owned(),
        uid: None,
        display_name: "Alice Smith".to_owned(),
        email: "alice@example.com".to_owned(),
        access_keys: vec![format!("KEY-OF-{name}")],
        quota: Quota::bytes(5 << 30),
        bucket_max: Some(7),
        access,
        buckets: vec![format!("of-{name}")],
        obstacle: None,
    }
}

fn owned(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn inhabited() -> Memory {
    let names = [
        ("alice", AccountAccess::Full),
        ("bob", AccountAccess::Suspended),
        ("carol", AccountAccess::ReadOnly),
        ("dave", AccountAccess::Full),
    ];
    Memory::adopting(names.map(|(name, access)| somebody(name, access)).into())
}

fn request(uid: &S3uid, foreign: &str) -> pb::AdoptEngineAccountRequest {
    pb::AdoptEngineAccountRequest {
        name: name::account(uid),
        customer_id: OWNER,
        location: "locations/NL".to_owned(),
        foreign: foreign.to_owned(),
    }
}

async fn adopt(
    kit: &Kit,
    request: pb::AdoptEngineAccountRequest,
) -> Result<pb::AdoptEngineAccountResponse, Status> {
    let request = kit.as_service(request);
    kit.adoptions().adopt_engine_account(request).await.map(Response::into_inner)
}

async fn listed(kit: &Kit, page_size: i32) -> Vec<pb::ForeignAccount> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let parent = "locations/NL".to_owned();
        let request = pb::ListForeignAccountsRequest { parent, page_size, page_token };
        let page = kit.adoptions().list_foreign_accounts(kit.as_service(request)).await.unwrap();
        let page = page.into_inner();
        all.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn shown(kit: &Kit, foreign: &str) -> Result<pb::ForeignAccount, Status> {
    let (parent, foreign) = ("locations/NL".to_owned(), foreign.to_owned());
    let request = kit.as_service(pb::GetForeignAccountRequest { parent, foreign });
    kit.adoptions().get_foreign_account(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn who_is_there_is_listed_and_shown_with_what_is_in_the_way() {
    let kit = Kit::with(inhabited()).await;
    for page_size in [0, 1, 3, 4] {
        let all = listed(&kit, page_size).await;
        let told: Vec<_> = all.iter().map(|f| (f.foreign.as_str(), f.obstacle.as_str())).collect();
        let expected = [
            ("alice", ""),
            ("bob", "it is suspended: resume it first"),
            ("carol", "it may only read: open it first"),
            ("dave", ""),
        ];
        assert_eq!(told, expected, "{page_size}");
    }
    let alice = shown(&kit, "alice").await.unwrap();
    assert_eq!((alice.quota_bytes, alice.bucket_max), (5 << 30, 7));
    assert_eq!((alice.access_keys, alice.buckets), (owned("KEY-OF-alice"), owned("of-alice")));
    let nobody = shown(&kit, "eve").await;
    assert_reason(nobody, Code::NotFound, ErrorReason::ForeignAccountNotFound);
    let status = shown(&kit, "").await.unwrap_err();
    assert_eq!(field_violations(&status)[0].0, "foreign");
    let parent = "locations/NL".to_owned();
    let own = pb::ListForeignAccountsRequest { parent, ..Default::default() };
    let refused = kit.adoptions().list_foreign_accounts(kit.as_service_for(OTHER, own)).await;
    assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}

#[tokio::test]
async fn an_engine_that_cannot_tell_says_so() {
    let kit = Kit::start().await;
    let uid = S3uid::generate(&SystemRandom);
    let unsupported = (Code::FailedPrecondition, ErrorReason::EngineUnsupported);
    assert_reason(shown(&kit, "alice").await, unsupported.0, unsupported.1);
    assert_reason(adopt(&kit, request(&uid, "alice")).await, unsupported.0, unsupported.1);
}

#[tokio::test]
async fn who_is_adopted_is_an_account_and_no_other() {
    let kit = Kit::with(inhabited()).await;
    let uid = S3uid::generate(&SystemRandom);
    for _ in 0..2 {
        let adopted = adopt(&kit, request(&uid, "alice")).await.unwrap();
        assert_eq!((adopted.quota_bytes, adopted.bucket_max), (5 << 30, 7));
        let key = &adopted.keys[0];
        assert_eq!((key.access_key.as_str(), key.secret_key.as_str()), ("KEY-OF-alice", "hush"));
    }
    assert_eq!(listed(&kit, 0).await.len(), 3);
    let sql = "SELECT count(*) FROM account WHERE state = 'ACTIVE' AND quota_bytes > 0";
    assert_eq!(kit.count(sql).await, 1);
    let nobody = adopt(&kit, request(&S3uid::generate(&SystemRandom), "alice")).await;
    assert_reason(nobody, Code::NotFound, ErrorReason::ForeignAccountNotFound);
    let others = pb::AdoptEngineAccountRequest { customer_id: OTHER, ..request(&uid, "alice") };
    let status =
        assert_reason(adopt(&kit, others).await, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(field_violations(&status)[0].0, "customer_id");
}

#[tokio::test]
async fn what_was_removed_once_is_not_adopted_and_loses_nothing() {
    let kit = Kit::with(inhabited()).await;
    let uid = S3uid::generate(&SystemRandom);
    let removal = pb::RemoveEngineAccountRequest { name: name::account(&uid), purge: true };
    kit.accounts().remove_engine_account(kit.as_service(removal)).await.unwrap();
    let gone = adopt(&kit, request(&uid, "alice")).await;
    assert_reason(gone, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(listed(&kit, 0).await.len(), 4);
}

#[tokio::test]
async fn what_moved_before_an_account_was_ours_is_not_metered() {
    let mut kit = Kit::with(inhabited()).await;
    let (uid, hour) = (S3uid::generate(&SystemRandom), this_hour());
    adopt(&kit, request(&uid, "alice")).await.unwrap();
    kit.run_tasks();
    let totals = |hours: i64| TrafficTotals {
        uid: uid.clone(),
        bucket: "of-alice".to_owned(),
        hour: hour + time::Duration::hours(hours),
        received_bytes: 10,
        sent_bytes: 20,
        read_requests: 1,
        write_requests: 1,
        refused_requests: 0,
    };
    for hours in [-5, -1, 0, 2] {
        kit.engine.report(totals(hours));
    }
    let place = |hours: i64| {
        let told = totals(hours);
        (told.uid.as_str().to_owned(), told.bucket, told.hour.unix_timestamp())
    };
    until(async || kit.meter.traffic().contains_key(&place(2))).await;
    // Told again, as an engine does of its last hours, it is not taken either.
    for hours in [-1, 3] {
        kit.engine.report(totals(hours));
    }
    until(async || kit.meter.traffic().contains_key(&place(3))).await;
    assert_eq!(kit.meter.traffic().len(), 2);
}
