//! The sagas of a bucket: how one is made, and how an empty one is deleted.
//!
//! Each has one call to the engine, and then one write that tells history, answers the request and
//! lets the next change begin. So a process that dies in between loses none of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stowage_db::Tx;
use stowage_engine::{BucketInfo, Error as EngineError, Quota, StorageFigures};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_request::Pending;
use stowage_saga::{Action, Failure, Saga, Step, StepError, StepResult, Undo};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use super::bucket::{find_bucket, made_bucket, message_of};
use super::change::{Change, Told, What};
use super::engine_account::State;
use super::usage::Collected;
use super::{Site, Storage};
use crate::error::Error;
use crate::store;

/// What a change of a bucket knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BucketState {
    pub(crate) uid: S3uid,
    pub(crate) bucket: BucketName,
    /// Code of the account's location.
    pub(crate) location: String,
    pub(crate) told: Told,
    /// The request that asked for it, if it has an id.
    pub(crate) pending: Option<Pending>,
    /// The bucket that is made, or is to be deleted.
    pub(crate) found: Option<Found>,
    /// Why the engine keeps the bucket that is to be deleted.
    pub(crate) kept: Option<Refusal>,
}

/// A bucket as the engine showed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    #[serde(with = "time::serde::timestamp::nanoseconds")]
    create_time: OffsetDateTime,
    object_count: u64,
    stored_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

/// A definite no.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refusal {
    reason: String,
    why: String,
}

impl From<&BucketInfo> for Found {
    fn from(info: &BucketInfo) -> Self {
        Self {
            create_time: info.create_time,
            object_count: info.object_count,
            stored_bytes: info.stored_bytes,
            received_bytes: info.received_bytes,
            sent_bytes: info.sent_bytes,
        }
    }
}

impl BucketState {
    /// The bucket that was made.
    pub(crate) fn made(&self) -> Option<BucketInfo> {
        self.found.as_ref().map(|found| BucketInfo {
            bucket: self.bucket.clone(),
            create_time: found.create_time,
            object_count: found.object_count,
            stored_bytes: found.stored_bytes,
            received_bytes: found.received_bytes,
            sent_bytes: found.sent_bytes,
            quota: Quota::default(),
        })
    }

    /// What a failure of the saga means to its caller.
    pub(crate) fn error_of(&self, failure: Failure) -> Error {
        let Failure { step, reason, why } = failure;
        if reason == Failure::EXHAUSTED {
            return Error::EngineUnavailable { source: why.into() };
        }
        let is = |of: ErrorReason| of.as_str_name().strip_prefix(REASON) == Some(reason.as_str());
        let bucket = || self.bucket.as_str().to_owned();
        let known = [
            (ErrorReason::BucketNameTaken, Error::BucketNameTaken { bucket: bucket() }),
            (ErrorReason::BucketNotFound, Error::BucketNotFound { bucket: bucket() }),
            (ErrorReason::BucketNotEmpty, Error::BucketNotEmpty),
            (ErrorReason::BucketLimit, Error::BucketLimit),
            (ErrorReason::QuotaExceeded, Error::QuotaExceeded),
            (ErrorReason::EngineUnsupported, Error::EngineUnsupported),
            (ErrorReason::AccountNotFound, Error::AccountNotFound),
            (ErrorReason::InvalidField, Error::field("bucket", why.clone())),
        ];
        let known = known.into_iter().find(|(of, _)| is(*of));
        known.map_or(Error::ChangeFailed { step, why }, |(_, error)| error)
    }

    /// What the engine's refusal to delete the bucket means to the caller.
    pub(crate) fn refusal(&self) -> Option<Error> {
        let Refusal { reason, why } = self.kept.clone()?;
        Some(self.error_of(Failure { step: REMOVE_STEP.to_owned(), reason, why }))
    }

    async fn site(&self, storage: &Storage) -> Result<Arc<Site>, StepError> {
        storage.site(&self.location).await.map_err(step_error)
    }
}

const REASON: &str = "ERROR_REASON_";
const REMOVE_STEP: &str = "remove_bucket";

/// What an error of a step means to its saga.
fn step_error(error: Error) -> StepError {
    match error {
        Error::EngineUnavailable { source } => {
            StepError::retry(format!("the storage engine is unavailable: {source}"))
        }
        Error::Unavailable { source } | Error::Unclear { source } => StepError::from(source),
        Error::Internal { source } => StepError::retry(source.to_string()),
        refused => {
            let reason = refused.reason().as_str_name().trim_start_matches(REASON);
            StepError::fail(reason, refused.to_string())
        }
    }
}

/// See the module.
pub(crate) struct CreateBucket;

impl Saga for CreateBucket {
    const KIND: &'static str = "storage.create_bucket.v1";
    type Context = Storage;
    type State = BucketState;
    const STEPS: &'static [Step<Storage, BucketState>] = &[
        Step {
            name: "admit_bucket",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::Write(|_, state, tx| Box::pin(release(state, tx))),
        },
        Step {
            name: "make_bucket",
            run: Action::Call(|storage, state| Box::pin(make(storage, state))),
            undo: Undo::Call(|storage, state| Box::pin(unmake(storage, state))),
        },
        Step {
            name: "note_bucket",
            run: Action::Write(|storage, state, tx| Box::pin(note_made(storage, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

/// The deletion of an empty bucket.
pub(crate) struct DeleteBucket;

const NO_WAY_BACK: &str = "another may have the name by then; a refusal of the engine is an answer";

impl Saga for DeleteBucket {
    const KIND: &'static str = "storage.delete_bucket.v1";
    const FORWARD_ONLY: bool = true;
    type Context = Storage;
    type State = BucketState;
    const STEPS: &'static [Step<Storage, BucketState>] = &[
        Step {
            name: "admit_removal",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: REMOVE_STEP,
            run: Action::Call(|storage, state| Box::pin(remove(storage, state))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "note_removal",
            run: Action::Write(|storage, state, tx| Box::pin(note_removed(storage, state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
    ];
}

/// Begins only while the account is there. Who begins notes that the bucket is being changed.
async fn admit(state: &mut BucketState, tx: &mut Tx) -> StepResult {
    let found = store::account::find(&mut *tx, &state.uid).await?;
    if found.is_some_and(|account| matches!(account.state, State::Pending | State::Active)) {
        return Ok(());
    }
    Err(step_error(Error::AccountNotFound))
}

async fn release(state: &mut BucketState, tx: &mut Tx) -> StepResult {
    Ok(store::bucket_change::end(tx, &state.uid, &state.bucket).await?)
}

/// The bucket was not there when the caller looked. One that is there now was made by an attempt
/// whose answer was lost, or by another saga that ended between the look and the beginning of this
/// one: engines leave it as it is, and `bucket_made` tells the two apart.
async fn make(storage: &Storage, state: &mut BucketState) -> StepResult {
    let site = state.site(storage).await?;
    let engine = &*site.engine;
    match made_bucket(storage, engine, (&state.uid, &state.bucket)).await {
        Ok(info) => {
            state.found = Some(Found::from(&info));
            Ok(())
        }
        // Without the words around it: they come back in the answer.
        Err(Error::Invalid(violations)) => {
            let why = violations.iter().next().map(|(_, why)| why.to_owned());
            Err(StepError::fail("INVALID_FIELD", why.unwrap_or_default()))
        }
        Err(error) => Err(step_error(error)),
    }
}

/// What a client has put into the bucket meanwhile is not ours to delete: then it stays. So does a
/// bucket that another saga has made and told of.
async fn unmake(storage: &Storage, state: &mut BucketState) -> StepResult {
    let site = state.site(storage).await?;
    let engine = &*site.engine;
    let info = match find_bucket(engine, &state.uid, &state.bucket).await {
        Err(Error::AccountNotFound) => None,
        found => found.map_err(step_error)?,
    };
    let Some(info) = info else { return Ok(()) };
    let (db, time) = (&storage.db, info.create_time);
    if store::bucket_change::is_made(db, &state.uid, &state.bucket, time).await? {
        return Ok(());
    }
    match engine.delete_bucket(&state.uid, &state.bucket).await {
        Ok(()) | Err(EngineError::NotFound | EngineError::NotEmpty) => Ok(()),
        Err(error) => Err(step_error(error.into())),
    }
}

async fn note_made(storage: &Storage, state: &mut BucketState, tx: &mut Tx) -> StepResult {
    let is_first = match &state.found {
        Some(found) => {
            let (bucket, time) = (&state.bucket, found.create_time);
            store::bucket_change::set_made(tx, &state.uid, bucket, time).await?
        }
        None => true,
    };
    if is_first {
        tell(storage, (state, What::BucketCreated), tx).await?;
        sample(storage, state, tx).await?;
    }
    if let (Some(pending), Some(info)) = (&state.pending, state.made()) {
        pending.answer(tx, &message_of(&state.uid, info), storage.clock.now()).await?;
    }
    release(state, tx).await
}

/// Tells metering of a bucket whose engine would do so only when it is next looked at. It was
/// empty when it was made, whatever is in it by now.
async fn sample(storage: &Storage, state: &BucketState, tx: &mut Tx) -> StepResult {
    let Some(found) = &state.found else { return Ok(()) };
    if state.site(storage).await?.engine.capabilities().changes_at_once {
        return Ok(());
    }
    let empty = StorageFigures {
        uid: state.uid.clone(),
        bucket: state.bucket.as_str().to_owned(),
        stored_bytes: 0,
        object_count: 0,
        sample_time: found.create_time,
        deleted: false,
    };
    let told = Collected { samples: vec![empty], traffic: Vec::new() };
    storage.push(tx, &state.uid, told).await.map_err(step_error)
}

/// Tells metering of a bucket that is gone, where its engine would not do so at once, or at all.
async fn end(storage: &Storage, state: &BucketState, tx: &mut Tx) -> StepResult {
    if state.site(storage).await?.engine.capabilities().deletions_at_once {
        return Ok(());
    }
    let gone = StorageFigures {
        uid: state.uid.clone(),
        bucket: state.bucket.as_str().to_owned(),
        stored_bytes: 0,
        object_count: 0,
        sample_time: storage.clock.now(),
        deleted: true,
    };
    let told = Collected { samples: vec![gone], traffic: Vec::new() };
    storage.push(tx, &state.uid, told).await.map_err(step_error)
}

/// Looks first: an attempt whose answer was lost may have done it, and a bucket that was made
/// anew under the name is not the one to be deleted.
async fn remove(storage: &Storage, state: &mut BucketState) -> StepResult {
    let site = state.site(storage).await?;
    let engine = &*site.engine;
    let info = match find_bucket(engine, &state.uid, &state.bucket).await {
        Err(Error::AccountNotFound) => None,
        found => found.map_err(step_error)?,
    };
    let is_it = |found: &Found| info.is_some_and(|info| info.create_time == found.create_time);
    if !state.found.as_ref().is_some_and(is_it) {
        return Ok(());
    }
    match engine.delete_bucket(&state.uid, &state.bucket).await {
        Ok(()) | Err(EngineError::NotFound) => Ok(()),
        Err(error) => match step_error(error.into()) {
            StepError::Fail { reason, why } => {
                state.kept = Some(Refusal { reason, why });
                Ok(())
            }
            retry @ StepError::Retry { .. } => Err(retry),
        },
    }
}

async fn note_removed(storage: &Storage, state: &mut BucketState, tx: &mut Tx) -> StepResult {
    if state.kept.is_none() {
        tell(storage, (state, What::BucketDeleted), tx).await?;
        end(storage, state, tx).await?;
        store::bucket_change::forget_made(tx, &state.uid, &state.bucket).await?;
        if let Some(pending) = &state.pending {
            pending.answer(tx, &pb::DeleteBucketResponse {}, storage.clock.now()).await?;
        }
    }
    release(state, tx).await
}

async fn tell(storage: &Storage, (state, what): (&BucketState, What), tx: &mut Tx) -> StepResult {
    let change = Change { what, uid: &state.uid, bucket: &state.bucket, key: "" };
    storage.push_change(tx, &state.told, &change).await.map_err(step_error)
}
