//! Listings of buckets with many keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use stowage_testkit::Site;

use crate::figure::{Figure, in_ms, percentile};

/// Keys in the smaller bucket.
const KEYS: usize = 10_000;
/// How many objects are stored at once.
const AT_ONCE: usize = 32;
/// How many pages are measured.
const PAGES: usize = 100;

pub(crate) async fn measure(site: &Site, keys: usize) -> Vec<Figure> {
    let customer = site.customer("keys@bench.example", "EUR").await;
    let (plan_id, _) = site.plans().await;
    let account = site.order(&customer.token, plan_id, "bench-keys").await;
    let s3 = account.s3();
    let mut figures = Vec::new();

    let first = KEYS.min(keys);
    let begun = Instant::now();
    if let Err(why) = fill(&s3, 0, first).await {
        return vec![Figure::missing("listings", why)];
    }
    let rate = first as u64 * 1000 / u64::try_from(begun.elapsed().as_millis()).unwrap_or(1).max(1);
    figures
        .push(Figure::told(format!("small puts per second, {AT_ONCE} at once"), rate.to_string()));
    figures.push(match list_all(&s3).await {
        Ok((found, time)) => {
            Figure::time(format!("listing {found} keys"), time, Duration::from_secs(1))
        }
        Err(why) => Figure::missing("listing 10,000 keys", why),
    });

    if let Err(why) = fill(&s3, first, keys).await {
        figures.push(Figure::missing("a page of a big bucket", why));
        return figures;
    }
    match list_pages(&s3, keys).await {
        Ok(mut times) => {
            let what = |which| format!("a page of 1000 of a {keys}-key bucket, {which} of {PAGES}");
            let median = percentile(&mut times, 50);
            figures.push(Figure::time(what("median"), median, Duration::from_millis(20)));
            figures.push(Figure::told(what("p99"), in_ms(percentile(&mut times, 99))));
        }
        Err(why) => figures.push(Figure::missing("a page of a big bucket", why)),
    }
    figures
}

fn key(n: usize) -> String {
    format!("folder-{:02}/object-{n:08}", n % 10)
}

/// Stores the keys from `from` up to `to`, not included.
async fn fill(s3: &Client, from: usize, to: usize) -> Result<(), String> {
    let next = Arc::new(AtomicUsize::new(from));
    let mut writers = Vec::new();
    for _ in 0..AT_ONCE {
        let (s3, next) = (s3.clone(), Arc::clone(&next));
        writers.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= to {
                    return Ok(());
                }
                let put = s3.put_object().bucket("bench-keys").key(key(n));
                let put = put.body(ByteStream::from_static(b"content")).send().await;
                put.map_err(|error| format!("{error:?}"))?;
            }
        }));
    }
    for writer in writers {
        writer
            .await
            .map_err(|error| error.to_string())
            .and_then(|outcome: Result<_, String>| outcome)?;
    }
    Ok(())
}

/// Lists everything, page after page: how many keys, and how long it took.
async fn list_all(s3: &Client) -> Result<(usize, Duration), String> {
    let begun = Instant::now();
    let (mut found, mut token) = (0, None);
    loop {
        let list = s3.list_objects_v2().bucket("bench-keys").set_continuation_token(token);
        let page = list.send().await.map_err(|error| format!("{error:?}"))?;
        found += page.contents().len();
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok((found, begun.elapsed()));
        }
    }
}

/// Times of pages that begin at places all over the bucket.
async fn list_pages(s3: &Client, keys: usize) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for n in 0..PAGES {
        let after = key(n * 7919 % keys.max(1));
        let begun = Instant::now();
        let list = s3.list_objects_v2().bucket("bench-keys").start_after(after);
        list.send().await.map_err(|error| format!("{error:?}"))?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
