//! `list_plans` through the facade against a bare handler that sends the same bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stowage_testkit::{Facade, Site};

use crate::bare::Bare;
use crate::figure::Figure;
use crate::load::{AT_ONCE, at_once};

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
        for (address, mean) in [(bare.address, &mut theirs), (site.gateway, &mut ours)] {
            match rate(address, &customer.token, span).await {
                Ok(rate) => *mean += rate / f64::from(ROUNDS),
                Err(why) => return Figure::missing(WHAT, why),
            }
        }
    }
    let what = format!("{WHAT}, {AT_ONCE} clients ({ours:.0}/s ÷ {theirs:.0}/s)");
    Figure::at_least(what, ours / theirs, 0.4)
}

/// Answers a second, over `span`.
async fn rate(address: SocketAddr, token: &str, span: Duration) -> Result<f64, String> {
    at_once(span, || {
        let client = Arc::new((Facade::new(address), token.to_owned()));
        move || {
            let client = Arc::clone(&client);
            async move {
                let (facade, token) = &*client;
                let answer = facade.get("/s3/list_plans", &[("token", token)]).await;
                if answer.status.is_success() { Ok(()) } else { Err(answer.status.to_string()) }
            }
        }
    })
    .await
}
