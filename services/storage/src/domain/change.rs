//! What callers change, told for history.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_request::Once;
use stowage_types::{BucketName, S3uid, name};

use super::Storage;
use crate::error::Error;
use crate::events;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    BucketCreated,
    BucketDeleted,
    BucketDeletionStarted,
    BucketDeletionCancelled,
    BucketQuotaSet,
    UploadsAborted,
    FileDeleted,
    SagaRetried,
    SagaUndone,
}

impl What {
    /// As history names it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BucketCreated => "bucket.created",
            Self::BucketDeleted => "bucket.deleted",
            Self::BucketDeletionStarted => "bucket.deletion_started",
            Self::BucketDeletionCancelled => "bucket.deletion_cancelled",
            Self::BucketQuotaSet => "bucket.quota_set",
            Self::UploadsAborted => "bucket.uploads_aborted",
            Self::FileDeleted => "file.deleted",
            Self::SagaRetried => "saga.retried",
            Self::SagaUndone => "saga.turned_back",
        }
    }
}

/// What was done, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) what: What,
    pub(crate) uid: &'a S3uid,
    pub(crate) bucket: &'a BucketName,
    /// Empty: the bucket itself.
    pub(crate) key: &'a str,
}

/// Whom history names, and by which call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) actor: String,
    pub(crate) request_id: String,
}

impl Told {
    /// Of a call.
    pub(crate) fn of(cx: &RequestContext) -> Self {
        Self { actor: cx.actor(), request_id: cx.request_id.clone() }
    }
}

impl Change<'_> {
    /// Whether it is told. Services are parts of something that is told as a whole.
    pub(crate) fn is_told(cx: &RequestContext) -> bool {
        !cx.is_service()
    }
}

impl Storage {
    /// Tells of a change, in the transaction that stores its answer.
    pub(crate) async fn tell<T>(
        &self,
        cx: &RequestContext,
        change: Change<'_>,
        (once, answer): (&Once<T>, &T),
    ) -> Result<(), Error> {
        if !Change::is_told(cx) {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        self.push_change(&mut tx, &Told::of(cx), &change).await?;
        once.answer(&mut tx, answer).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Tells of a change in the caller's transaction, whoever made it.
    pub(crate) async fn push_change(
        &self,
        tx: &mut Tx,
        told: &Told,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let message = events::content_changed(told, change);
        let subject = name::account(change.uid);
        self.outbox.push(tx, events::CONTENT_CHANGED, &subject, &message).await?;
        Ok(())
    }
}
