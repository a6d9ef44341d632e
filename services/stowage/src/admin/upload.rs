//! `stowage admin upload …`.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::storage as pb;
use stowage_proto::storage::upload_service_client::UploadServiceClient;
use stowage_types::{Clock as _, SystemClock, timestamp};

use super::bucket::{FLAGS, Named, s3uid_of};
use super::client::{Api, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const HOUR: u64 = 3600;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List unfinished uploads of a bucket by key
    List {
        #[command(flatten)]
        bucket: Named,
        #[command(flatten)]
        limit: Limit,
    },
    /// End unfinished uploads of a bucket and free their parts; objects stay
    Abort {
        #[command(flatten)]
        bucket: Named,
        /// Those that were begun this many hours ago or earlier; 0: all
        #[arg(long, value_name = "HOURS", default_value_t = 24 * 7)]
        older_than: u32,
    },
}

#[derive(Serialize)]
struct UploadRow {
    key: String,
    upload_id: String,
    begin_time: Option<String>,
    stored_bytes: Option<i64>,
}

impl From<pb::Upload> for UploadRow {
    fn from(upload: pb::Upload) -> Self {
        Self {
            key: upload.key,
            upload_id: upload.upload_id,
            begin_time: output::time(upload.begin_time),
            stored_bytes: upload.stored_bytes,
        }
    }
}

impl Row for UploadRow {
    const COLUMNS: &'static [&'static str] = &["KEY", "BEGUN", "BYTES", "UPLOAD"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.begin_time.clone().unwrap_or_default(),
            self.stored_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            self.upload_id.clone(),
        ]
    }
}

#[derive(Serialize)]
struct AbortedRow {
    s3uid: String,
    bucket: String,
    aborted_uploads: i64,
}

impl Row for AbortedRow {
    const COLUMNS: &'static [&'static str] = &["S3UID", "BUCKET", "ABORTED"];

    fn cells(&self) -> Vec<String> {
        vec![self.s3uid.clone(), self.bucket.clone(), self.aborted_uploads.to_string()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::List { bucket, limit } => list(bucket, limit, session).await,
        Command::Abort { bucket, older_than } => abort(bucket, older_than, session).await,
    }
}

async fn list(named: Named, limit: Limit, session: &Session) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let parent = format!("accounts/{s3uid}/buckets/{}", named.bucket);
    let uploads = UploadServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let request = pb::ListUploadsRequest { parent: parent.clone(), page_size, page_token };
        let page = uploads.clone().list_uploads(request).await?.into_inner();
        Ok((page.uploads, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<UploadRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}

async fn abort(named: Named, older_than: u32, session: &Session) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let parent = format!("accounts/{s3uid}/buckets/{}", named.bucket);
    // One time for all calls, so that uploads that are begun meanwhile are let alone.
    let age = Duration::from_secs(u64::from(older_than) * HOUR);
    let begun_before = (older_than > 0).then(|| timestamp(SystemClock.now() - age));
    let mut aborted_uploads = 0;
    loop {
        let done = session.client.change(async |api: Api, request_id: String| {
            let parent = parent.clone();
            let request = pb::AbortUploadsRequest { parent, begun_before, request_id };
            UploadServiceClient::new(api).abort_uploads(request).await
        });
        let done = done.await.map_err(|status| session.client.explain(&status, FLAGS))?;
        aborted_uploads += done.aborted_count;
        if !done.more {
            break;
        }
        eprintln!("{aborted_uploads} uploads aborted so far");
    }
    output::one(session.output, &AbortedRow { s3uid, bucket: named.bucket, aborted_uploads })
}
