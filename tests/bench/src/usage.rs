//! How soon a stored file shows in the figures that travel over the bus.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use stowage_testkit::{Site, try_eventually};

use crate::figure::Figure;

const WHAT: &str = "stored bytes show in get_buckets_rmq after";

pub(crate) async fn measure(site: &Site) -> Figure {
    let customer = site.customer("usage@bench.example", "EUR").await;
    let (plan_id, _) = site.plans().await;
    let account = site.order(&customer.token, plan_id, "bench-usage").await;
    let put = account.s3().put_object().bucket("bench-usage").key("file");
    let put = put.body(ByteStream::from(vec![1; 3 * 1024 * 1024])).send().await;
    if let Err(error) = put {
        return Figure::missing(WHAT, format!("{error:?}"));
    }
    let begun = Instant::now();
    let parameters = [("s3uid", account.s3uid.as_str())];
    let shown = try_eventually(Duration::from_secs(60), async || {
        let action = site.facade.action("get_buckets_rmq", &customer.token, &parameters);
        let answer = action.await.success();
        let is_shown =
            ["3", "3.0"].contains(&answer["usage_storage"].to_string().trim_matches('"'));
        if is_shown { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    match shown {
        Ok(()) => Figure::time(WHAT, begun.elapsed(), Duration::from_secs(5)),
        Err(last) => Figure::missing(WHAT, format!("not within 60 s; {last}")),
    }
}
