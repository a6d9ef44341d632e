//! `stowage admin bucket …`.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::accounts::GetAccountRequest;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::storage as pb;
use stowage_proto::storage::bucket_deletion_service_client::BucketDeletionServiceClient;
use stowage_proto::storage::bucket_service_client::BucketServiceClient;
use tonic::{Code, Status};

use super::client::{Api, Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

pub(super) const FLAGS: Flags = &[
    ("bucket", "BUCKET"),
    ("name", "BUCKET"),
    ("parent", "ACCOUNT"),
    ("quota_bytes", "--bytes"),
    ("quota_objects", "--objects"),
];
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks in a row that may fail, as while the server is started anew: half a minute.
const FAILED_LOOKS_MAX: u32 = 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Delete an empty bucket, or one with all that is in it
    Delete {
        /// Delete its objects and unfinished uploads too, and show progress on standard error
        #[arg(long)]
        with_contents: bool,
        /// Do not wait for the end: the deletion goes on by itself
        #[arg(long, requires = "with_contents")]
        no_wait: bool,
        #[command(flatten)]
        bucket: Named,
    },
    /// Set what a bucket may store, beside the bound of its account
    Quota {
        #[command(flatten)]
        bucket: Named,
        /// Bytes that it may store; left out: no bound
        #[arg(long, value_name = "N")]
        bytes: Option<i64>,
        /// Objects that it may have; left out: no bound
        #[arg(long, value_name = "N")]
        objects: Option<i64>,
    },
    /// Halt the deletion of a bucket
    Pause(Named),
    /// Let a halted deletion go on
    Resume(Named),
    /// Give a deletion up: what is deleted stays deleted
    Cancel(Named),
    /// List deletions of buckets with their contents, newest first
    Deletions {
        /// Its s3uid or its integer id
        account: String,
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Its account's s3uid or integer id
    pub(super) account: String,
    /// The bucket's name
    pub(super) bucket: String,
}

#[derive(Serialize)]
struct BucketRow {
    s3uid: String,
    bucket: String,
    state: &'static str,
}

impl Row for BucketRow {
    const COLUMNS: &'static [&'static str] = &["S3UID", "BUCKET", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![self.s3uid.clone(), self.bucket.clone(), self.state.to_owned()]
    }
}

#[derive(Serialize)]
struct QuotaRow {
    s3uid: String,
    bucket: String,
    stored_bytes: i64,
    quota_bytes: Option<i64>,
    object_count: i64,
    quota_objects: Option<i64>,
}

impl Row for QuotaRow {
    const COLUMNS: &'static [&'static str] = &["S3UID", "BUCKET", "BYTES", "OF", "OBJECTS", "OF"];

    fn cells(&self) -> Vec<String> {
        let bound = |bound: Option<i64>| bound.map_or("no bound".to_owned(), |n| n.to_string());
        vec![
            self.s3uid.clone(),
            self.bucket.clone(),
            self.stored_bytes.to_string(),
            bound(self.quota_bytes),
            self.object_count.to_string(),
            bound(self.quota_objects),
        ]
    }
}

#[derive(Serialize)]
struct DeletionRow {
    id: String,
    bucket: String,
    state: String,
    why: String,
    deleted_objects: i64,
    deleted_bytes: i64,
    start_objects: i64,
    start_bytes: i64,
    create_time: Option<String>,
    update_time: Option<String>,
    end_time: Option<String>,
}

impl From<pb::BucketDeletion> for DeletionRow {
    fn from(deletion: pb::BucketDeletion) -> Self {
        let state = output::value(deletion.state().as_str_name(), "BUCKET_DELETION_STATE_");
        Self {
            id: output::last_part(&deletion.name),
            bucket: deletion.bucket,
            state,
            why: deletion.why,
            deleted_objects: deletion.deleted_object_count,
            deleted_bytes: deletion.deleted_bytes,
            start_objects: deletion.start_object_count,
            start_bytes: deletion.start_bytes,
            create_time: output::time(deletion.create_time),
            update_time: output::time(deletion.update_time),
            end_time: output::time(deletion.end_time),
        }
    }
}

impl DeletionRow {
    /// One line of progress.
    fn progress(&self) -> String {
        let (deleted, start) = (self.deleted_objects, self.start_objects);
        let why = if self.why.is_empty() { String::new() } else { format!("; {}", self.why) };
        let bytes = self.deleted_bytes;
        format!("{}: {deleted} of {start} objects deleted, {bytes} bytes{why}", self.state)
    }
}

impl Row for DeletionRow {
    const COLUMNS: &'static [&'static str] =
        &["BUCKET", "STATE", "DELETED", "BYTES", "OF", "STARTED", "ENDED", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.bucket.clone(),
            self.state.clone(),
            self.deleted_objects.to_string(),
            self.deleted_bytes.to_string(),
            self.start_objects.to_string(),
            self.create_time.clone().unwrap_or_default(),
            self.end_time.clone().unwrap_or_default(),
            self.why.clone(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Delete { with_contents: false, bucket, .. } => delete_empty(bucket, session).await,
        Command::Delete { no_wait, bucket, .. } => delete(bucket, !no_wait, session).await,
        Command::Quota { bucket, bytes, objects } => {
            set_quota(bucket, (bytes, objects), session).await
        }
        Command::Pause(bucket) => change(Order::Pause, bucket, session).await,
        Command::Resume(bucket) => change(Order::Resume, bucket, session).await,
        Command::Cancel(bucket) => change(Order::Cancel, bucket, session).await,
        Command::Deletions { account, limit } => list(&account, limit, session).await,
    }
}

/// The account's s3uid: storage knows no other name of it.
pub(super) async fn s3uid_of(account: &str, session: &Session) -> Result<String, Error> {
    let name = match account.starts_with("accounts/") {
        true => account.to_owned(),
        false => format!("accounts/{account}"),
    };
    let mut accounts = AccountServiceClient::new(session.client.api());
    let found = accounts.get_account(GetAccountRequest { name }).await;
    let explain = |status: Status| session.client.explain(&status, &[("name", "ACCOUNT")]);
    Ok(found.map_err(explain)?.into_inner().s3uid)
}

async fn set_quota(
    named: Named,
    (quota_bytes, quota_objects): (Option<i64>, Option<i64>),
    session: &Session,
) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let name = format!("accounts/{s3uid}/buckets/{}", named.bucket);
    let set = session.client.change(async |api: Api, request_id: String| {
        let name = name.clone();
        let request = pb::SetBucketQuotaRequest { name, quota_bytes, quota_objects, request_id };
        BucketServiceClient::new(api).set_bucket_quota(request).await
    });
    let set = set.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let row = QuotaRow {
        s3uid,
        bucket: set.bucket,
        stored_bytes: set.stored_bytes,
        quota_bytes: set.quota_bytes,
        object_count: set.object_count,
        quota_objects: set.quota_objects,
    };
    output::one(session.output, &row)
}

async fn delete_empty(named: Named, session: &Session) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let name = format!("accounts/{s3uid}/buckets/{}", named.bucket);
    let deleted = session.client.change(async |api: Api, request_id: String| {
        let request = pb::DeleteBucketRequest { name: name.clone(), request_id };
        BucketServiceClient::new(api).delete_bucket(request).await
    });
    deleted.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &BucketRow { s3uid, bucket: named.bucket, state: "deleted" })
}

async fn delete(named: Named, waits: bool, session: &Session) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let bucket = format!("accounts/{s3uid}/buckets/{}", named.bucket);
    let started = session.client.change(async |api: Api, request_id: String| {
        let request = pb::StartBucketDeletionRequest { bucket: bucket.clone(), request_id };
        BucketDeletionServiceClient::new(api).start_bucket_deletion(request).await
    });
    let started = started.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    if !waits {
        return output::one(session.output, &DeletionRow::from(started));
    }
    eprintln!("the deletion goes on by itself if this command is stopped");
    let ended = follow(started, session).await?;
    let is_done = ended.state == "done";
    if !is_done {
        return Err(Error::Failed(format!("the bucket is not deleted: {}", ended.progress())));
    }
    output::one(session.output, &ended)
}

/// Shows progress until the deletion goes on no more.
async fn follow(started: pb::BucketDeletion, session: &Session) -> Result<DeletionRow, Error> {
    let name = started.name.clone();
    let mut row = DeletionRow::from(started);
    let (mut shown, mut failed) = (String::new(), 0);
    loop {
        let progress = row.progress();
        if progress != shown {
            eprintln!("{progress}");
            shown = progress;
        }
        if row.state != "running" {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let mut deletions = BucketDeletionServiceClient::new(session.client.api());
        let request = pb::GetBucketDeletionRequest { name: name.clone() };
        match deletions.get_bucket_deletion(request).await {
            Ok(found) => (row, failed) = (found.into_inner().into(), 0),
            Err(status) if status.code() == Code::Unavailable && failed < FAILED_LOOKS_MAX => {
                failed += 1;
            }
            Err(status) => return Err(session.client.explain(&status, FLAGS)),
        }
    }
}

/// What is wanted of a deletion.
#[derive(Debug, Clone, Copy)]
enum Order {
    Pause,
    Resume,
    Cancel,
}

async fn change(order: Order, named: Named, session: &Session) -> Result<(), Error> {
    let s3uid = s3uid_of(&named.account, session).await?;
    let explain = |status: Status| session.client.explain(&status, FLAGS);
    let request = pb::ListBucketDeletionsRequest {
        parent: format!("accounts/{s3uid}"),
        bucket: named.bucket.clone(),
        page_size: 1,
        ..Default::default()
    };
    let mut deletions = BucketDeletionServiceClient::new(session.client.api());
    let newest = deletions.list_bucket_deletions(request).await.map_err(explain)?.into_inner();
    let newest = newest.deletions.into_iter().next();
    let none = || Error::Failed(format!("no deletion of bucket {} was started", named.bucket));
    let name = newest.ok_or_else(none)?.name;
    let changed = session.client.change(async |api: Api, request_id: String| {
        let (name, mut deletions) = (name.clone(), BucketDeletionServiceClient::new(api));
        match order {
            Order::Pause => {
                let request = pb::PauseBucketDeletionRequest { name, request_id };
                deletions.pause_bucket_deletion(request).await
            }
            Order::Resume => {
                let request = pb::ResumeBucketDeletionRequest { name, request_id };
                deletions.resume_bucket_deletion(request).await
            }
            Order::Cancel => {
                let request = pb::CancelBucketDeletionRequest { name, request_id };
                deletions.cancel_bucket_deletion(request).await
            }
        }
    });
    let changed = changed.await.map_err(explain)?;
    output::one(session.output, &DeletionRow::from(changed))
}

async fn list(account: &str, limit: Limit, session: &Session) -> Result<(), Error> {
    let parent = format!("accounts/{}", s3uid_of(account, session).await?);
    let deletions = BucketDeletionServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let (parent, bucket) = (parent.clone(), String::new());
        let request = pb::ListBucketDeletionsRequest { parent, bucket, page_size, page_token };
        let page = deletions.clone().list_bucket_deletions(request).await?.into_inner();
        Ok((page.deletions, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<DeletionRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
