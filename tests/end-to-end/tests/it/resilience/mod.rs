//! Every part in processes of its own, on PostgreSQL and RabbitMQ, while something goes wrong.
//!
//! Two of each part but storage, whose embedded engine keeps the objects on its own disk and is one
//! process. Run by `cargo xtask test --only resilience`, one test at a time: they stop the servers.

mod load;
mod slow;

use std::time::{Duration, Instant};

use stowage_testkit::{PARTS, Parts, Server, control, eventually};

use load::Load;

use crate::keyring::put_and_get;

/// Calls between two events of a test.
const SOME: usize = 40;
/// How long the broker stays away, in seconds, unless told otherwise.
const OUTAGE_SECONDS: u64 = 60;

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

/// A master key may seal soon after every process had to see it, and go soon after its last use.
const SOON: [(&str, &str); 2] =
    [("STOWAGE_KEYRING_USABLE_AFTER_MS", "3000"), ("STOWAGE_KEYRING_RETIRE_AFTER_MS", "3000")];
/// How long a rotation may take, until the key before it is gone.
const ROTATED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_master_key_under_load_fails_not_one_call() {
    let parts = Parts::start_all(2, &SOON).await;
    let site = parts.site(0);
    let customer = site.customer("before@example.com", "EUR").await;
    let account = site.order(&customer.token, site.plans().await.0, "before-rotation").await;
    let load = Load::start(&parts).await;
    load.goes_on(SOME).await;
    let rotated = parts.admin(&["keyring", "rotate"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    load.goes_on(SOME).await;
    eventually("the old master key can go", ROTATED_WITHIN, async || {
        let retired = parts.admin(&["keyring", "retire", "1"]).await;
        if retired.status.success() { Ok(()) } else { Err(format!("{retired:?}")) }
    })
    .await;
    load.goes_on(SOME).await;
    let book = load.stop().await;
    assert_eq!(book.failures, [""; 0], "of {}", book.done);
    book.check(&parts).await;
    for gateway in 0..parts.count("gateway") {
        let site = parts.site(gateway);
        let shown = site.show_key(&customer.token, &account.s3uid, "secret_key").await;
        assert_eq!(shown, account.secret_key);
    }
    put_and_get(&account).await;
}
