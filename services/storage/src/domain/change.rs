//! What callers change, told for history.

use stowage_auth::{PrincipalRole, RequestContext};
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
    FileDeleted,
}

impl What {
    /// As history names it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BucketCreated => "bucket.created",
            Self::BucketDeleted => "bucket.deleted",
            Self::BucketDeletionStarted => "bucket.deletion_started",
            Self::BucketDeletionCancelled => "bucket.deletion_cancelled",
            Self::FileDeleted => "file.deleted",
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

impl Change<'_> {
    /// Whether it is told. Services are parts of something that is told as a whole; a customer who
    /// empties a bucket would fill page after page of his history.
    pub(crate) fn is_told(what: What, cx: &RequestContext) -> bool {
        match what {
            What::BucketCreated
            | What::BucketDeleted
            | What::BucketDeletionStarted
            | What::BucketDeletionCancelled => !cx.is_service(),
            What::FileDeleted => cx.principal.role == PrincipalRole::Administrator,
        }
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
        if !Change::is_told(change.what, cx) {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        self.push_change(&mut tx, &cx.actor(), &change).await?;
        once.answer(&mut tx, answer).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Tells of a change in the caller's transaction, whoever made it.
    pub(crate) async fn push_change(
        &self,
        tx: &mut Tx,
        actor: &str,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let message = events::content_changed(actor.to_owned(), change);
        let subject = name::account(change.uid);
        self.outbox.push(tx, events::CONTENT_CHANGED, &subject, &message).await?;
        Ok(())
    }
}
