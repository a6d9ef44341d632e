//! Locations.

use std::sync::Arc;
use stowage_db::testing::Scratch;

use stowage_engine::Engine;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_storage::{BuildError, Config, Deps, LocationConfig, build};
use stowage_types::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, assert_reason, location, metered_bus, open, role_over, signer};
use crate::servers::{Servers, keyring};

fn named(name: &str) -> pb::GetLocationRequest {
    pb::GetLocationRequest { name: name.to_owned() }
}

#[tokio::test]
async fn customers_see_the_locations_that_take_orders() {
    let kit = Kit::start().await;
    let all = pb::ListLocationsRequest::default();
    let request = kit.as_customer(OWNER, all.clone());
    let seen = kit.locations().list_locations(request).await.unwrap().into_inner();
    let codes: Vec<_> = seen.locations.iter().map(|found| found.code.as_str()).collect();
    assert_eq!(codes, ["NL"]);
    assert_eq!(seen.locations[0].engine, "memory");
    assert_eq!(seen.locations[0].storage_types, ["standard"]);
    assert_eq!(seen.locations[0].state(), pb::LocationState::Open);

    let request = kit.as_administrator(all);
    let seen = kit.locations().list_locations(request).await.unwrap().into_inner();
    let codes: Vec<_> = seen.locations.iter().map(|found| found.code.as_str()).collect();
    assert_eq!(codes, ["FAR", "NL"]);

    let far = kit.locations().get_location(kit.as_customer(OWNER, named("locations/FAR"))).await;
    let none = kit.locations().get_location(kit.as_customer(OWNER, named("locations/XX"))).await;
    let far = assert_reason(far, Code::NotFound, ErrorReason::LocationNotFound);
    let none = assert_reason(none, Code::NotFound, ErrorReason::LocationNotFound);
    assert_eq!(far.message(), none.message(), "a hidden one and an absent one are one answer");
    kit.locations().get_location(kit.as_service(named("locations/FAR"))).await.unwrap();
}

#[tokio::test]
async fn locations_are_paged() {
    let kit = Kit::start().await;
    let mut codes = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListLocationsRequest { page_size: 1, page_token };
        let page = kit.locations().list_locations(kit.as_service(request)).await.unwrap();
        let page = page.into_inner();
        codes.extend(page.locations.into_iter().map(|found| found.code));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(codes, ["FAR", "NL"]);
    let request = pb::ListLocationsRequest { page_size: 0, page_token: "junk".to_owned() };
    let refused = kit.locations().list_locations(kit.as_service(request)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let request = pb::ListLocationsRequest { page_size: -1, page_token: String::new() };
    let refused = kit.locations().list_locations(kit.as_service(request)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn a_call_without_an_assertion_is_refused() {
    let kit = Kit::start().await;
    let refused = kit.locations().list_locations(Request::new(Default::default())).await;
    assert_reason(refused, Code::Unauthenticated, ErrorReason::TokenInvalid);
    let request = pb::EnsureEngineAccountRequest::default();
    let refused = kit.accounts().ensure_engine_account(kit.as_customer(OWNER, request)).await;
    assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}

#[tokio::test]
async fn a_location_configured_no_longer_takes_no_accounts() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let (bus, _) = metered_bus();
    let stop = CancellationToken::new();
    let engine: Arc<dyn Engine> = Arc::new(Memory::default());
    let both = vec![(location("NL"), Arc::clone(&engine)), (location("US"), Arc::clone(&engine))];
    role_over(&db, &bus, both, &stop).await;
    role_over(&db, &bus, vec![(location("NL"), engine)], &stop).await;
    let states: Vec<(String, String)> = db
        .fetch_all("SELECT code, state FROM location ORDER BY code", stowage_db::args![])
        .await
        .unwrap();
    let expected = [("NL", "OPEN"), ("US", "DRAINING")];
    assert_eq!(states, expected.map(|(code, state)| (code.to_owned(), state.to_owned())));
}

#[tokio::test]
async fn wrong_settings_are_told_together_and_nothing_is_written() {
    let place = Scratch::new().await;
    let db = open(&place).await;
    let engine: Arc<dyn Engine> = Arc::new(Memory::default());
    let twice = || -> (LocationConfig, Arc<dyn Engine>) { (location("NL"), Arc::clone(&engine)) };
    let deps = Deps {
        db: db.clone(),
        bus: metered_bus().0,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        verifier: signer().verifier(),
        page_key: signer().page_key(),
        stop: CancellationToken::new(),
        engines: vec![twice(), twice(), (location("nl"), Arc::clone(&engine))],
        opener: Arc::new(Servers::default()),
        keyring: keyring(1),
        fronts: Vec::new(),
    };
    let config = Config { call_ms_max: 0, ..Config::default() };
    let Err(BuildError::Config { faults }) = build(config, deps).await else {
        panic!("it was built");
    };
    assert_eq!(faults.len(), 3, "{faults:?}");
    let count: (i64,) =
        db.fetch_one("SELECT count(*) FROM location", stowage_db::args![]).await.unwrap();
    assert_eq!(count.0, 0);
}
