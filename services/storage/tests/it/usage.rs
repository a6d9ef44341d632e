//! Collection of usage: nothing twice, nothing lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use stowage_bus::{Bus, backlog};
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_engine::{Engine, TrafficTotals};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_types::{S3uid, SystemRandom, name};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::engine::Memory;
use crate::kit::{
    Kit, OTHER, OWNER, Place, assert_reason, killed_after, location, metered_bus, open, role_over,
    this_hour, until,
};

fn totals(uid: &S3uid, bucket: &str, received_bytes: u64) -> TrafficTotals {
    TrafficTotals {
        uid: uid.clone(),
        bucket: bucket.to_owned(),
        hour: this_hour(),
        received_bytes,
        sent_bytes: 2 * received_bytes,
        read_requests: 1,
        write_requests: received_bytes / 10,
        refused_requests: 0,
    }
}

fn place(totals: &TrafficTotals) -> Place {
    (totals.uid.as_str().to_owned(), totals.bucket.clone(), totals.hour.unix_timestamp())
}

fn figures(totals: &TrafficTotals) -> [i64; 4] {
    [totals.received_bytes, totals.sent_bytes, totals.read_requests, totals.write_requests]
        .map(|figure| i64::try_from(figure).unwrap())
}

async fn is_drained(db: &Db) -> bool {
    backlog(db).await.unwrap().pending == 0
}

#[tokio::test]
async fn absolute_totals_become_increments() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.run_tasks();
    for received_bytes in [10, 25, 25, 70] {
        let reported = totals(&uid, "photos", received_bytes);
        kit.engine.report(reported.clone());
        until(async || kit.meter.traffic().get(&place(&reported)) == Some(&figures(&reported)))
            .await;
    }
    kit.engine.put("photos", "a.jpg", 5);
    until(async || kit.meter.last(&uid, "photos") == Some((5, 1))).await;
    until(async || is_drained(kit.db()).await).await;
}

#[tokio::test]
async fn an_engine_read_again_from_its_beginning_counts_nothing_twice() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    kit.run_tasks();
    let reported = totals(&uid, "", 50);
    kit.engine.report(reported.clone());
    until(async || kit.meter.traffic().get(&place(&reported)) == Some(&figures(&reported))).await;
    kit.engine.forget_cursors();
    // Less than before, as after a crash that lost counts, and then something new elsewhere.
    kit.engine.report(totals(&uid, "", 20));
    let later = totals(&uid, "photos", 7);
    kit.engine.report(later.clone());
    until(async || kit.meter.traffic().get(&place(&later)) == Some(&figures(&later))).await;
    assert_eq!(kit.meter.traffic()[&place(&reported)], figures(&reported));
    assert_eq!(kit.meter.events(), 2, "one for each figure that was new");
}

#[tokio::test]
async fn hours_that_metering_takes_no_more_are_dropped() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    kit.run_tasks();
    let mut old = totals(&uid, "photos", 10);
    old.hour -= time::Duration::days(46);
    let fresh = totals(&uid, "photos", 10);
    kit.engine.report(old.clone());
    kit.engine.report(fresh.clone());
    until(async || kit.meter.traffic().contains_key(&place(&fresh))).await;
    assert!(!kit.meter.traffic().contains_key(&place(&old)));
}

async fn run_role(db: &Db, bus: &Bus, engine: &Arc<Memory>, polls: Option<u32>) {
    let shared: Arc<dyn Engine> = Arc::<Memory>::clone(engine);
    let stop = CancellationToken::new();
    let role = role_over(db, bus, vec![(location("NL"), shared)], &stop).await;
    let tasks = join_all(role.tasks.into_iter().map(|task| task.future));
    match polls {
        Some(polls) => {
            killed_after(polls, tasks).await;
        }
        None => {
            tasks.await;
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_point_neither_loses_nor_doubles() {
    let scratch = Scratch::new().await;
    let engine = Arc::new(Memory::default());
    let (bus, meter) = metered_bus();
    let uids: Vec<S3uid> = (0..3).map(|_| S3uid::generate(&SystemRandom)).collect();
    let mut expected: BTreeMap<Place, [i64; 4]> = BTreeMap::new();
    for round in 1..=60 {
        for uid in &uids {
            for bucket in ["", "photos"] {
                let reported = totals(uid, bucket, u64::from(round) * 10);
                expected.insert(place(&reported), figures(&reported));
                engine.report(reported);
            }
        }
        if round % 20 == 0 {
            engine.forget_cursors();
        }
        let db = open(&scratch).await;
        run_role(&db, &bus, &engine, Some(round)).await;
        for (place, told) in meter.traffic() {
            let most = expected[&place];
            assert!(told.iter().zip(most).all(|(told, most)| *told <= most), "round {round}");
        }
        db.close().await;
    }
    let db = open(&scratch).await;
    let finished = until(async || meter.traffic() == expected && is_drained(&db).await);
    tokio::select! {
        () = run_role(&db, &bus, &engine, None) => panic!("the tasks ended"),
        () = finished => {}
    }
    assert_eq!(backlog(&db).await.unwrap().dead, 0);
}

#[tokio::test]
async fn a_location_whose_engine_is_away_holds_up_no_other() {
    let scratch = Scratch::new().await;
    let db = open(&scratch).await;
    let (bus, meter) = metered_bus();
    let stop = CancellationToken::new();
    let (away, well) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    away.set_down(true);
    let engines: Vec<(_, Arc<dyn Engine>)> = vec![
        (location("AA"), Arc::<Memory>::clone(&away)),
        (location("BB"), Arc::<Memory>::clone(&well)),
    ];
    let role = role_over(&db, &bus, engines, &stop).await;
    for task in role.tasks {
        tokio::spawn(task.future);
    }
    let uid = S3uid::generate(&SystemRandom);
    let reported = totals(&uid, "photos", 10);
    well.report(reported.clone());
    until(async || meter.traffic().contains_key(&place(&reported))).await;
    assert_eq!((role.ready)().await, Ok(()), "the other location serves");
    well.set_down(true);
    let why = (role.ready)().await.unwrap_err();
    assert!(why.contains("location AA is") && why.contains("location BB is"), "{why}");
    well.set_down(false);

    let waiting = totals(&S3uid::generate(&SystemRandom), "photos", 10);
    away.report(waiting.clone());
    away.set_down(false);
    until(async || meter.traffic().contains_key(&place(&waiting))).await;
    stop.cancel();
}

#[tokio::test]
async fn fresh_figures_are_durable_when_the_call_answers() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.create_bucket(OWNER, &uid, "music").await.unwrap();
    kit.engine.put("photos", "a.jpg", 5);
    kit.engine.put("music", "b.ogg", 6);
    let reported = totals(&uid, "photos", 10);
    kit.engine.report(reported.clone());
    let request = pb::CollectUsageRequest { name: name::account(&uid), ..Default::default() };
    let answer = kit.usage().collect_usage(kit.as_administrator(request.clone())).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!((answer.stored_bytes, answer.object_count), (11, 2));
    assert!(backlog(kit.db()).await.unwrap().pending > 0, "events wait for the relay");
    assert_eq!(kit.meter.events(), 0);
    kit.run_tasks();
    until(async || is_drained(kit.db()).await).await;
    assert_eq!(kit.meter.traffic()[&place(&reported)], figures(&reported));
    assert_eq!(kit.meter.last(&uid, "photos"), Some((5, 1)));
    assert_eq!(kit.meter.last(&uid, "music"), Some((6, 1)));

    let refused = kit.usage().collect_usage(kit.as_customer(OWNER, request.clone())).await;
    assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let refused = kit.usage().collect_usage(kit.as_service_for(OTHER, request.clone())).await;
    assert_reason(refused, Code::NotFound, ErrorReason::AccountNotFound);
    kit.engine.set_down(true);
    let refused = kit.usage().collect_usage(kit.as_service(request)).await;
    assert_reason(refused, Code::Unavailable, ErrorReason::EngineUnavailable);
}

#[tokio::test]
async fn a_new_bucket_is_told_by_who_makes_it_where_its_engine_looks_only_now_and_then() {
    for changes_at_once in [false, true] {
        let mut engine = Memory::default();
        engine.capabilities.changes_at_once = changes_at_once;
        let mut kit = Kit::with(engine).await;
        let uid = kit.account().await;
        kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
        // Its creation again tells nothing.
        kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
        // Nobody asks the engine: the collector does not run.
        kit.run_tasks_of("storage.outbox");
        if changes_at_once {
            let told = "SELECT count(*) FROM outbox WHERE type LIKE '%usage.collected%'";
            assert_eq!(kit.count(told).await, 0);
        } else {
            until(async || kit.meter.last(&uid, "photos") == Some((0, 0))).await;
            assert_eq!(kit.meter.events(), 1);
        }
        kit.close().await;
    }
}
