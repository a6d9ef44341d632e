//! Every part in processes of its own, on PostgreSQL and RabbitMQ, while something goes wrong.
//!
//! Two of each part but storage, whose embedded engine keeps the objects on its own disk and is one
//! process. Run by `cargo xtask test --only resilience`, one test at a time: they stop the servers.

mod load;
mod slow;

use std::time::{Duration, Instant};

use stowage_testkit::{PARTS, Parts, Server, control};

use load::Load;

/// Calls between two events of a test.
const SOME: usize = 40;
/// How long the broker stays away, in seconds, unless told otherwise.
const OUTAGE_SECONDS: u64 = 15;

fn outage() -> Duration {
    let seconds = std::env::var_os("STOWAGE_TEST_OUTAGE_SECONDS");
    let seconds = seconds.map(|text| text.to_string_lossy().parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(OUTAGE_SECONDS))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_and_killed_under_load_loses_and_doubles_nothing() {
    let parts = Parts::start(2).await;
    let load = Load::start(&parts).await;
    for how in ["stop", "kill"] {
        load.goes_on(SOME).await;
        control(Server::Database, how).await;
        control(Server::Database, "start").await;
    }
    load.goes_on(SOME).await;
    let book = load.stop().await;
    book.check(&parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_fails_no_call_and_loses_doubles_and_reorders_no_event() {
    let parts = Parts::start(2).await;
    let load = Load::start(&parts).await;
    load.goes_on(SOME).await;
    control(Server::Broker, "stop").await;
    let begun = Instant::now();
    load.goes_on(SOME).await;
    let waiting = "SELECT count(*) FROM outbox";
    let waiting = parts.beside("storage").count(waiting).await.unwrap();
    assert!(waiting > 0, "events wait in the outbox");
    tokio::time::sleep(outage().saturating_sub(begun.elapsed())).await;
    control(Server::Broker, "start").await;
    load.goes_on(SOME).await;
    let book = load.stop().await;
    assert_eq!(book.failures, [""; 0], "of {}", book.done);
    book.check(&parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_killed_and_started_again_leaves_nothing_half_done() {
    let mut parts = Parts::start(2).await;
    let load = Load::start(&parts).await;
    for part in PARTS {
        load.goes_on(SOME).await;
        parts.kill(part, 0);
        if part != "storage" {
            load.goes_on(SOME / 4).await;
        }
        parts.start_again(part, 0).await;
    }
    load.goes_on(SOME).await;
    let book = load.stop().await;
    book.check(&parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_part_under_load_fails_not_one_call() {
    let mut parts = Parts::start(2).await;
    let load = Load::start(&parts).await;
    for part in PARTS {
        for n in 0..parts.count(part) {
            load.goes_on(SOME / 2).await;
            parts.stop(part, n).await;
            parts.start_again(part, n).await;
        }
    }
    load.goes_on(SOME).await;
    let book = load.stop().await;
    assert_eq!(book.failures, [""; 0], "of {}", book.done);
    book.check(&parts).await;
}
