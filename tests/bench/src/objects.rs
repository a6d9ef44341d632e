//! One big object in and out, against a plain copy of a file with fsync.
//!
//! A put makes a new file, so the copy beside it does. A get writes over a file that is there, and
//! so does its copy: blocks that a virtual disk has never held take it several times as long, now
//! here and now there, and they are the client's in a get.
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
const ROUNDS: usize = 5;

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
    let path = |name| folder.path().join(name);
    let (source, target, fresh) = (path("source"), path("target"), path("fresh"));
    for file in [&source, &target] {
        make_file(file, mib).map_err(|error| error.to_string())?;
    }
    let mut best = [Duration::MAX; 6];
    for _ in 0..ROUNDS {
        let mut begun = Instant::now();
        let mut lap = |slot: &mut Duration| {
            *slot = (*slot).min(begun.elapsed());
            // Removing is not measured.
            let _ = std::fs::remove_file(&fresh);
            begun = Instant::now();
        };
        let [made, put, copied, got, sdk_put, sdk_got] = &mut best;
        copy_with_fsync(&source, &fresh).map_err(|error| error.to_string())?;
        lap(made);
        raw::put(&account.s3(), &account.bucket, &source).await?;
        lap(put);
        copy_with_fsync(&source, &target).map_err(|error| error.to_string())?;
        lap(copied);
        raw::get(&account.s3(), &account.bucket, &target).await?;
        lap(got);
        put_object(account, &source).await?;
        lap(sdk_put);
        get_object(account, &target).await?;
        lap(sdk_got);
    }
    let [made, put, copied, got, sdk_put, sdk_got] = best;
    let against = |what: &str, time: Duration, copy: Duration| {
        let label = format!("S3 {what} with fsync ({} ÷ {})", in_ms(time), in_ms(copy));
        Figure::at_least(label, copy.as_secs_f64() / time.as_secs_f64(), 0.5)
    };
    let told = |which, time| {
        Figure::told(format!("S3 {which} of {mib} MiB with the AWS SDK"), in_ms(time))
    };
    Ok(vec![
        against(&format!("put of {mib} MiB ÷ copy into a new file"), put, made),
        against(&format!("get of {mib} MiB over a file ÷ copy over a file"), got, copied),
        told("put", sdk_put),
        told("get", sdk_got),
    ])
}

/// A file whose blocks all differ, on disk.
pub(crate) fn make_file(path: &Path, mib: u32) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut block: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n / 257 % 251) as u8).collect();
    for n in 0..mib {
        block[..4].copy_from_slice(&n.to_le_bytes());
        file.write_all(&block)?;
    }
    file.sync_all()
}

fn copy_with_fsync(from: &Path, to: &Path) -> io::Result<()> {
    let mut to = File::options().write(true).create(true).truncate(false).open(to)?;
    io::copy(&mut File::open(from)?, &mut to)?;
    to.sync_all()
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
    let file = tokio::fs::OpenOptions::new().write(true).open(to).await;
    let file = file.map_err(|error| error.to_string())?;
    let mut file = tokio::io::BufWriter::with_capacity(1024 * 1024, file);
    tokio::io::copy_buf(&mut body, &mut file).await.map_err(|error| error.to_string())?;
    file.flush().await.map_err(|error| error.to_string())?;
    file.get_ref().sync_all().await.map_err(|error| error.to_string())
}
