//! One big object in and out, against a plain copy of a file with fsync.
//!
//! By presigned URLs over a bare socket, so that it is the server that is measured: an SDK spends
//! more on checksums and copies than the server does. What the SDK makes of it is told beside it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use stowage_testkit::{Account, Site};
use tokio::io::AsyncWriteExt as _;

use crate::figure::{Figure, in_ms};
use crate::raw;

/// How often each is done in turn; the quickest of each counts.
const ROUNDS: usize = 3;

pub(crate) async fn measure(site: &Site, mib: u32) -> Vec<Figure> {
    let customer = site.customer("objects@bench.example", "EUR").await;
    let (plan_id, _) = site.plans().await;
    let account = site.order(&customer.token, plan_id, "bench-objects").await;
    match compare(&account, mib).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing(format!("S3 put and get of {mib} MiB"), why)],
    }
}

async fn compare(account: &Account, mib: u32) -> Result<Vec<Figure>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    make_file(&source, mib).map_err(|error| error.to_string())?;
    let mut best = [Duration::MAX; 5];
    for _ in 0..ROUNDS {
        let mut begun = Instant::now();
        let mut lap = |slot: &mut Duration| {
            *slot = (*slot).min(begun.elapsed());
            // What was got is read again by nobody; its removal is not measured.
            let _ = std::fs::remove_file(&target);
            begun = Instant::now();
        };
        let [copied, put, got, sdk_put, sdk_got] = &mut best;
        copy_with_fsync(&source, &target).map_err(|error| error.to_string())?;
        lap(copied);
        raw::put(&account.s3(), &account.bucket, &source).await?;
        lap(put);
        raw::get(&account.s3(), &account.bucket, &target).await?;
        lap(got);
        put_object(account, &source).await?;
        lap(sdk_put);
        get_object(account, &target).await?;
        lap(sdk_got);
    }
    let [copied, put, got, sdk_put, sdk_got] = best;
    let ratio = |time: Duration| copied.as_secs_f64() / time.as_secs_f64();
    let (of, plain) = (format!("of {mib} MiB"), in_ms(copied));
    let what =
        |which, time| format!("S3 {which} {of} ÷ file copy with fsync ({} ÷ {plain})", in_ms(time));
    let told = |which, time| Figure::told(format!("S3 {which} {of} with the AWS SDK"), in_ms(time));
    Ok(vec![
        Figure::at_least(what("put", put), ratio(put), 0.5),
        Figure::at_least(what("get into a file with fsync", got), ratio(got), 0.5),
        told("put", sdk_put),
        told("get", sdk_got),
    ])
}

/// A file whose blocks all differ, on disk.
fn make_file(path: &Path, mib: u32) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut block: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n / 257 % 251) as u8).collect();
    for n in 0..mib {
        block[..4].copy_from_slice(&n.to_le_bytes());
        file.write_all(&block)?;
    }
    file.sync_all()
}

fn copy_with_fsync(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

async fn put_object(account: &Account, from: &Path) -> Result<(), String> {
    let body = ByteStream::from_path(from).await.map_err(|error| error.to_string())?;
    let put = account.s3().put_object().bucket(&account.bucket).key("big").body(body);
    put.send().await.map(drop).map_err(|error| format!("{error:?}"))
}

async fn get_object(account: &Account, to: &Path) -> Result<(), String> {
    let get = account.s3().get_object().bucket(&account.bucket).key("big");
    let object = get.send().await.map_err(|error| format!("{error:?}"))?;
    let mut body = object.body.into_async_read();
    let file = tokio::fs::File::create(to).await.map_err(|error| error.to_string())?;
    let mut file = tokio::io::BufWriter::with_capacity(1024 * 1024, file);
    tokio::io::copy_buf(&mut body, &mut file).await.map_err(|error| error.to_string())?;
    file.flush().await.map_err(|error| error.to_string())?;
    file.get_ref().sync_all().await.map_err(|error| error.to_string())
}
