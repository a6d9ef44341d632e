//! Loss of power, hundreds of times, while clients order and delete: in the end all parts agree.
//!
//! Servers are killed at any moment, also while they start. The clients keep a book of what they
//! were told and ask again for what was cut off. After the last start every part must hold what is
//! in the books, once, and nothing else. `objects` does the same to the embedded S3 alone.
//!
//! `TEST_CHAOS_KILLS` sets how many kills there are in all, `TEST_CHAOS_SEED` repeats the choices
//! of a run; when a kill falls is up to the machine as well.

mod audit;
mod client;
mod objects;
mod random;

use std::time::Duration;

use futures_util::future::join_all;
use stowage_testkit::{Process, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;

use client::Client;
use random::Random;

/// Kills of a run that is told nothing else.
const KILLS: u64 = 200;
/// Servers that are killed side by side; so many that two cores are busy.
const SERVERS: u64 = 2;
/// Clients of each server.
const CLIENTS: u64 = 8;
/// Between two tries of a client to reach a server that is away.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Longest life of a server before it is killed. On a machine where starts take long the run would
/// else take very long.
const LIFE_MAX: Duration = Duration::from_millis(1500);
/// How long the last answers may take once the server stays up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// What happened, so that a run that did nothing does not pass.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    deleted: usize,
    resent: usize,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().expect("a number is plain text");
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text:?}: {error}")))
}

fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    stowage_types::Random::fill(&stowage_types::SystemRandom, &mut bytes);
    u64::from_le_bytes(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_server_that_is_killed_again_and_again() {
    let kills = number("TEST_CHAOS_KILLS").unwrap_or(KILLS);
    let seed = number("TEST_CHAOS_SEED").unwrap_or_else(any_seed);
    println!("chaos: {kills} kills, TEST_CHAOS_SEED={seed}");
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let storms = (0..SERVERS).map(|server| {
        let kills = kills / SERVERS + u64::from(server < kills % SERVERS);
        storm(server, kills, random.split())
    });
    let tallies = join_all(storms).await;
    println!("chaos: {tallies:?} after {:?}", begun.elapsed());
    for tally in tallies {
        let Tally { accepted, refused, deleted, resent } = tally;
        assert!(accepted > 0 && refused > 0 && deleted > 0 && resent > 0, "{tally:?}");
    }
}

/// One server, its clients, and its kills.
async fn storm(server: u64, kills: u64, mut random: Random) -> Tally {
    let mut process = Process::start_with(&[("STOWAGE_LOG_LEVEL", "warn")]).await;
    let plan = process.site.plans().await.0.to_string();
    let mut clients = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for number in 0..CLIENTS {
        let name = format!("chaos-{server}-{number}");
        let customer = process.site.customer(&format!("{name}@example.com"), "EUR").await;
        let facade = process.site.facade.clone();
        let mut client = Client::new((name, customer), facade, plan.clone(), random.split());
        let stopped = stopped.clone();
        clients.spawn(async move {
            while !*stopped.borrow() {
                if !client.step().await {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
            client
        });
    }
    kill_again_and_again(&mut process, kills, &mut random).await;
    // The server is dead: what is in flight now stays open until it is back.
    stop.send(true).expect("the clients listen");
    let mut clients = clients.join_all().await;

    process.restart().await;
    audit::sagas_have_ended(&process.site).await;
    for client in &mut clients {
        eventually("what was cut off is answered", ANSWERS_WITHIN, async || {
            match !client.is_open() || client.step().await {
                true => Ok(()),
                false => Err(format!("still open for {}", client.customer.email)),
            }
        })
        .await;
    }
    audit::all_agree(&process, &clients).await;
    let mut tally = Tally::default();
    for Client { book, .. } in &clients {
        tally.accepted += book.accounts.len() + book.deleted.len();
        tally.refused += book.refused;
        tally.deleted += book.deleted.len();
        tally.resent += book.resent;
    }
    assert!(process.stop("TERM").await.success(), "{}", process.log());
    tally
}

/// Leaves the server dead. A kill falls at any moment from the start of the process to about as
/// long after it is ready as the start takes.
async fn kill_again_and_again(process: &mut Process, kills: u64, random: &mut Random) {
    let longest = (process.ready_after * 2 + Duration::from_millis(300)).min(LIFE_MAX);
    let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    for kill in 0..kills {
        if kill > 0 {
            process.launch();
        }
        let life = Duration::from_micros(random.below(longest_us));
        tokio::time::sleep(life).await;
        if let Some(status) = process.ended() {
            panic!("it ended by itself ({status}) before kill {kill}: {}", process.log());
        }
        process.kill();
    }
}
