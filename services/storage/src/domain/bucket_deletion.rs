//! Deletions of buckets with all that is in them: how they are started, seen and halted. What
//! works on them is in `bucket_deletion_job`.
//!
//! Invariants: a bucket has at most one deletion that has not ended; its start, or a change of its
//! state, and the answer to who asked for it are one transaction.

use stowage_auth::{PrincipalRole, RequestContext};
use stowage_request::Once;
use stowage_types::{BucketName, S3uid, new_id, page};
use time::OffsetDateTime;
use uuid::Uuid;

use super::bucket::find_bucket;
use super::change::{Change, Told, What};
use super::{Storage, signed};
use crate::error::Error;
use crate::store;

const LISTING: &str = "bucket_deletions";
/// What is told when another deletion of the bucket began and ended within this call.
const OVERTAKEN: &str = "another deletion of the bucket has just ended";
/// How long those that ended are kept.
const KEPT_DAYS: i64 = 90;
/// Rows forgotten in one transaction.
const FORGET_ROWS: i64 = 1000;

/// How far a deletion has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Paused,
    Done,
    Cancelled,
    Failed,
}

impl State {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Done => "DONE",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        }
    }

    pub(crate) fn of(text: &str) -> Self {
        match text {
            "RUNNING" => Self::Running,
            "PAUSED" => Self::Paused,
            "DONE" => Self::Done,
            "CANCELLED" => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    pub(crate) objects: i64,
    pub(crate) bytes: i64,
}

/// What is about to be deleted: the first objects of the bucket, up to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Empty: the bucket itself.
    pub(crate) last: Vec<u8>,
    pub(crate) amount: Amount,
}

/// The right to work on a deletion for a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) process: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) now: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
}

/// A deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketDeletion {
    pub(crate) id: Uuid,
    pub(crate) uid: S3uid,
    pub(crate) bucket: BucketName,
    /// Code of the account's location.
    pub(crate) location: String,
    pub(crate) bucket_create_time: OffsetDateTime,
    pub(crate) state: State,
    /// Why it is paused or has failed, or what holds it up; else empty.
    pub(crate) why: String,
    /// Whom history names; `None`: it is not told.
    pub(crate) told: Option<Told>,
    /// Whether a customer started it.
    pub(crate) by_customer: bool,
    pub(crate) start: Amount,
    pub(crate) deleted: Amount,
    /// What is being deleted, or was when a process died.
    pub(crate) batch: Option<Batch>,
    /// Failed attempts in a row.
    pub(crate) attempts: u32,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
    pub(crate) end_time: Option<OffsetDateTime>,
}

/// A page of deletions.
#[derive(Debug)]
pub(crate) struct BucketDeletionPage {
    pub(crate) deletions: Vec<BucketDeletion>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// What a caller wants of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Cancel,
}

impl Order {
    fn state(self) -> State {
        match self {
            Self::Pause => State::Paused,
            Self::Resume => State::Running,
            Self::Cancel => State::Cancelled,
        }
    }
}

impl Storage {
    /// Starts one, or answers the one of the bucket that has not ended.
    pub(crate) async fn start_bucket_deletion(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        bucket: &BucketName,
        once: &Once<BucketDeletion>,
    ) -> Result<BucketDeletion, Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_deletable(cx)?;
        let info = find_bucket(used.engine(), uid, bucket).await?;
        let not_found = || Error::BucketNotFound { bucket: bucket.as_str().to_owned() };
        let info = info.ok_or_else(not_found)?;
        let now = self.clock.now();
        let what = What::BucketDeletionStarted;
        let new = BucketDeletion {
            id: new_id(&*self.clock, &*self.random),
            uid: uid.clone(),
            bucket: bucket.clone(),
            location: used.site.code.clone(),
            bucket_create_time: info.create_time,
            state: State::Running,
            why: String::new(),
            told: Change::is_told(cx).then(|| Told::of(cx)),
            by_customer: cx.principal.role == PrincipalRole::Customer,
            start: Amount { objects: signed(info.object_count), bytes: signed(info.stored_bytes) },
            deleted: Amount::default(),
            batch: None,
            attempts: 0,
            create_time: now,
            update_time: now,
            end_time: None,
        };
        let mut tx = self.db.begin().await?;
        if !store::account::hold_unfrozen(&mut tx, uid).await? {
            return Err(Error::AccountMoving);
        }
        let answer = if store::bucket_deletion::insert(&mut tx, &new).await? {
            if let Some(told) = &new.told {
                let change = Change { what, uid, bucket, key: "" };
                self.push_change(&mut tx, told, &change).await?;
            }
            new
        } else {
            let found = store::bucket_deletion::find_open(&mut tx, uid, bucket).await?;
            found.ok_or(stowage_db::Error::Unavailable { why: OVERTAKEN, source: None })?
        };
        once.answer(&mut tx, &answer).await?;
        tx.commit().await?;
        self.deletion_due.notify_one();
        Ok(answer)
    }

    pub(crate) async fn bucket_deletion(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        id: Uuid,
    ) -> Result<BucketDeletion, Error> {
        self.visible_account(cx, uid).await?;
        let found = store::bucket_deletion::find(&self.db, uid, id).await?;
        found.ok_or(Error::BucketDeletionNotFound)
    }

    pub(crate) async fn bucket_deletions(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        bucket: Option<&BucketName>,
        (page_size, page_token): (i64, &str),
    ) -> Result<BucketDeletionPage, Error> {
        self.visible_account(cx, uid).await?;
        let scope = format!("{uid}/{}", bucket.map_or("", BucketName::as_str));
        let before = match page::decode(LISTING, &scope, page_token) {
            Ok(None) => Uuid::max(),
            Ok(Some(text)) => Uuid::parse_str(&text).map_err(|_| Error::PageTokenInvalid)?,
            Err(_) => return Err(Error::PageTokenInvalid),
        };
        let rows = (before, page_size + 1);
        let mut deletions = store::bucket_deletion::list(&self.db, uid, bucket, rows).await?;
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let mut next_page_token = String::new();
        if deletions.len() > size {
            deletions.truncate(size);
            if let Some(last) = deletions.last() {
                next_page_token = page::encode(LISTING, &scope, &last.id.to_string());
            }
        }
        Ok(BucketDeletionPage { deletions, next_page_token })
    }

    /// Halts one, lets it go on, or gives it up. One that is so already stays so.
    pub(crate) async fn change_bucket_deletion(
        &self,
        cx: &RequestContext,
        (uid, id): (&S3uid, Uuid),
        order: Order,
        once: &Once<BucketDeletion>,
    ) -> Result<BucketDeletion, Error> {
        let used = self.visible_account(cx, uid).await?;
        if order == Order::Resume {
            used.check_deletable(cx)?;
        }
        let mut tx = self.db.begin().await?;
        let found = store::bucket_deletion::find(&mut tx, uid, id).await?;
        let mut deletion = found.ok_or(Error::BucketDeletionNotFound)?;
        if deletion.state != order.state() {
            let (to, now) = ((order.state(), ""), self.clock.now());
            let state = deletion.state.text();
            let changed = store::bucket_deletion::set_state(&mut tx, id, to, now).await?;
            deletion = changed.ok_or(Error::BucketDeletionState { state })?;
            let what = What::BucketDeletionCancelled;
            if order == Order::Cancel && Change::is_told(cx) {
                let change = Change { what, uid, bucket: &deletion.bucket, key: "" };
                self.push_change(&mut tx, &Told::of(cx), &change).await?;
            }
        }
        once.answer(&mut tx, &deletion).await?;
        tx.commit().await?;
        self.deletion_due.notify_one();
        Ok(deletion)
    }

    /// Forgets those that ended long ago.
    pub(crate) async fn forget_bucket_deletions(&self) -> Result<(), Error> {
        let before = self.clock.now() - time::Duration::days(KEPT_DAYS);
        loop {
            let mut tx = self.db.begin().await?;
            let rows = store::bucket_deletion::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            if rows < FORGET_ROWS.unsigned_abs() {
                return Ok(());
            }
        }
    }
}
