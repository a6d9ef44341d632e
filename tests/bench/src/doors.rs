//! What the doors cost beside each other: the facade over gRPC, and grpc-web over gRPC.
//!
//! One call of one customer through each door, by the same HTTP client with bodies made
//! beforehand, in turns. The facade is asked over HTTP/1.1, as clients in the field do, and for
//! locations: unlike plans it keeps none of them in memory, so both doors call the same role.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stowage_testkit::Site;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::figure::{Figure, in_ms, percentile};
use crate::load::{AT_ONCE, at_once};

/// Time between two calls where their number is fixed: 1,000 a second.
const PACE: Duration = Duration::from_millis(1);
/// How often the doors are measured in turn, so that a slow moment falls on both.
const ROUNDS: u32 = 3;
/// An empty message in a frame of gRPC: the first page of plans.
const EMPTY_FRAME: Bytes = Bytes::from_static(&[0; 5]);

const WHAT_LATENCY: &str = "ms of get_available_locations over ListLocations, at 1,000 calls/s";
const WHAT_RATE: &str = "ListPlans by grpc-web ÷ by gRPC";

/// One way in.
#[derive(Debug, Clone)]
struct Door {
    client: Client<HttpConnector, Full<Bytes>>,
    is_http2: bool,
    uri: String,
    token: String,
    kind: &'static str,
    body: Bytes,
}

impl Door {
    fn new(site: &Site, token: &str, (kind, path): (&'static str, &str)) -> Self {
        let is_http2 = kind.starts_with("application/grpc");
        let body = if is_http2 { EMPTY_FRAME } else { Bytes::new() };
        let uri = format!("http://{}/{path}", site.gateway);
        let token = format!("Bearer {token}");
        Self { client: client(is_http2), is_http2, uri, token, kind, body }
    }

    /// The same on connections of its own.
    fn beside(&self) -> Self {
        Self { client: client(self.is_http2), ..self.clone() }
    }

    async fn call(&self) -> Result<(), String> {
        let request = http::Request::post(&self.uri)
            .header("content-type", self.kind)
            .header("te", "trailers")
            .header("authorization", &self.token)
            .body(Full::new(self.body.clone()))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = (answer.status(), answer.headers().get("grpc-status").cloned());
        let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        match status {
            (http::StatusCode::OK, None) if body.to_bytes().len() > EMPTY_FRAME.len() => Ok(()),
            refused => Err(format!("{}: {refused:?}", self.uri)),
        }
    }
}

fn client(is_http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    // HTTP/2 sends a call in several frames; without this the last waits for an acknowledgement.
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).http2_only(is_http2).build(connector)
}

pub(crate) async fn measure(site: &Site, seconds: u64) -> Vec<Figure> {
    let customer = site.customer("doors@bench.example", "EUR").await;
    let door = |kind, path| Door::new(site, &customer.token, (kind, path));
    let (locations, plans) = (
        "stowage.storage.v1.LocationService/ListLocations",
        "stowage.billing.v1.PlanService/ListPlans",
    );
    let facade = door("application/x-www-form-urlencoded", "s3/get_available_locations");
    let same = door("application/grpc", locations);
    let (grpc, web) = (door("application/grpc", plans), door("application/grpc-web+proto", plans));
    let span = Duration::from_secs(seconds);
    let mut figures = match compare_times([&facade, &same], span).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing(WHAT_LATENCY, why)],
    };
    figures.push(match compare_rates([&web, &grpc], span).await {
        Ok([web, grpc]) => {
            let what = format!("{WHAT_RATE}, {AT_ONCE} clients ({web:.0}/s ÷ {grpc:.0}/s)");
            Figure::at_least(what, web / grpc, 0.9)
        }
        Err(why) => Figure::missing(WHAT_RATE, why),
    });
    figures
}

async fn compare_times(doors: [&Door; 2], span: Duration) -> Result<Vec<Figure>, String> {
    let mut times = [Vec::new(), Vec::new()];
    for door in doors {
        paced(door, span / 4).await?;
    }
    for _ in 0..ROUNDS {
        for (door, times) in doors.iter().zip(&mut times) {
            times.extend(paced(door, span).await?);
        }
    }
    let figure = |percent, target| {
        let [facade, grpc] = times.each_ref().map(|times| percentile(&mut times.clone(), percent));
        let what = format!("{WHAT_LATENCY}, p{percent} ({} − {})", in_ms(facade), in_ms(grpc));
        Figure::at_most(what, (facade.as_secs_f64() - grpc.as_secs_f64()) * 1000.0, target)
    };
    Ok(vec![figure(50, 0.5), figure(99, 2.0)])
}

/// Times of calls that begin at a fixed pace, however long each takes.
async fn paced(door: &Door, span: Duration) -> Result<Vec<Duration>, String> {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + span;
    let mut calls = JoinSet::new();
    while Instant::now() < end {
        // From the moment it was due: a client that is late is waited for by its user too.
        let begun = pace.tick().await;
        let door = door.clone();
        calls.spawn(async move { door.call().await.map(|()| begun.elapsed()) });
    }
    let outcomes = calls.join_all().await;
    outcomes.into_iter().collect()
}

async fn compare_rates(doors: [&Door; 2], span: Duration) -> Result<[f64; 2], String> {
    let mut rates = [0.0, 0.0];
    for _ in 0..ROUNDS {
        for (door, mean) in doors.iter().zip(&mut rates) {
            *mean += rate(door, span).await? / f64::from(ROUNDS);
        }
    }
    Ok(rates)
}

/// Answers a second, over `span`.
async fn rate(door: &Door, span: Duration) -> Result<f64, String> {
    at_once(span, || {
        let door = door.beside();
        move || {
            let door = door.clone();
            async move { door.call().await }
        }
    })
    .await
}
