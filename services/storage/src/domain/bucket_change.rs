//! Changes of buckets: how their sagas are begun and waited for. Their steps are in `bucket_saga`.
//!
//! One change of a bucket at a time: who comes meanwhile waits for the one under way, and then
//! looks again. What is known to be refused is refused before anything is written. The row of a
//! request learns in the transaction of the saga's start which saga it has begun, so that a repeat
//! waits for that one.
//!
//! Services call the engine directly, as steps of sagas of their own, which are repeated, undone
//! and told as a whole: a saga within a step would only cost an order its commits.

use stowage_auth::RequestContext;
use stowage_engine::{BucketInfo, BucketNamespace};
use stowage_request::Once;
use stowage_saga::{Failure, Outcome, Saga};
use stowage_types::{BucketName, S3uid};
use uuid::Uuid;

use super::bucket::{check_bucket_limit, find_bucket};
use super::bucket_saga::{BucketState, CreateBucket, DeleteBucket, Found};
use super::change::{Change, Told};
use super::{Domain, Storage, Used};
use crate::error::Error;
use crate::store;

/// How often a change is tried anew because another one of the bucket came first.
const TRIES: usize = 10;

/// What came of a beginning.
enum Begun {
    Saga(Uuid),
    /// Another one came first.
    Overtaken(Uuid),
}

impl Domain {
    /// Makes a bucket; answers it, or the one that is there already.
    pub(crate) async fn create_bucket<T>(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        once: &Once<T>,
    ) -> Result<BucketInfo, Error> {
        if !Change::is_told(cx) {
            return self.storage.ensure_bucket(cx, uid, bucket).await;
        }
        if let Some(ended) = self.earlier(once).await?
            && let Some(info) = ended.made()
        {
            return Ok(info);
        }
        for _ in 0..TRIES {
            let used = self.storage.visible_account(cx, uid).await?;
            used.check_changeable(cx)?;
            check_bucket_limit(&used, uid, bucket).await?;
            if let Some(info) = find_bucket(used.engine(), uid, bucket).await? {
                return Ok(info);
            }
            check_is_free(&used, uid, bucket).await?;
            let state = state_of(cx, &used, (uid, bucket), once);
            if let Some(ended) = self.run::<CreateBucket, T>(&state, once).await? {
                let made = ended.made();
                return made.ok_or_else(|| Error::internal("a bucket was made and is not known"));
            }
        }
        Err(busy())
    }

    /// Deletes an empty bucket.
    pub(crate) async fn delete_bucket<T>(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        once: &Once<T>,
    ) -> Result<(), Error> {
        if !Change::is_told(cx) {
            return self.storage.remove_bucket(cx, (uid, bucket), once.resumes()).await;
        }
        if self.earlier(once).await?.is_some() {
            return Ok(());
        }
        for _ in 0..TRIES {
            let used = self.storage.visible_account(cx, uid).await?;
            used.check_deletable(cx)?;
            let info = match find_bucket(used.engine(), uid, bucket).await {
                Err(Error::AccountNotFound) => None,
                found => found?,
            };
            let not_found = || Error::BucketNotFound { bucket: bucket.as_str().to_owned() };
            let info = info.ok_or_else(not_found)?;
            if info.object_count > 0 && used.engine().capabilities().immediate_figures {
                return Err(Error::BucketNotEmpty);
            }
            let mut state = state_of(cx, &used, (uid, bucket), once);
            state.found = Some(Found::from(&info));
            if let Some(ended) = self.run::<DeleteBucket, T>(&state, once).await? {
                return ended.refusal().map_or(Ok(()), Err);
            }
        }
        Err(busy())
    }

    /// What an attempt before this one has come to, if it has changed something.
    async fn earlier<T>(&self, once: &Once<T>) -> Result<Option<BucketState>, Error> {
        let Some(saga) = once.made().and_then(|made| made.parse().ok()) else { return Ok(None) };
        let ended = match self.sagas.run(saga).await {
            // Forgotten, or undone and nothing of it left: this attempt is a new one.
            Err(stowage_saga::Error::NotFound(_)) | Ok(Outcome::Undone(_)) => return Ok(None),
            Ok(Outcome::Stuck(failure)) => return Err(stuck(&failure)),
            Ok(Outcome::Completed) => self.state(saga).await?,
            Err(error) => return Err(error.into()),
        };
        Ok(ended.kept.is_none().then_some(ended))
    }

    /// Runs a saga to its end, and answers what it knows then. `None`: another one came first, and
    /// has ended.
    async fn run<K, T>(
        &self,
        state: &BucketState,
        once: &Once<T>,
    ) -> Result<Option<BucketState>, Error>
    where
        K: Saga<Context = Storage, State = BucketState>,
    {
        match self.begin::<K, T>(state, once).await? {
            Begun::Saga(saga) => match self.sagas.run(saga).await? {
                Outcome::Completed => Ok(Some(self.state(saga).await?)),
                Outcome::Undone(failure) => Err(state.error_of(failure)),
                Outcome::Stuck(failure) => Err(stuck(&failure)),
            },
            Begun::Overtaken(saga) => match self.sagas.run(saga).await {
                Ok(Outcome::Stuck(failure)) => Err(stuck(&failure)),
                Ok(_) | Err(stowage_saga::Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn begin<K, T>(&self, state: &BucketState, once: &Once<T>) -> Result<Begun, Error>
    where
        K: Saga<Context = Storage, State = BucketState>,
    {
        let mut tx = self.storage.db.begin().await?;
        let saga = match self.sagas.start::<K>(&mut tx, state).await {
            Err(stowage_saga::Error::FirstStep(_)) => return Err(Error::AccountNotFound),
            started => started?,
        };
        let (uid, bucket) = (&state.uid, &state.bucket);
        if !store::account::hold_unfrozen(&mut tx, uid).await? {
            return Err(Error::AccountMoving);
        }
        if let Some(other) = store::bucket_change::begin(&mut tx, uid, bucket, saga).await? {
            return Ok(Begun::Overtaken(other));
        }
        once.set_made(&mut tx, &saga.to_string()).await?;
        tx.commit().await?;
        Ok(Begun::Saga(saga))
    }

    async fn state(&self, saga: Uuid) -> Result<BucketState, Error> {
        let found = self.sagas.find(saga).await?;
        serde_json::from_str(&found.state).map_err(Error::internal)
    }
}

fn state_of<T>(
    cx: &RequestContext,
    used: &Used,
    (uid, bucket): (&S3uid, &BucketName),
    once: &Once<T>,
) -> BucketState {
    BucketState {
        uid: uid.clone(),
        bucket: bucket.clone(),
        location: used.site.code.clone(),
        told: Told::of(cx),
        pending: once.pending(),
        found: None,
        kept: None,
    }
}

/// Refuses a name that another account has.
async fn check_is_free(used: &Used, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
    let is_shared = used.engine().capabilities().namespace == BucketNamespace::Engine;
    if is_shared && used.engine().bucket_owner(bucket).await?.is_some_and(|owner| owner != *uid) {
        return Err(Error::BucketNameTaken { bucket: bucket.as_str().to_owned() });
    }
    Ok(())
}

/// It waits for an operator, as in the end does who asks for more of the same.
fn stuck(failure: &Failure) -> Error {
    let why = format!("a change of the bucket is stuck at {}: {}", failure.step, failure.why);
    Error::EngineUnavailable { source: why.into() }
}

fn busy() -> Error {
    Error::EngineUnavailable { source: "others change the bucket again and again".into() }
}
