//! Works on the deletions of buckets, batch by batch.
//!
//! A batch is noted, deleted, and counted. A process may die between any two of these: whoever
//! goes on looks what the bucket has left of the batch, and counts the rest as gone. So nothing is
//! lost and nothing counted twice, unless clients write to the very keys meanwhile. The bucket
//! itself is the last batch, so that its end is told even when nobody was left to see it.
//!
//! Who works on a deletion holds its lease, and every write is conditional on holding it still.
//! After some batches it is given back, so that a large bucket holds up no small one.

use std::sync::Arc;
use std::time::Duration;

use stowage_engine::{AccountAccess, BucketInfo, Error as EngineError, ListQuery, ObjectInfo};
use stowage_types::new_id;

use super::bucket::find_bucket;
use super::bucket_deletion::{Amount, Batch, BucketDeletion, Lease, State};
use super::change::{Change, What};
use super::{Site, Storage, signed};
use crate::error::Error;
use crate::store;

/// How often to look for deletions that nobody works on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a process may work on one without a sign of life; longer than a batch can take.
const LEASE: Duration = Duration::from_secs(150);
/// Longest time one call to an engine may take.
const ENGINE_CALL_MAX: Duration = Duration::from_secs(30);
/// Batches of one deletion before others get their turn.
const TURN_BATCHES: u32 = 20;
/// Attempts without any progress before it has failed: some 25 minutes of them.
const ATTEMPTS_MAX: u32 = 30;
/// The longest pause between two of them; the first is a second.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

const SUSPENDED: &str = "the account is suspended";
const READ_ONLY: &str = "the account is read-only";

/// Why a turn ends before its time.
enum Stop {
    /// It has ended, is halted, or somebody else has it by now.
    Over,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One turn at one deletion.
struct Turn<'a> {
    storage: &'a Storage,
    lease: Lease,
    job: BucketDeletion,
}

impl Storage {
    /// Works on deletions, one after the other, for ever.
    pub(crate) async fn delete_buckets_on(&self) {
        loop {
            match self.delete_next().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "deletions of buckets wait: the database failed");
                }
            }
            tokio::select! {
                () = self.deletion_due.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes a turn at the deletion that has waited longest; `false` if none waits.
    async fn delete_next(&self) -> Result<bool, Error> {
        let lease = self.deletion_lease();
        // Then leases of another process are those of a dead one.
        let takes_over = self.config.takes_over && self.db.is_exclusive();
        // Most looks find nothing, and need not wait for the writer.
        if !store::bucket_deletion::is_due(&self.db, lease, takes_over).await? {
            return Ok(false);
        }
        let mut tx = self.db.begin().await?;
        let claimed = store::bucket_deletion::claim(&mut tx, lease, takes_over).await?;
        tx.commit().await?;
        let Some(job) = claimed else { return Ok(false) };
        // There may be more for those who sleep.
        self.deletion_due.notify_one();
        let mut turn = Turn { storage: self, lease, job };
        for _ in 0..TURN_BATCHES {
            match turn.step().await {
                Ok(()) => {}
                Err(Stop::Over) => return Ok(true),
                Err(Stop::Failed(error)) => {
                    turn.put_off(error).await?;
                    return Ok(true);
                }
            }
        }
        turn.release().await?;
        Ok(true)
    }

    fn deletion_lease(&self) -> Lease {
        let now = self.clock.now();
        let owner = new_id(&*self.clock, &*self.random);
        Lease { process: self.process, owner, now, until: now + LEASE }
    }
}

/// A call to an engine, with a bound of time.
async fn bounded<T>(call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    let timed = tokio::time::timeout(ENGINE_CALL_MAX, call).await;
    timed.unwrap_or_else(|_| Err(EngineError::unavailable("the engine takes too long")))
}

fn amount_of(objects: &[ObjectInfo]) -> Amount {
    let bytes: u64 = objects.iter().map(|object| object.size_bytes).sum();
    Amount { objects: signed(objects.len() as u64), bytes: signed(bytes) }
}

impl Turn<'_> {
    /// The same lease, a little longer.
    fn renewed(&self) -> Lease {
        let now = self.storage.clock.now();
        Lease { now, until: now + LEASE, ..self.lease }
    }

    async fn site(&self) -> Result<Arc<Site>, Error> {
        self.storage.site(&self.job.location).await
    }

    /// Deletes one batch, or what else is next.
    async fn step(&mut self) -> Result<(), Stop> {
        if self.bucket().await?.is_none() {
            return self.end().await;
        }
        if self.job.batch.is_some() {
            self.settle().await?;
        }
        if self.job.state != State::Running {
            self.release().await?;
            return Err(Stop::Over);
        }
        self.hold_if_shut().await?;
        match self.first_objects().await? {
            objects if objects.is_empty() => self.finish().await,
            objects => self.delete(objects).await,
        }
    }

    /// The bucket, if it is still the one that was to be deleted.
    async fn bucket(&self) -> Result<Option<BucketInfo>, Error> {
        let (uid, bucket) = (&self.job.uid, &self.job.bucket);
        let site = self.site().await?;
        let engine = &*site.engine;
        let found = tokio::time::timeout(ENGINE_CALL_MAX, find_bucket(engine, uid, bucket)).await;
        let found = found.map_err(|_| EngineError::unavailable("the engine takes too long"))?;
        let found = match found {
            // The account is gone, with all its buckets.
            Err(Error::AccountNotFound) => None,
            found => found?,
        };
        Ok(found.filter(|info| info.create_time == self.job.bucket_create_time))
    }

    /// The objects of the next batch; none when the bucket has just gone, too.
    async fn first_objects(&self) -> Result<Vec<ObjectInfo>, Error> {
        let (uid, bucket) = (&self.job.uid, &self.job.bucket);
        let max = self.storage.config.deletion_batch_max;
        let query = ListQuery { max, ..ListQuery::default() };
        match bounded(self.site().await?.engine.list_objects(uid, bucket, &query)).await {
            Ok(page) => Ok(page.objects),
            Err(EngineError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what has gone of a batch that somebody was deleting when he stopped.
    async fn settle(&mut self) -> Result<(), Stop> {
        let Some(batch) = self.job.batch.clone() else { return Ok(()) };
        let mut left = self.first_objects().await?;
        left.retain(|object| object.key.as_bytes() <= batch.last.as_slice());
        let left = amount_of(&left);
        self.count(Amount {
            objects: (batch.amount.objects - left.objects).max(0),
            bytes: (batch.amount.bytes - left.bytes).max(0),
        })
        .await
    }

    /// Ends the batch under way.
    async fn count(&mut self, gone: Amount) -> Result<(), Stop> {
        let lease = self.renewed();
        let mut tx = self.storage.db.begin().await?;
        let job = store::bucket_deletion::end_batch(&mut tx, self.job.id, lease, gone).await?;
        tx.commit().await?;
        self.job = job.ok_or(Stop::Over)?;
        Ok(())
    }

    /// Notes what is deleted next.
    async fn begin(&mut self, batch: Batch) -> Result<(), Stop> {
        let lease = self.renewed();
        let mut tx = self.storage.db.begin().await?;
        let job = store::bucket_deletion::begin_batch(&mut tx, self.job.id, lease, &batch).await?;
        tx.commit().await?;
        match job {
            Some(job) => self.job = job,
            // Halted by a caller, or lost: then there is nothing to release.
            None => {
                self.release().await?;
                return Err(Stop::Over);
            }
        }
        Ok(())
    }

    async fn delete(&mut self, objects: Vec<ObjectInfo>) -> Result<(), Stop> {
        let amount = amount_of(&objects);
        let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
        let last = keys.last().map(|key| key.clone().into_bytes()).unwrap_or_default();
        self.begin(Batch { last, amount }).await?;
        let (uid, bucket) = (&self.job.uid, &self.job.bucket);
        match bounded(self.site().await?.engine.delete_objects(uid, bucket, &keys)).await {
            Ok(()) => self.count(amount).await,
            // The next step finds that the bucket has gone.
            Err(EngineError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes what no listing of objects shows, and then the bucket.
    async fn finish(&mut self) -> Result<(), Stop> {
        let max = self.storage.config.deletion_batch_max;
        let (uid, bucket) = (self.job.uid.clone(), self.job.bucket.clone());
        match bounded(self.site().await?.engine.abort_uploads(&uid, &bucket, None, max)).await {
            Ok(aborted) if aborted >= max => return Ok(()),
            Ok(_) | Err(EngineError::NotFound | EngineError::Unsupported) => {}
            Err(error) => return Err(error.into()),
        }
        self.begin(Batch { last: Vec::new(), amount: Amount::default() }).await?;
        match bounded(self.site().await?.engine.delete_bucket(&uid, &bucket)).await {
            Ok(()) | Err(EngineError::NotFound) => self.end().await,
            // A client has put an object, or there is something that we do not see: either way
            // with a pause, and not for ever.
            Err(error) => Err(error.into()),
        }
    }

    /// The bucket is gone: says so, and tells history.
    async fn end(&mut self) -> Result<(), Stop> {
        let lease = self.renewed();
        let mut tx = self.storage.db.begin().await?;
        let done = store::bucket_deletion::set_done(&mut tx, self.job.id, lease).await?;
        if let Some(done) = done
            && let Some(told) = &done.told
        {
            let (uid, bucket) = (&done.uid, &done.bucket);
            let change = Change { what: What::BucketDeleted, uid, bucket, key: "" };
            self.storage.push_change(&mut tx, told, &change).await?;
        }
        store::bucket_change::forget_made(&mut tx, &self.job.uid, &self.job.bucket).await?;
        tx.commit().await?;
        Err(Stop::Over)
    }

    /// What a customer has started waits while his account is suspended or read-only: it keeps all
    /// its data.
    async fn hold_if_shut(&mut self) -> Result<(), Stop> {
        if !self.job.by_customer {
            return Ok(());
        }
        let account = store::account::find(&self.storage.db, &self.job.uid).await?;
        let Some(limits) = account.map(|account| account.limits) else { return Ok(()) };
        let why = match limits.access {
            AccountAccess::Full => return Ok(()),
            AccountAccess::ReadOnly if limits.may_delete => return Ok(()),
            AccountAccess::ReadOnly => READ_ONLY,
            AccountAccess::Suspended => SUSPENDED,
        };
        let (to, now) = ((State::Paused, why), self.storage.clock.now());
        let mut tx = self.storage.db.begin().await?;
        store::bucket_deletion::set_state(&mut tx, self.job.id, to, now).await?;
        store::bucket_deletion::release(&mut tx, self.job.id, self.renewed()).await?;
        tx.commit().await?;
        Err(Stop::Over)
    }

    /// Lets go for a while after a failure, or ends it as failed.
    async fn put_off(&self, error: Error) -> Result<(), Error> {
        let is_passing = matches!(
            error,
            Error::EngineUnavailable { .. }
                | Error::Unavailable { .. }
                | Error::Unclear { .. }
                | Error::BucketNotEmpty
        );
        let attempts = self.job.attempts + 1;
        let is_final = !is_passing || attempts >= ATTEMPTS_MAX;
        let lease = self.renewed();
        let seconds = 1_u64 << (attempts - 1).min(6);
        let next = lease.now + Duration::from_secs(seconds).min(BACK_OFF_MAX);
        {
            let (id, error) = (self.job.id, &error as &dyn std::error::Error);
            tracing::warn!(deletion.id = %id, error, is_final, "deletion of a bucket is held up");
        }
        let why = error.to_string();
        let outcome = (why.as_str(), is_final, next);
        let mut tx = self.storage.db.begin().await?;
        store::bucket_deletion::put_off(&mut tx, self.job.id, lease, outcome).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn release(&self) -> Result<(), Error> {
        let mut tx = self.storage.db.begin().await?;
        store::bucket_deletion::release(&mut tx, self.job.id, self.renewed()).await?;
        tx.commit().await?;
        Ok(())
    }
}
