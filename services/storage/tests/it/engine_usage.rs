//! What engines have reported, for whoever holds it against what metering has.

use std::sync::Arc;

use stowage_db::testing::Scratch;
use stowage_engine::{Engine, TrafficTotals};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_types::{S3uid, SystemRandom, from_timestamp, name, timestamp};
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Engines, Kit, OWNER, Settings, assert_reason, location, metered_bus, this_hour};

fn totals(uid: &S3uid, bucket: &str, hours_ago: i64, bytes: u64) -> TrafficTotals {
    TrafficTotals {
        uid: uid.clone(),
        bucket: bucket.to_owned(),
        hour: this_hour() - Duration::hours(hours_ago),
        received_bytes: bytes,
        sent_bytes: 2 * bytes,
        read_requests: 3,
        write_requests: 4,
        refused_requests: 5,
    }
}

fn window(uid: &S3uid, (from, to): (i64, i64)) -> pb::EngineWindow {
    let at = |hours_ago| Some(timestamp(this_hour() - Duration::hours(hours_ago)));
    pb::EngineWindow { name: name::account(uid), from_time: at(from), to_time: at(to) }
}

async fn ask<E: Engine + 'static>(
    kit: &Kit<E>,
    request: pb::SumEngineUsageRequest,
) -> Result<Vec<pb::EngineUsage>, Status> {
    let request = kit.as_service(request);
    Ok(kit.usage().sum_engine_usage(request).await?.into_inner().usages)
}

/// All that can be asked of accounts in the last two days.
fn all(uids: &[&S3uid]) -> pb::SumEngineUsageRequest {
    pb::SumEngineUsageRequest {
        windows: uids.iter().map(|uid| window(uid, (48, 0))).collect(),
        with_hours: true,
        with_stored: true,
        collect_first: true,
    }
}

fn time(wire: Option<prost_types::Timestamp>) -> Option<OffsetDateTime> {
    from_timestamp(&wire?).ok()
}

#[tokio::test]
async fn what_was_reported_is_summed_over_buckets_by_the_hour() {
    let kit = Kit::start().await;
    let (uid, other) = (kit.account().await, kit.account().await);
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.engine.put("photos", "a.jpg", 77);
    for reported in [
        totals(&uid, "photos", 60, 1),
        totals(&uid, "photos", 10, 20),
        totals(&uid, "films", 10, 300),
        totals(&uid, "", 9, 4_000),
        totals(&uid, "photos", 0, 50_000),
        totals(&other, "", 9, 8),
    ] {
        kit.engine.report(reported);
    }
    let stranger = S3uid::generate(&SystemRandom);
    let told = ask(&kit, all(&[&uid, &other, &stranger])).await.unwrap();
    let hours: Vec<(Option<OffsetDateTime>, i64)> =
        told[0].hours.iter().map(|hour| (time(hour.hour), hour.received_bytes)).collect();
    let at = |hours_ago| Some(this_hour() - Duration::hours(hours_ago));
    assert_eq!(hours, [(at(10), 320), (at(9), 4_000)]);
    let sum = (told[0].received_bytes, told[0].sent_bytes, told[0].read_requests);
    assert_eq!((sum, told[0].write_requests), ((4_320, 8_640, 9), 12));
    assert_eq!((told[1].received_bytes, told[2].received_bytes), (8, 0));
    let stored = told[0].stored.unwrap();
    assert_eq!((stored.stored_bytes, stored.is_told_late), (77, false));
    assert!(time(told[0].counted_from_time) < at(24 * 59) && told[0].report_time.is_some());
    // Nothing was sent yet, since no task runs.
    assert!(told[0].is_waiting && told[1].is_waiting && !told[2].is_waiting);
    assert!(told[2].stored.is_none() && !told[2].stored_unknown.is_empty());
    assert!(told[2].counted_from_time.is_none());

    let request = pb::SumEngineUsageRequest {
        windows: vec![window(&uid, (100, 10)), window(&uid, (10, 9))],
        ..Default::default()
    };
    let told = ask(&kit, request).await.unwrap();
    assert_eq!((told[0].received_bytes, told[1].received_bytes), (1, 320));
    assert!(told[0].hours.is_empty() && told[0].stored.is_none());
    assert_eq!(told[0].stored_unknown, "", "it was not asked for");
}

#[tokio::test]
async fn an_engine_that_is_away_is_told_beside_its_accounts() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.engine.report(totals(&uid, "", 9, 8));
    ask(&kit, all(&[&uid])).await.unwrap();
    kit.engine.set_down(true);
    for collect_first in [false, true] {
        let told = ask(&kit, pb::SumEngineUsageRequest { collect_first, ..all(&[&uid]) }).await;
        let told = told.unwrap().remove(0);
        assert_eq!((told.received_bytes, told.hours.len()), (8, 1));
        assert!(told.stored.is_none() && !told.stored_unknown.is_empty(), "{told:?}");
    }
}

#[tokio::test]
async fn where_nobody_counts_the_figures_say_nothing() {
    let mut engine = Memory::default();
    (engine.capabilities.traffic, engine.capabilities.changes_at_once) = (false, false);
    let kit = Kit::with(engine).await;
    let uid = kit.account().await;
    let told = ask(&kit, all(&[&uid])).await.unwrap().remove(0);
    assert_eq!((told.counted_from_time, told.hours.len()), (None, 0));
    assert!(told.stored.unwrap().is_told_late);
}

#[tokio::test]
async fn an_account_that_came_from_where_nobody_counts_is_counted_since() {
    let mut uncounted = Memory::default();
    uncounted.capabilities.traffic = false;
    let more: Engines = vec![(location("OLD"), Arc::new(uncounted))];
    let settings = Settings { more, ..Settings::default() };
    let place = Arc::new(Scratch::new().await);
    let kit = Kit::set(Arc::new(Memory::default()), place, metered_bus(), settings).await;
    let (uid, other) = (kit.account().await, kit.account().await);
    let switched = this_hour() - Duration::minutes(90);
    for (uid, from) in [(&uid, "OLD"), (&other, "NL")] {
        const SQL: &str = "INSERT INTO account_move (id, s3uid, from_location, to_location, \
            state, why, faults, start_buckets, start_objects, start_bytes, copied_objects, \
            copied_bytes, unfinished_uploads, checked_objects, checked_bytes, pass_changes, \
            pass_bucket, passes, rounds, attempts, next_attempt_time, create_time, update_time, \
            switch_time) VALUES ($1, $2, $3, 'NL', 'CONFIRMED', '', '[]', 0, 0, 0, 0, 0, 0, 0, \
            0, 0, '', 0, 0, 0, $4, $4, $4, $4)";
        let id = uuid::Uuid::from_u128(u128::from(uid == &other));
        let args = stowage_db::args![id, uid.as_str(), from, switched];
        let mut tx = kit.db().begin().await.unwrap();
        tx.execute(SQL, args).await.unwrap();
        tx.commit().await.unwrap();
    }
    let told = ask(&kit, all(&[&uid, &other])).await.unwrap();
    assert_eq!(time(told[0].counted_from_time), Some(this_hour() - Duration::HOUR));
    assert!(time(told[1].counted_from_time) < Some(switched - Duration::days(50)));
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let wide = window(&uid, (24 * 59, 0));
    let of = |windows: Vec<pb::EngineWindow>, with_hours| pb::SumEngineUsageRequest {
        windows,
        with_hours,
        ..Default::default()
    };
    assert_eq!(ask(&kit, of(vec![wide.clone(); 500], false)).await.unwrap().len(), 500);
    assert_eq!(ask(&kit, of(Vec::new(), true)).await.unwrap(), []);
    for request in [
        of(vec![wide.clone(); 501], false),
        of(vec![wide.clone(); 29], true),
        of(vec![window(&uid, (3, 4))], false),
        of(vec![pb::EngineWindow { name: "x".to_owned(), ..wide.clone() }], false),
        of(vec![pb::EngineWindow { to_time: None, ..wide.clone() }], false),
    ] {
        let refused = ask(&kit, request).await;
        assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    for request in [
        kit.as_customer(OWNER, of(vec![wide.clone()], false)),
        kit.as_administrator_for(OWNER, of(vec![wide], false)),
    ] {
        let refused = kit.usage().sum_engine_usage(request).await;
        assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
}

/// What was sampled in each of the last hours, as it was sent: buckets and bytes.
async fn sampled(kit: &Kit, uid: &S3uid) -> Vec<(i64, i64)> {
    let told = ask(kit, all(&[uid])).await.unwrap().remove(0);
    told.hours.iter().map(|hour| (hour.sampled_buckets, hour.sampled_bytes)).collect()
}

#[tokio::test]
async fn samples_are_noted_as_they_are_sent_and_the_last_of_an_hour_counts() {
    // The engine's clock: some time ago, so that the hour has ended.
    let kit = Kit::start().await;
    let uid = kit.account().await;
    assert_eq!(ask(&kit, all(&[&uid])).await.unwrap()[0].sampled_from_time, None);
    for bucket in ["photos", "films"] {
        kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
    }
    kit.engine.put("photos", "a.jpg", 5);
    kit.engine.put("films", "a.mkv", 300);
    ask(&kit, all(&[&uid])).await.unwrap();
    kit.engine.put("photos", "b.jpg", 20);
    ask(&kit, all(&[&uid])).await.unwrap();
    let hour = crate::engine::NOW.replace_minute(0).unwrap().replace_second(0).unwrap();
    let request = pb::SumEngineUsageRequest {
        windows: vec![pb::EngineWindow {
            name: name::account(&uid),
            from_time: Some(timestamp(hour - Duration::DAY)),
            to_time: Some(timestamp(hour + Duration::DAY)),
        }],
        with_hours: true,
        ..Default::default()
    };
    let told = ask(&kit, request).await.unwrap().remove(0);
    let found: Vec<_> =
        told.hours.iter().map(|of| (time(of.hour), of.sampled_buckets, of.sampled_bytes)).collect();
    assert_eq!(found, [(Some(hour), 2, 325)]);
    assert_eq!(time(told.sampled_from_time), Some(hour + Duration::HOUR));
    assert_eq!(sampled(&kit, &uid).await, [], "nothing was sampled in the last days");
}
