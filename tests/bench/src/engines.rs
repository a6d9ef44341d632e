//! The embedded S3 beside a Ceph RADOS Gateway, in turn, by the same clients: a big object in and
//! out, small objects, a listing; and `get_files` through the gateway beside the listing it is made
//! of.
//!
//! Both keep what they acknowledged through a loss of power: the engine syncs file, folder and
//! index; the OSD behind RGW is BlueStore, which syncs its device and its log. RGW needs other
//! processes for that (a monitor, an OSD), and they are on the same cores.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use stowage_engine::{AccountSpec, Engine as _, KeyPair};
use stowage_engine_ceph::{Ceph, CephOptions};
use stowage_engine_embedded::fuzzing::sign_request;
use stowage_testkit::{Account, Facade, Process, s3_client};
use stowage_types::{Clock as _, ExposeSecret as _, S3uid, SystemClock, SystemRandom};
use tokio::task::JoinSet;

use crate::figure::{Figure, in_ms, percentile};
use crate::objects::make_file;
use crate::{Flags, raw};

const BUCKET: &str = "bench-engines";
/// How often the big object goes each way; the quickest counts.
const BIG_ROUNDS: usize = 3;
/// Clients that store small objects at once.
const CLIENTS: usize = 8;
/// Turns that the small objects are stored in, so that a slow moment falls on both.
const TURNS: usize = 10;
/// How often everything is listed; the median counts.
const LISTINGS: usize = 5;
/// How often a page is asked for, each way.
const PAGES: usize = 200;
/// Keys of a page: as many as `get_files` gives.
const PAGE_KEYS: &str = "100";
/// Bytes of a small object.
const SMALL: &[u8] = &[b'x'; 4096];

/// Where the run's RGW is, if there is one, and who may do everything there.
const RGW: [&str; 3] =
    ["STOWAGE_TEST_CEPH_URL", "STOWAGE_TEST_CEPH_ACCESS_KEY", "STOWAGE_TEST_CEPH_SECRET_KEY"];

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is measured of each side.
#[derive(Debug, Default)]
struct Times {
    puts: Vec<Duration>,
    gets: Vec<Duration>,
    small: Duration,
    listings: Vec<Duration>,
}

pub(crate) async fn measure(server: &Process, flags: &Flags) -> Vec<Figure> {
    let site = &server.site;
    let customer = site.customer("engines@bench.example", "EUR").await;
    let (plan_id, _) = site.plans().await;
    let account = site.order(&customer.token, plan_id, BUCKET).await;
    let mut figures = match compare(&account, flags).await {
        Ok(figures) => figures,
        Err(error) => vec![Figure::missing("embedded ÷ RGW", error.to_string())],
    };
    figures.push(match get_files(server, &account, &customer.token, flags).await {
        Ok(figure) => figure,
        Err(error) => Figure::missing("get_files ÷ ListObjectsV2", error.to_string()),
    });
    figures
}

/// A customer's client of RGW, with a bucket.
async fn rgw() -> Outcome<Client> {
    let [url, access_key, secret_key] = RGW.map(std::env::var_os);
    let (Some(url), Some(access_key), Some(secret_key)) = (url, access_key, secret_key) else {
        return Err("no radosgw: install ceph-mon, ceph-osd and radosgw".into());
    };
    let text = |value: std::ffi::OsString| value.into_string().map_err(|_| "not plain text");
    let (url, secret_key) = (text(url)?, text(secret_key)?.into());
    let options = CephOptions::new(&url, &text(access_key)?, secret_key);
    let engine = Ceph::new(options, Arc::new(SystemClock), Arc::new(SystemRandom))?;
    let keys = KeyPair {
        access_key: "STOWAGEBENCH00000001".to_owned(),
        secret_key: "a-secret-of-forty-characters-for-a-bench".into(),
    };
    let uid = S3uid::parse(&"be".repeat(16))?;
    engine.ensure_account(&AccountSpec::new(uid, vec![keys.clone()])).await?;
    let s3 = s3_client(&url, &keys.access_key, keys.secret_key.expose_secret());
    s3.create_bucket().bucket(BUCKET).send().await?;
    Ok(s3)
}

async fn compare(account: &Account, flags: &Flags) -> Outcome<Vec<Figure>> {
    let sides = [account.s3(), rgw().await?];
    let mut times = [Times::default(), Times::default()];
    let folder = tempfile::tempdir()?;
    let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
    for file in [&source, &target] {
        make_file(file, flags.object_mib)?;
    }
    for round in 0..BIG_ROUNDS {
        for side in in_turn(round) {
            big(&sides[side], [&source, &target], &mut times[side]).await?;
        }
    }
    // At least one for each client in a turn.
    let each = (flags.small / TURNS).max(CLIENTS);
    for turn in 0..TURNS {
        for side in in_turn(turn) {
            times[side].small += store(&sides[side], turn * each, each).await?;
        }
    }
    for round in 0..LISTINGS {
        for side in in_turn(round) {
            let begun = Instant::now();
            let found = list(&sides[side]).await?;
            times[side].listings.push(begun.elapsed());
            // And the big object.
            if found != TURNS * each + 1 {
                return Err(format!("{found} keys are listed").into());
            }
        }
    }
    Ok(figures(times, flags.object_mib, TURNS * each))
}

/// Who comes first changes from round to round.
fn in_turn(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

async fn big(s3: &Client, [source, target]: [&Path; 2], times: &mut Times) -> Outcome<()> {
    let begun = Instant::now();
    raw::put(s3, BUCKET, source).await?;
    times.puts.push(begun.elapsed());
    let begun = Instant::now();
    raw::get(s3, BUCKET, target).await?;
    times.gets.push(begun.elapsed());
    Ok(())
}

/// Stores small objects by several clients, each on connections of its own.
async fn store(s3: &Client, first: usize, count: usize) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let s3 = s3.clone();
        clients.spawn(async move {
            for n in (first + client..first + count).step_by(CLIENTS) {
                let put = s3.put_object().bucket(BUCKET).key(format!("small/{n:08}"));
                put.body(ByteStream::from_static(SMALL)).send().await?;
            }
            Outcome::Ok(())
        });
    }
    for done in clients.join_all().await {
        done?;
    }
    Ok(begun.elapsed())
}

/// Lists everything, page after page.
async fn list(s3: &Client) -> Outcome<usize> {
    let mut found = 0;
    let mut pages = s3.list_objects_v2().bucket(BUCKET).into_paginator().send();
    while let Some(page) = pages.next().await {
        found += page?.contents().len();
    }
    Ok(found)
}

fn figures(times: [Times; 2], mib: u32, small: usize) -> Vec<Figure> {
    let [mut ours, mut theirs] = times;
    let least = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let quickest = [
        (format!("put of {mib} MiB"), least(&ours.puts), least(&theirs.puts)),
        (format!("get of {mib} MiB"), least(&ours.gets), least(&theirs.gets)),
        (format!("{small} puts of 4 KiB by {CLIENTS} clients"), ours.small, theirs.small),
        (
            format!("listing {} keys", small + 1),
            percentile(&mut ours.listings, 50),
            percentile(&mut theirs.listings, 50),
        ),
    ];
    let figure = |(what, ours, theirs): (String, Duration, Duration)| {
        let label = format!("{what}, embedded ÷ RGW ({} ÷ {})", in_ms(ours), in_ms(theirs));
        Figure::at_most(label, ratio(ours, theirs), 1.0)
    };
    quickest.map(figure).into()
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// A page through the gateway and the storage role, and the same page straight from the
/// engine, in turn, by the same HTTP client.
async fn get_files(
    server: &Process,
    account: &Account,
    token: &str,
    flags: &Flags,
) -> Outcome<Figure> {
    // Without RGW nothing has been stored yet.
    store(&account.s3(), 0, flags.small.min(10_000)).await?;
    let site = &server.site;
    let straight = Facade::new(site.s3);
    let keys = KeyPair {
        access_key: account.access_key.clone(),
        secret_key: account.secret_key.as_str().into(),
    };
    let query = format!("list-type=2&delimiter=%2F&prefix=small%2F&max-keys={PAGE_KEYS}");
    let uri = format!("http://{}/{BUCKET}?{query}", site.s3);
    let (mut through, mut direct) = (Vec::new(), Vec::new());
    for round in 0..PAGES {
        for side in in_turn(round) {
            if side == 0 {
                let parameters = [
                    ("s3uid", account.s3uid.as_str()),
                    ("bucket_name", BUCKET),
                    ("prefix", "small/"),
                    ("max_keys", PAGE_KEYS),
                ];
                let begun = Instant::now();
                let page = site.facade.action("get_files", token, &parameters).await;
                through.push(begun.elapsed());
                page.success();
                continue;
            }
            let mut request = http::Request::get(&uri).body(Bytes::new())?;
            request.headers_mut().insert("host", site.s3.to_string().parse()?);
            let begun = Instant::now();
            sign_request(&mut request, &keys, "us-east-1", SystemClock.now())?;
            *request.uri_mut() = format!("/{BUCKET}?{query}").parse()?;
            let page = straight.try_send(request).await?;
            direct.push(begun.elapsed());
            if !page.status.is_success() {
                return Err(page.text().into());
            }
        }
    }
    let (through, direct) = (percentile(&mut through, 50), percentile(&mut direct, 50));
    let what = format!(
        "get_files ÷ ListObjectsV2 at the engine, {PAGE_KEYS} keys, median of {PAGES} ({} ÷ {})",
        in_ms(through),
        in_ms(direct)
    );
    Ok(Figure::at_most(what, ratio(through, direct), 1.15))
}
