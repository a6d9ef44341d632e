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

/// What is asked of an installation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Names it in the table.
    pub(crate) place: &'static str,
    /// How many orders are placed as fast as they can be; half as many come evenly.
    pub(crate) orders: usize,
    /// How many come evenly in a second, whether the ones before have ended or not.
    pub(crate) evenly: u32,
    /// Longest time that 99 of 100 of them may take.
    pub(crate) p99: Duration,
    /// The same of those that are placed as fast as they can be, if it is promised.
    pub(crate) p99_at_once: Option<Duration>,
    /// How many a second there must be at least, as fast as they can be.
    pub(crate) rate: f64,
}

pub(crate) async fn measure(site: &Site, load: Load) -> Vec<Figure> {
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
        place_all(site, plan_id, &tokens, load.orders.div_ceil(AT_ONCE), "order").await;
    let elapsed = begun.elapsed();
    let Load { place, evenly: per_second, .. } = load;
    let missing = |why| vec![Figure::missing(format!("create_order{place}"), why)];
    if let Some(why) = failure {
        return missing(why);
    }
    let pace = Duration::from_secs(1) / per_second;
    let mut evenly = match place_evenly(site, plan_id, (&tokens, load.orders / 2), pace).await {
        Ok(evenly) => evenly,
        Err(why) => return missing(why),
    };
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let rate = f64::from(count) / elapsed.as_secs_f64();
    let what = |which| format!("create_order{place} {which}, {AT_ONCE} at once, {count} orders");
    let even = |which| {
        format!("create_order{place} {which}, {per_second} a second, {} orders", evenly.len())
    };
    let (p50, p99) = (even("p50"), even("p99"));
    let slowest = percentile(&mut times, 99);
    let at_once = match load.p99_at_once {
        Some(promised) => Figure::time(what("p99"), slowest, promised),
        None => Figure::told(what("p99"), in_ms(slowest)),
    };
    vec![
        Figure::told(p50, in_ms(percentile(&mut evenly, 50))),
        Figure::time(p99, percentile(&mut evenly, 99), load.p99),
        Figure::told(what("p50"), in_ms(percentile(&mut times, 50))),
        at_once,
        Figure::at_least(what("per second"), rate, load.rate),
    ]
}

/// Places orders at a fixed pace: how long each took from the moment it was due.
async fn place_evenly(
    site: &Site,
    plan_id: i64,
    (tokens, orders): (&[String], usize),
    pace: Duration,
) -> Result<Vec<Duration>, String> {
    let clients: Vec<_> = tokens
        .iter()
        .map(|token| {
            let own = Site::new(site.gateway, site.s3, String::new());
            AccountServiceClient::new(own.with_token(token))
        })
        .collect();
    let mut pace = tokio::time::interval(pace);
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
