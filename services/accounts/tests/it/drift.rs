//! Engine, meter and bill are compared, on demand and by the timer.

use std::time::Duration;

use prost::Message as _;
use stowage_accounts::{Config, DriftTimes};
use stowage_auth::Principal;
use stowage_proto::accounts as pb;
use stowage_proto::accounts::drift_service_client::DriftServiceClient;
use stowage_proto::common::ErrorReason;
use stowage_proto::{billing, metering, storage};
use stowage_types::timestamp;
use tonic::{Code, Status};

use crate::double::{When, World};
use crate::kit::{Kit, acting_for, admin, assert_reason, service, staff, until};

use pb::DriftMeasure as Measure;

const FOUND: &str = "stowage.accounts.drift.found.v1";

/// Nothing has to arrive from anywhere.
fn config(times: DriftTimes) -> Config {
    Config { drift: DriftTimes { arrival: Duration::ZERO, ..times }, ..Config::default() }
}

async fn kit() -> Kit {
    Kit::with(config(DriftTimes::default()), World::default()).await
}

/// An account whose three figures agree; its s3uid.
async fn account(kit: &Kit, customer: &Principal, bucket: &str) -> String {
    let account = kit.order(customer, bucket, "").await.unwrap();
    let s3uid = account.name.trim_start_matches("accounts/").to_owned();
    let now = kit.clock_now();
    let hour = Some(timestamp(now - time::Duration::hours(30)));
    let moved = (10_000, 20_000, 30, 40);
    let stored = storage::EngineStored {
        stored_bytes: 500,
        time: Some(timestamp(now)),
        is_told_late: false,
    };
    let mut state = kit.world.state();
    let figures = state.figures.entry(s3uid.clone()).or_default();
    figures.engine = storage::EngineUsage {
        hours: vec![storage::EngineHour {
            hour,
            received_bytes: moved.0,
            sent_bytes: moved.1,
            read_requests: moved.2,
            write_requests: moved.3,
            sampled_buckets: 2,
            sampled_bytes: 500,
        }],
        counted_from_time: Some(timestamp(now - time::Duration::days(60))),
        sampled_from_time: Some(timestamp(now - time::Duration::days(60))),
        report_time: Some(timestamp(now)),
        stored: Some(stored),
        ..Default::default()
    };
    figures.meter = metering::MeteredUsage {
        hours: vec![metering::MeteredHour {
            hour,
            received_bytes: moved.0,
            sent_bytes: moved.1,
            read_requests: moved.2,
            write_requests: moved.3,
            sampled_buckets: 2,
            sampled_bytes: 500,
        }],
        stored_bytes: 500,
        as_of_time: Some(timestamp(now)),
        ..Default::default()
    };
    s3uid
}

async fn list(kit: &Kit, request: pb::ListDriftRequest) -> Result<pb::ListDriftResponse, Status> {
    let mut service = DriftServiceClient::new(kit.channel());
    service.list_drift(kit.by(&admin(), request)).await.map(tonic::Response::into_inner)
}

/// What drifts: account, measure and difference.
async fn drifting(kit: &Kit) -> Vec<(String, Measure, i64)> {
    let request = pb::ListDriftRequest { drifting_only: true, ..Default::default() };
    let found = list(kit, request).await.unwrap().accounts;
    let rows = found.iter().flat_map(|account| {
        let s3uid = account.account.trim_start_matches("accounts/").to_owned();
        account.rows.iter().filter(|row| row.is_drifting).map(move |row| (s3uid.clone(), row))
    });
    rows.map(|(s3uid, row)| {
        let of = |difference: Option<pb::DriftDifference>| difference.map_or(0, |of| of.value);
        let by_engine = of(row.meter_difference);
        let apart = if by_engine == 0 { of(row.billed_difference) } else { by_engine };
        (s3uid, row.measure(), apart)
    })
    .collect()
}

#[tokio::test]
async fn accounts_are_compared_page_by_page_and_only_operators_see_it() {
    let kit = kit().await;
    let customer = kit.customer("a@example.com").await;
    let mut uids = Vec::new();
    for n in 0..5 {
        uids.push(account(&kit, &customer, &format!("bucket-{n}")).await);
    }
    assert_eq!(drifting(&kit).await, []);
    kit.world.state().figures.get_mut(&uids[3]).unwrap().meter.hours[0].sent_bytes -= 7;
    assert_eq!(drifting(&kit).await, [(uids[3].clone(), Measure::SentBytes, -7)]);

    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListDriftRequest { page_size: 2, page_token, ..Default::default() };
        let page = list(&kit, request).await.unwrap();
        assert_eq!(usize::try_from(page.looked_at).unwrap(), page.accounts.len());
        seen.extend(page.accounts.into_iter().map(|account| account.account));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let all: Vec<String> = uids.iter().map(|uid| format!("accounts/{uid}")).collect();
    assert_eq!(seen, all);
    kit.world.state().figures.get_mut(&uids[2]).unwrap().meter.hours[0].sampled_buckets += 1;
    let found = drifting(&kit).await;
    assert_eq!(found[0], (uids[2].clone(), Measure::SampledBuckets, 1));
    let request = pb::ListDriftRequest { accounts: vec![all[3].clone()], ..Default::default() };
    let one = list(&kit, request).await.unwrap().accounts;
    let sent = one[0].rows.iter().find(|row| row.measure() == Measure::SentBytes).unwrap();
    let hour = &sent.hours[0];
    assert_eq!((one.len(), hour.engine, hour.meter, sent.hour_count), (1, 20_000, 19_993, 1));
    assert_eq!(sent.meter_difference.unwrap().ppm, -350);

    for (principal, reason) in [
        (customer.clone(), ErrorReason::RoleNotAllowed),
        (staff(), ErrorReason::RoleNotAllowed),
        (acting_for(&customer), ErrorReason::RoleNotAllowed),
    ] {
        let mut client = DriftServiceClient::new(kit.channel());
        let call = kit.by(&principal, pb::ListDriftRequest::default());
        assert_reason(&client.list_drift(call).await.unwrap_err(), Code::PermissionDenied, reason);
    }
    let mut client = DriftServiceClient::new(kit.channel());
    client.list_drift(kit.by(&service(), pb::ListDriftRequest::default())).await.unwrap();
    let now = kit.clock_now();
    let at = |hours| Some(timestamp(now + time::Duration::hours(hours)));
    for (from_time, to_time) in
        [(None, at(2)), (at(-60 * 24), None), (at(-1), at(-2)), (at(0), at(0))]
    {
        let request = pb::ListDriftRequest { from_time, to_time, ..Default::default() };
        let refused = list(&kit, request).await.unwrap_err();
        assert_reason(&refused, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    let request = pb::ListDriftRequest { page_token: "00ff".to_owned(), ..Default::default() };
    let refused = list(&kit, request).await.unwrap_err();
    assert_reason(&refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let away = (Code::Unavailable, ErrorReason::Unspecified);
    kit.world.fail("SumMeteredUsage", When::Before, away, 1);
    let refused = list(&kit, pb::ListDriftRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn engines_are_had_collect_only_where_something_seems_to_differ() {
    let kit = kit().await;
    let customer = kit.customer("a@example.com").await;
    let uid = account(&kit, &customer, "photos").await;
    account(&kit, &customer, "films").await;
    let collected = |kit: &Kit| kit.world.state().calls.contains(&"CollectFirst");
    assert_eq!((drifting(&kit).await, collected(&kit)), (Vec::new(), false));
    kit.world.state().figures.get_mut(&uid).unwrap().engine.is_waiting = true;
    kit.world.state().figures.get_mut(&uid).unwrap().meter.stored_bytes = 400;
    assert_eq!((drifting(&kit).await, collected(&kit)), (Vec::new(), true), "it is on its way");
    kit.world.state().figures.get_mut(&uid).unwrap().engine.is_waiting = false;
    assert_eq!(drifting(&kit).await, [(uid, Measure::StoredBytes, -100)]);
}

#[tokio::test]
async fn what_was_billed_is_held_against_the_meter_once_no_bill_corrects_it() {
    let kit = kit().await;
    let customer = kit.customer("a@example.com").await;
    let uid = account(&kit, &customer, "photos").await;
    let (start, end) =
        (kit.clock_now() - time::Duration::days(50), kit.clock_now() - time::Duration::days(20));
    let segment = billing::BilledSegment {
        from_time: Some(timestamp(start)),
        to_time: Some(timestamp(end)),
        received_bytes: 70,
        sent_bytes: 30,
        stored_bytes_peak: 9,
        stored_byte_seconds: "5184000".to_owned(),
    };
    {
        let mut state = kit.world.state();
        let figures = state.figures.get_mut(&uid).unwrap();
        figures.billed = Some(billing::BilledUsage {
            s3uid: uid.clone(),
            period_start_time: segment.from_time,
            period_end_time: segment.to_time,
            bill_time: segment.to_time,
            is_corrected_later: true,
            segments: vec![segment],
        });
        figures.part = metering::UsageSummary {
            received_bytes: 70,
            sent_bytes: 31,
            stored_bytes_peak: 9,
            stored_byte_seconds: "2592000".to_owned(),
            ..Default::default()
        };
        (figures.engine.received_bytes, figures.engine.sent_bytes) = (70, 31);
    }
    assert_eq!(drifting(&kit).await, [], "the next bill corrects it");
    kit.world.state().figures.get_mut(&uid).unwrap().billed.as_mut().unwrap().is_corrected_later =
        false;
    let found = [
        (uid.clone(), Measure::PeriodTrafficBytes, -1),
        (uid.clone(), Measure::PeriodStoredAverageBytes, 1),
    ];
    assert_eq!(drifting(&kit).await, found);
    kit.world.state().figures.get_mut(&uid).unwrap().engine.sent_bytes = 50;
    assert_eq!(drifting(&kit).await[0], (uid, Measure::PeriodTrafficBytes, -19), "by its engine");
}

#[tokio::test]
async fn the_timer_tells_of_a_drift_once_and_again_when_it_has_changed_or_after_a_day() {
    let fast = Duration::from_millis(20);
    let times = DriftTimes { first: fast, every_max: fast, arrival: Duration::ZERO };
    let kit = Kit::with(config(times), World::default()).await;
    let told = kit.listen(FOUND);
    let customer = kit.customer("a@example.com").await;
    let uid = account(&kit, &customer, "photos").await;
    let lose = |bytes: i64| {
        kit.world.state().figures.get_mut(&uid).unwrap().meter.hours[0].received_bytes -= bytes;
    };
    let count = || told.lock().unwrap().len();
    // Rounds that have begun and ended since.
    let rounds = async |wanted: usize| {
        let looks = || {
            let state = kit.world.state();
            state.calls.iter().filter(|call| **call == "SumEngineUsage").count()
        };
        let before = looks();
        until(async || looks() >= before + wanted * 3).await;
    };
    rounds(3).await;
    assert_eq!(count(), 0, "all agrees");
    lose(5);
    until(async || count() == 1).await;
    rounds(4).await;
    assert_eq!(count(), 1, "it is told once");
    lose(2);
    until(async || count() == 2).await;
    kit.clock.advance(Duration::from_secs(86_400));
    until(async || count() == 3).await;
    let events = told.lock().unwrap().clone();
    let found = pb::DriftFound::decode(events[1].data.as_slice()).unwrap();
    let measure = &found.measures[0];
    assert_eq!((found.s3uid.as_str(), found.measures.len()), (uid.as_str(), 1));
    assert_eq!((measure.engine, measure.meter), (Some(10_000), 9_993));
    assert_eq!((measure.measure(), measure.difference), (Measure::ReceivedBytes, -7));
    lose(-7);
    // A round tells what it has found from what those before it had by the clock.
    kit.clock.advance(Duration::from_secs(1));
    kit.is_one("SELECT 1 - count(*) FROM drift").await;
    assert_eq!(count(), 3, "nothing is told of what agrees again");
}

#[tokio::test]
async fn an_engine_that_tells_changes_late_is_believed_after_an_hour() {
    let fast = Duration::from_millis(20);
    let times = DriftTimes { first: fast, every_max: fast, arrival: Duration::ZERO };
    let kit = Kit::with(config(times), World::default()).await;
    let customer = kit.customer("a@example.com").await;
    let uid = account(&kit, &customer, "photos").await;
    {
        let mut state = kit.world.state();
        let engine = &mut state.figures.get_mut(&uid).unwrap().engine;
        *engine.stored.as_mut().unwrap() =
            storage::EngineStored { stored_bytes: 700, time: None, is_told_late: true };
    }
    kit.is_one("SELECT count(*) FROM drift WHERE suspected_bytes = 700").await;
    assert_eq!(drifting(&kit).await, []);
    kit.clock.advance(Duration::from_secs(3_601));
    kit.is_one("SELECT count(*) FROM drift WHERE figures = 'stored_bytes -200'").await;
    assert_eq!(drifting(&kit).await, [(uid, Measure::StoredBytes, -200)]);
}
