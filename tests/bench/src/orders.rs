//! Orders, from the call to the account that can be used.

use std::time::{Duration, Instant};

use stowage_proto::accounts::CreateAccountRequest;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_testkit::Site;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::figure::{Figure, in_ms, percentile};

/// How many orders run at once.
const AT_ONCE: usize = 16;
/// Time between two orders where they come evenly: 100 a second, whether the ones before have
/// ended or not.
const PACE: Duration = Duration::from_millis(10);

pub(crate) async fn measure(site: &Site, orders: usize) -> Vec<Figure> {
    let (plan_id, _) = site.plans().await;
    let mut tokens = Vec::new();
    for n in 0..AT_ONCE {
        let customer = site.customer(&format!("orders-{n}@bench.example"), "EUR").await;
        tokens.push(customer.token);
    }
    // The first calls open connections and fill caches.
    place_all(site, plan_id, &tokens, 2, "warm-up").await;
    let begun = Instant::now();
    let (mut times, failure) =
        place_all(site, plan_id, &tokens, orders.div_ceil(AT_ONCE), "order").await;
    let elapsed = begun.elapsed();
    if let Some(why) = failure {
        return vec![Figure::missing("create_order", why)];
    }
    let mut evenly = match place_evenly(site, plan_id, &tokens, orders / 2).await {
        Ok(evenly) => evenly,
        Err(why) => return vec![Figure::missing("create_order", why)],
    };
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let rate = f64::from(count) / elapsed.as_secs_f64();
    let what = |which| format!("create_order {which}, {AT_ONCE} at once, {count} orders");
    let even = |which| format!("create_order {which}, 100 a second, {} orders", evenly.len());
    let (p50, p99) = (even("p50"), even("p99"));
    vec![
        Figure::told(p50, in_ms(percentile(&mut evenly, 50))),
        Figure::time(p99, percentile(&mut evenly, 99), Duration::from_millis(50)),
        Figure::told(what("p50"), in_ms(percentile(&mut times, 50))),
        Figure::time(what("p99"), percentile(&mut times, 99), Duration::from_millis(50)),
        Figure::at_least(what("per second"), rate, 200.0),
    ]
}

/// Places orders at a fixed pace: how long each took from the moment it was due.
async fn place_evenly(
    site: &Site,
    plan_id: i64,
    tokens: &[String],
    orders: usize,
) -> Result<Vec<Duration>, String> {
    let clients: Vec<_> = tokens
        .iter()
        .map(|token| {
            let own = Site::new(site.gateway, site.s3, String::new());
            AccountServiceClient::new(own.with_token(token))
        })
        .collect();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for (n, client) in clients.iter().cycle().take(orders).enumerate() {
        let mut client = client.clone();
        let due = pace.tick().await;
        let request = CreateAccountRequest {
            plan: format!("plans/{plan_id}"),
            bucket: format!("evenly-{n}"),
            ..CreateAccountRequest::default()
        };
        calls.spawn(async move {
            let placed = client.create_account(request).await;
            placed.map(|_| due.elapsed()).map_err(|error| error.to_string())
        });
    }
    calls.join_all().await.into_iter().collect()
}

/// Each customer places `each` orders, one after the other: how long each took, and the first
/// failure.
async fn place_all(
    site: &Site,
    plan_id: i64,
    tokens: &[String],
    each: usize,
    name: &'static str,
) -> (Vec<Duration>, Option<String>) {
    let mut customers = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        // A connection of his own, as customers have.
        let own = Site::new(site.gateway, site.s3, String::new());
        let mut accounts = AccountServiceClient::new(own.with_token(token));
        customers.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(each);
            for i in 0..each {
                let request = CreateAccountRequest {
                    plan: format!("plans/{plan_id}"),
                    bucket: format!("{name}-{n}-{i}"),
                    ..CreateAccountRequest::default()
                };
                let begun = Instant::now();
                accounts.create_account(request).await.map_err(|error| error.to_string())?;
                times.push(begun.elapsed());
            }
            Ok::<_, String>(times)
        }));
    }
    let (mut times, mut failure) = (Vec::new(), None);
    for customer in customers {
        match customer.await {
            Ok(Ok(of_customer)) => times.extend(of_customer),
            Ok(Err(why)) => failure = failure.or(Some(why)),
            Err(error) => failure = failure.or(Some(error.to_string())),
        }
    }
    (times, failure)
}
