//! One attempt at a request: from its claim to its answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stowage_db::Tx;
use stowage_types::new_id;
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::key::Key;
use crate::store::{self, Attempt, Stored};
use crate::{Error, KEPT, Pending, Requests};

/// What a request is found to be.
pub(crate) enum Begun {
    /// This attempt is to execute it.
    Claimed(Armed),
    /// It was executed; the encoded answer.
    Answered(Vec<u8>),
}

/// Owner of a request whose last attempt is certain to have done nothing.
const NOBODY: Uuid = Uuid::nil();

/// The right to execute a request.
pub(crate) struct Claim {
    requests: Requests,
    key: Key,
    owner: Uuid,
    /// What earlier attempts have begun to make; `None`: there was no earlier attempt.
    before: Option<String>,
    is_answered: AtomicBool,
}

impl Requests {
    pub(crate) async fn begin(&self, key: Key) -> Result<Begun, Error> {
        // Most repeats come long after the answer, and need not wait for the writer.
        if let Some(stored) = store::find(&self.0.db, &key).await?
            && stored.answer.is_some()
        {
            return Ok(Begun::Answered(self.answer_of(&key, stored)?));
        }
        let now = self.0.clock.now();
        let owner = new_id(&*self.0.clock, &*self.0.random);
        let (lease_until, expire) = (now + self.0.lease, now + KEPT);
        let by = Attempt { owner, process: self.0.process, lease_until, expire };
        let mut tx = self.0.db.begin().await?;
        if store::insert(&mut tx, &key, by).await? {
            return self.commit_claim(tx, self.claim(key, owner, None)).await;
        }
        let stored = store::find(&mut tx, &key).await?;
        let stored = stored.ok_or_else(|| Error::internal("a request came and went"))?;
        if stored.answer.is_some() || stored.digest != key.digest {
            // What this transaction sees may not be durable yet: its commit waits for that.
            tx.commit().await?;
            return Ok(Begun::Answered(self.answer_of(&key, stored)?));
        }
        let is_dead = self.0.takes_over && stored.process != self.0.process;
        let is_free = stored.owner == NOBODY;
        if stored.lease_until > now && !is_dead && !is_free {
            return Err(Error::InProgress);
        }
        if !store::take_over(&mut tx, &key, stored.owner, by).await? {
            return Err(Error::InProgress);
        }
        let before = (!is_free).then_some(stored.made);
        self.commit_claim(tx, self.claim(key, owner, before)).await
    }

    /// A commit that nobody waits for any more happens all the same, so the claim is watched over
    /// from before it.
    async fn commit_claim(&self, tx: Tx, claim: Claim) -> Result<Begun, Error> {
        let armed = Armed(Some(Arc::new(claim)));
        tx.commit().await?;
        Ok(Begun::Claimed(armed))
    }

    fn claim(&self, key: Key, owner: Uuid, before: Option<String>) -> Claim {
        let is_answered = AtomicBool::new(false);
        Claim { requests: self.clone(), key, owner, before, is_answered }
    }

    /// The stored answer, if it is the answer to this very request.
    fn answer_of(&self, key: &Key, stored: Stored) -> Result<Vec<u8>, Error> {
        if stored.digest != key.digest {
            return Err(Error::Reused);
        }
        let answer = stored.answer.ok_or(Error::InProgress)?;
        if !key.has_secret {
            return Ok(answer);
        }
        let vault = self.0.vault.as_ref().ok_or_else(|| Error::internal("there is no vault"))?;
        vault.open(&answer, &key.binding()).map_err(Error::Internal)
    }

    fn sealed(&self, key: &Key, answer: Vec<u8>) -> Result<Vec<u8>, Error> {
        if !key.has_secret {
            return Ok(answer);
        }
        let vault = self.0.vault.as_ref().ok_or_else(|| Error::internal("there is no vault"))?;
        vault.seal(&answer, &key.binding()).map_err(Error::Internal)
    }
}

impl Claim {
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Acquire)
    }

    /// Stores the answer in a transaction of its own, unless a saga has stored it: then that is
    /// the answer.
    pub(crate) async fn settle(&self, answer: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        let requests = &self.requests;
        if let Some(stored) = store::find(&requests.0.db, &self.key).await?
            && stored.answer.is_some()
        {
            return Ok(Some(requests.answer_of(&self.key, stored)?));
        }
        let mut tx = requests.0.db.begin().await?;
        self.store_in(&mut tx, answer).await?;
        tx.commit().await?;
        Ok(None)
    }

    async fn store_in(&self, tx: &mut Tx, answer: Vec<u8>) -> Result<(), Error> {
        let answer = self.requests.sealed(&self.key, answer)?;
        let expire = self.now() + KEPT;
        if !store::answer(tx, &self.key, self.owner, (answer, expire)).await? {
            return Err(Error::InProgress);
        }
        self.is_answered.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends an attempt that failed.
    pub(crate) async fn end_without_answer(&self, status: &Status) {
        let ended = if is_definite(status) { self.free().await } else { self.let_go().await };
        if let Err(error) = ended {
            // The lease ends by itself.
            tracing::warn!(%error, "a failed request keeps its id until its lease ends");
        }
    }

    async fn free(&self) -> Result<(), stowage_db::Error> {
        let mut tx = self.requests.0.db.begin().await?;
        if !store::free(&mut tx, &self.key, (self.owner, NOBODY)).await? {
            store::let_go(&mut tx, &self.key, self.owner, self.now()).await?;
        }
        tx.commit().await
    }

    async fn let_go(&self) -> Result<(), stowage_db::Error> {
        let mut tx = self.requests.0.db.begin().await?;
        store::let_go(&mut tx, &self.key, self.owner, self.now()).await?;
        tx.commit().await
    }

    fn now(&self) -> OffsetDateTime {
        self.requests.0.clock.now()
    }
}

/// Whether a failure is an answer of the business, and certain to have changed nothing.
fn is_definite(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}

/// Lets go of a claim whose call was dropped: the caller gave up, or it took too long.
pub(crate) struct Armed(Option<Arc<Claim>>);

impl Armed {
    /// The claim; absent once it was disarmed.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        self.0.clone()
    }

    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let Some(claim) = self.0.take() else { return };
        // Without a runtime the process is ending, and the lease will.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = claim.let_go().await {
                    tracing::warn!(%error, "a dropped request keeps its id until its lease ends");
                }
            });
        }
    }
}

/// A request being executed, as the domain sees it. `T` is what it comes to.
pub struct Once<T> {
    claim: Option<Arc<Claim>>,
    encode: fn(&T) -> Vec<u8>,
}

impl<T> Once<T> {
    pub(crate) fn unnamed(encode: fn(&T) -> Vec<u8>) -> Self {
        Self { claim: None, encode }
    }

    pub(crate) fn claimed(claim: Arc<Claim>, encode: fn(&T) -> Vec<u8>) -> Self {
        Self { claim: Some(claim), encode }
    }

    /// Of work that no caller asked for: it has no id, and its answer goes nowhere.
    #[must_use]
    pub fn nobodys() -> Self {
        Self { claim: None, encode: |_| Vec::new() }
    }

    /// Whether the caller gave the request an id.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.claim.is_some()
    }

    /// What stores the answer where this call may be gone by then: in the last write of a saga.
    /// `None` without an id, and where the answer is to be sealed.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        let key = &self.claim.as_ref()?.key;
        (!key.has_secret).then(|| Pending::of(key))
    }

    /// Whether an earlier attempt ended without an answer. What it has done, if anything, must be
    /// found, not done again.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.before.is_some())
    }

    /// The name of what an earlier attempt has begun to make.
    #[must_use]
    pub fn made(&self) -> Option<&str> {
        let before = self.claim.as_ref()?.before.as_deref()?;
        (!before.is_empty()).then_some(before)
    }

    /// Notes in the caller's transaction the name of what this attempt begins to make, for those
    /// after it. From then on the id stays bound to its content, whatever becomes of it.
    ///
    /// # Errors
    /// - [`Error::InProgress`]: another attempt has taken over; the transaction must be dropped.
    /// - those of the database
    pub async fn set_made(&self, tx: &mut Tx, made: &str) -> Result<(), Error> {
        let Some(claim) = &self.claim else { return Ok(()) };
        match store::set_made(tx, &claim.key, claim.owner, made).await? {
            true => Ok(()),
            false => Err(Error::InProgress),
        }
    }

    /// Stores the answer in the caller's transaction, which must then be committed before the work
    /// ends well.
    ///
    /// # Errors
    /// - [`Error::InProgress`]: another attempt has taken over; the transaction must be dropped.
    /// - those of the database, and of the vault
    pub async fn answer(&self, tx: &mut Tx, answer: &T) -> Result<(), Error> {
        match &self.claim {
            Some(claim) => claim.store_in(tx, (self.encode)(answer)).await,
            None => Ok(()),
        }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("is_named", &self.is_named())
            .field("resumes", &self.resumes())
            .finish_non_exhaustive()
    }
}
