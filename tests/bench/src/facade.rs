//! `list_plans` through the facade against a bare handler that sends the same bytes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stowage_testkit::{Facade, Site};

use crate::bare::Bare;
use crate::figure::Figure;

/// How many clients ask at once, each on a connection of its own.
const AT_ONCE: usize = 16;
/// How often the two are measured in turn, so that a slow moment of the machine falls on both.
const ROUNDS: u32 = 3;

const WHAT: &str = "list_plans at the facade ÷ bare axum handler";

pub(crate) async fn measure(site: &Site, seconds: u64) -> Figure {
    let customer = site.customer("facade@bench.example", "EUR").await;
    let query = [("token", customer.token.as_str())];
    let answer = site.facade.get("/s3/list_plans", &query).await;
    let bare = match Bare::start(&answer.body) {
        Ok(bare) => bare,
        Err(why) => return Figure::missing(WHAT, why),
    };
    let span = Duration::from_secs(seconds);
    let (mut ours, mut theirs) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        theirs += rate(bare.address, &customer.token, span).await / f64::from(ROUNDS);
        ours += rate(site.gateway, &customer.token, span).await / f64::from(ROUNDS);
    }
    let what = format!("{WHAT}, {AT_ONCE} clients ({ours:.0}/s ÷ {theirs:.0}/s)");
    Figure::at_least(what, ours / theirs, 0.4)
}

/// Answers a second, over `span`.
async fn rate(address: SocketAddr, token: &str, span: Duration) -> f64 {
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..AT_ONCE {
        let (facade, token) = (Facade::new(address), token.to_owned());
        clients.push(tokio::spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < span {
                let answer = facade.get("/s3/list_plans", &[("token", &token)]).await;
                count += u32::from(answer.status.is_success());
            }
            count
        }));
    }
    let mut count = 0;
    for client in clients {
        count += client.await.unwrap_or_default();
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}
