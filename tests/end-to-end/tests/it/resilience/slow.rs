//! A database that answers slowly, or not at all.

use std::time::{Duration, Instant};

use http::StatusCode;
use stowage_testkit::{Facade, Parts, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long what comes through a slow wire is held.
const DELAY: Duration = Duration::from_secs(60);
/// Longest time of a call at the edge: its deadline of 30 s, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(45);
/// Calls at once: more than all connections to the database.
const CALLS: usize = 120;

/// A wire to the database that can be made slow.
struct Wire {
    address: std::net::SocketAddr,
    delay: watch::Sender<Duration>,
    _passing: JoinSet<()>,
}

impl Wire {
    async fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (delay, slowness) = watch::channel(Duration::ZERO);
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                let (client, server) = (client.into_split(), server.into_split());
                let slowness = slowness.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = pass(client.0, server.1, slowness.clone()) => {}
                        () = pass(server.0, client.1, slowness) => {}
                    }
                });
            }
        });
        Self { address, delay, _passing: passing }
    }

    fn set(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }
}

/// Passes bytes on, each part as late as the wire is slow; a change of that ends the wait.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut slowness: watch::Receiver<Duration>,
) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let delay = *slowness.borrow_and_update();
        if !delay.is_zero() {
            // Whichever comes first.
            let _ = tokio::time::timeout(delay, slowness.changed()).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// `host:port` of a URL of a database.
fn host_of(url: &str) -> String {
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    let host = authority.and_then(|authority| authority.split('@').next_back());
    host.expect("the URL of a database has a host").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_told_in_time_with_when_to_come_back() {
    let upstream = host_of(
        &std::env::var_os("STOWAGE_TEST_DATABASE_URL")
            .expect("this is run by `cargo xtask test --only resilience`")
            .into_string()
            .unwrap(),
    );
    let wire = Wire::to(upstream.clone()).await;
    let through = wire.address.to_string();
    let parts = Parts::start_with(1, |url| url.replace(&upstream, &through)).await;
    let site = parts.site(0);
    let customer = site.customer("slow@example.com", "EUR").await;
    let paid = site.plans().await.0;
    site.order(&customer.token, paid, "before").await;

    wire.set(DELAY);
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let (facade, token) = (Facade::new(site.gateway), customer.token.clone());
            tokio::spawn(async move {
                let begun = Instant::now();
                let (plan, bucket) = (paid.to_string(), format!("slow-{n}"));
                let order = [("plan_id", plan.as_str()), ("bucket_name", bucket.as_str())];
                let answer = match n % 2 {
                    0 => facade.action("create_order", &token, &order).await,
                    _ => facade.action("get_users", &token, &[]).await,
                };
                (answer, begun.elapsed())
            })
        })
        .collect();
    let mut told = 0;
    for call in calls {
        let (answer, took) = call.await.unwrap();
        assert!(took < ANSWERED_WITHIN, "{took:?}: {}", answer.text());
        // An order that was begun goes on behind the deadline of its caller, who is told so.
        let may_be_done = answer.text().contains("may still be completed");
        assert!(may_be_done || answer.status.is_server_error(), "{}", answer.text());
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text());
            told += 1;
        }
    }
    assert!(told > CALLS / 4, "{told} of {CALLS} were told 503");

    // It is quick again by itself, and all that was begun comes to an end.
    wire.set(Duration::ZERO);
    eventually("orders are taken again", ANSWERED_WITHIN, async || {
        let plan = paid.to_string();
        let order =
            [("plan_id", plan.as_str()), ("bucket_name", "after"), ("idempotency_key", "k")];
        let answer = site.facade.action("create_order", &customer.token, &order).await;
        if answer.status == StatusCode::OK && answer.value()["result"] == "OK" {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    parts.settle().await;
}
