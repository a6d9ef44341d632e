//! Locations that are drained and removed, and what the configuration says of them.

use std::sync::Arc;
use std::time::Duration;

use stowage_db::testing::Scratch;
use stowage_engine::{Engine, TrafficTotals};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_storage::{BuildError, build};
use stowage_types::{FakeClock, S3uid, SystemRandom};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::engine::{Memory, NOW};
use crate::kit::{
    Kit, OWNER, Settings, assert_reason, deps_of, location, metered_bus, until, wanted,
};
use crate::location_changes::{OTHER_SERVER, SERVER, adding, kit_of, otherwise, wanted_there};
use crate::servers::keyring;

#[tokio::test]
async fn a_drained_location_keeps_its_accounts_and_refuses_new_ones() {
    let place = Arc::new(Scratch::new().await);
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let nl = Arc::new(Memory::default());
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), settings.clone()).await;
    kit.add(adding()).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    for code in ["DE", "NL", "DE"] {
        assert_eq!(kit.drain(code).await.unwrap().state(), pb::LocationState::Draining);
    }
    assert_eq!(kit.offered().await, [""; 0]);
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.ensure(wanted_there(&uid)).await.unwrap();
    kit.close().await;

    // A restart opens neither of them.
    let kit = Kit::set(nl, place, metered_bus(), settings).await;
    for wanted in [wanted_there, wanted] {
        let refused = kit.ensure(wanted(&S3uid::generate(&SystemRandom))).await;
        assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationClosed);
    }
    let check = pb::CheckBucketNameRequest {
        location: "locations/DE".to_owned(),
        bucket: "another".to_owned(),
    };
    let refused = kit.buckets().check_bucket_name(kit.as_customer(OWNER, check)).await;
    let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationClosed);
    assert_eq!(status.message(), "location DE takes no orders at present");
    assert_eq!(kit.undrain("DE").await.unwrap().state(), pb::LocationState::Open);
    kit.undrain("NL").await.unwrap();
    kit.ensure(wanted_there(&S3uid::generate(&SystemRandom))).await.unwrap();
    kit.ensure(wanted(&S3uid::generate(&SystemRandom))).await.unwrap();
    // The configuration drains FAR.
    let refused = kit.undrain("FAR").await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationConfigured);
    let unknown = kit.drain("XX").await;
    assert_reason(unknown, Code::NotFound, ErrorReason::LocationNotFound);
    let told: Vec<_> = kit.told().await.into_iter().map(|(event, _)| event).collect();
    let drained = ["location.added", "location.drained", "location.drained"];
    assert_eq!(told, [&drained[..], &["location.undrained"; 2]].concat());
}

#[tokio::test]
async fn only_an_empty_location_is_removed_and_its_code_may_come_again() {
    let settings = Settings::default();
    let (engine, other) = (settings.servers.start(SERVER), settings.servers.start(OTHER_SERVER));
    let kit = kit_of(&settings).await;
    kit.add(adding()).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    let refused = kit.remove_location("DE").await;
    let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationNotEmpty);
    assert_eq!(status.message(), "location DE is not empty: 1 account");
    kit.remove(&uid, true).await.unwrap();
    kit.remove_location("DE").await.unwrap();
    assert_eq!(kit.offered().await, ["NL"]);
    let refused = kit.ensure(wanted_there(&S3uid::generate(&SystemRandom))).await;
    assert_reason(refused, Code::NotFound, ErrorReason::LocationNotFound);
    let sealed = "SELECT count(*) FROM location WHERE settings IS NOT NULL";
    assert_eq!(kit.count(sealed).await, 0, "how it was reached is forgotten");

    // Another server under the same code is another location.
    let there = otherwise(|of| of.admin_endpoint = OTHER_SERVER.to_owned());
    kit.add(there).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    assert!(other.account(&uid).is_some() && engine.account(&uid).is_none());

    // What is in the configuration goes by that alone.
    for code in ["NL", "FAR"] {
        let refused = kit.remove_location(code).await;
        let status =
            assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationConfigured);
        assert!(status.message().contains("take it out of the configuration"), "{status:?}");
    }
}

#[tokio::test]
async fn what_was_used_last_is_collected_before_a_location_goes() {
    let clock = Arc::new(FakeClock::at(NOW));
    let mut settings = Settings { clock: clock.clone(), ..Settings::default() };
    settings.config.removal_settle_ms = 180_000;
    let engine = settings.servers.start(SERVER);
    let mut kit = kit_of(&settings).await;
    kit.add(adding()).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    kit.remove(&uid, true).await.unwrap();
    // Its engine tells late what the account has moved.
    engine.report(TrafficTotals {
        uid: uid.clone(),
        bucket: String::new(),
        hour: NOW.replace_time(time::Time::MIDNIGHT),
        received_bytes: 5,
        sent_bytes: 6,
        read_requests: 1,
        write_requests: 1,
        refused_requests: 0,
    });
    clock.advance(Duration::from_secs(60));
    let refused = kit.remove_location("DE").await;
    let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationNotEmpty);
    assert!(status.message().ends_with("is collected in 120 s"), "{status:?}");
    clock.advance(Duration::from_secs(121));
    engine.set_down(true);
    let refused = kit.remove_location("DE").await;
    assert_reason(refused, Code::Unavailable, ErrorReason::EngineUnavailable);
    engine.set_down(false);
    kit.remove_location("DE").await.unwrap();
    kit.run_tasks();
    until(async || kit.meter.traffic().values().any(|moved| *moved == [5, 6, 1, 1])).await;
}

#[tokio::test]
async fn a_server_that_is_gone_for_good_is_removed_on_demand() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    kit.add(adding()).await.unwrap();
    let uid = S3uid::generate(&SystemRandom);
    kit.ensure(wanted_there(&uid)).await.unwrap();
    engine.set_down(true);
    let abandon = || {
        let name = "locations/DE".to_owned();
        let request = pb::RemoveLocationRequest { name, abandon_usage: true, ..Default::default() };
        kit.as_administrator(request)
    };
    // Accounts are never abandoned.
    let refused = kit.locations().remove_location(abandon()).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationNotEmpty);
    engine.set_down(false);
    kit.remove(&uid, true).await.unwrap();
    engine.set_down(true);
    let refused = kit.remove_location("DE").await;
    assert_reason(refused, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.locations().remove_location(abandon()).await.unwrap();
    assert_eq!(kit.offered().await, ["NL"]);
}

#[tokio::test]
async fn the_configuration_does_not_take_over_what_was_added() {
    let place = Arc::new(Scratch::new().await);
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let nl = Arc::new(Memory::default());
    let kit = Kit::set(nl.clone(), place.clone(), metered_bus(), settings.clone()).await;
    kit.add(adding()).await.unwrap();
    let stop = CancellationToken::new();
    let engines = || vec![(location("DE"), nl.clone() as Arc<dyn Engine>)];
    let deps = || {
        let clock = settings.clock.clone();
        let mut deps = deps_of(kit.db(), &metered_bus().0, engines(), (&stop, clock));
        (deps.opener, deps.keyring) = (settings.servers.clone(), keyring(1));
        deps
    };
    let Err(BuildError::Config { faults }) = build(settings.config.clone(), deps()).await else {
        panic!("it was built");
    };
    let wanted = "location DE is there already, added by an administrator; take it out of the \
                  configuration, or remove it there";
    assert_eq!(faults, [wanted]);
    assert_eq!(kit.offered().await, ["DE", "NL"], "nothing was changed");
    // One that was removed may be configured, and is not one that can be added then.
    kit.remove_location("DE").await.unwrap();
    build(settings.config.clone(), deps()).await.unwrap();
    let refused = kit.add(adding()).await;
    let status = assert_reason(refused, Code::AlreadyExists, ErrorReason::LocationExists);
    assert!(status.message().contains("left of an earlier configuration"), "{status:?}");
}

#[tokio::test]
async fn what_is_in_the_configuration_no_more_is_removed_once_it_is_empty() {
    let place = Arc::new(Scratch::new().await);
    let settings = Settings::default();
    let nl = Arc::new(Memory::default());
    let more = vec![(location("OLD"), Arc::new(Memory::default()) as Arc<dyn Engine>)];
    let before = Settings { more, ..settings.clone() };
    Kit::set(nl.clone(), place.clone(), metered_bus(), before).await.close().await;
    let kit = Kit::set(nl, place, metered_bus(), settings).await;
    let refused = kit.undrain("OLD").await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationConfigured);
    // Nothing can be collected of an engine that nobody knows how to reach.
    let refused = kit.remove_location("OLD").await;
    assert_reason(refused, Code::Unavailable, ErrorReason::EngineUnavailable);
    let name = "locations/OLD".to_owned();
    let request = pb::RemoveLocationRequest { name, abandon_usage: true, ..Default::default() };
    kit.locations().remove_location(kit.as_administrator(request)).await.unwrap();
    let left = "SELECT count(*) FROM location WHERE code = 'OLD' AND remove_time IS NULL";
    assert_eq!(kit.count(left).await, 0);
}
