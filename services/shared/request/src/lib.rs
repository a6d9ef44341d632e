//! Requests that are executed once, by the id their caller gave them.
//!
//! A role hands each call of a method whose `repeat_key` is `request_id` to [`Requests::once`].
//! Without an id the call just runs. With one:
//!
//! - The first call claims the id, runs, and stores its answer. A domain function whose effect is
//!   a transaction of the same database stores the answer in that transaction
//!   ([`Once::answer`]); one that is ended by a saga leaves that to the saga's last write
//!   ([`Once::pending`]); for effects elsewhere the answer is stored once they have happened.
//! - A repeat with the same content gets the stored answer again, for [`KEPT`].
//! - Another request under the same id, of whatever method of the role or action of the facade, is
//!   refused (`REQUEST_ID_REUSED`), whatever has become of the first.
//! - While the first call runs, a repeat is told to come back (`REQUEST_IN_PROGRESS`).
//!
//! # Invariants
//! - Ids of one customer never meet those of another. The scope is the customer that acts or is
//!   acted for, so that an administrator may repeat what a customer began; without one it is the
//!   principal himself.
//! - Failures are not answers: the id stays bound to its content, and a repeat is a new attempt.
//!   A failure that is definite left nothing behind, so that attempt starts afresh. After one that
//!   is not (something was away, the deadline, a crash) it *resumes*: it must find what the one
//!   before has done. That is why effects outside of the database are "ensure" calls, and why
//!   [`Once::resumes`] and [`Once::made`] exist.
//! - A call that dies holds its claim until its lease ends, or until its process has a successor
//!   that takes over; one whose caller gave up, or that failed, lets go at once. Who lost his claim
//!   cannot store an answer, nor commit a transaction that wanted to.
//! - Answers that carry a secret are sealed by the role's [`Vault`], for this scope and id alone.
//!
//! # Rejected
//! - Holding a transaction while the request runs: there is one writer.
//! - Storing failures: a customer who frees a bucket name, or pays, would still read the old one.
//! - A table in the gateway: it could not be written in the transaction of the effect, and gRPC
//!   clients would go without.
//!
//! The table is in `src/schema.sql`.

mod claim;
mod error;
mod key;
mod pending;
mod rewrap;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_auth::RequestContext;
use stowage_db::Db;
use stowage_proto::Repeatable;
use stowage_runtime::BoxError;
use stowage_types::{Clock, Random, new_id};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub use claim::Once;
pub use error::Error;
pub use key::REQUEST_ID_CHARS_MAX;
pub use pending::Pending;
pub use rewrap::{HEADER_BYTES, Rewrapped, Under};

use claim::Begun;
use key::Key;

/// How long an answer is kept. The facade promises at least 24 h; a week outlives the resends of
/// clients that queue.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A claim outlives the longest call by this.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Rows forgotten per transaction, so that the writer is never held for long.
const BATCH_ROWS: i64 = 1000;
/// Time between two rounds of forgetting.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(3600);

/// Seals answers that carry secrets. `binding` names the record; what was sealed for another one
/// is refused.
pub trait Vault: Send + Sync {
    /// Encrypts.
    ///
    /// # Errors
    /// Those of the implementation.
    fn seal(&self, plain: &[u8], binding: &str) -> Result<Vec<u8>, BoxError>;

    /// Decrypts.
    ///
    /// # Errors
    /// Damaged, or sealed for another binding.
    fn open(&self, sealed: &[u8], binding: &str) -> Result<Vec<u8>, BoxError>;

    /// How what is sealed now begins: what begins otherwise may need a rewrap.
    fn header(&self) -> [u8; HEADER_BYTES];

    /// Seals under the present key what is sealed under an older one. `None`: nothing to do.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn rewrap(&self, sealed: &[u8], binding: &str) -> Result<Option<Vec<u8>>, BoxError>;
}

/// The requests of a role. Cheap to clone.
#[derive(Clone)]
pub struct Requests(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    lease: Duration,
    /// Names this process among those that share the database.
    process: Uuid,
    takes_over: bool,
    vault: Option<Arc<dyn Vault>>,
}

impl Inner {
    fn parts(&self) -> Self {
        Self {
            db: self.db.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            lease: self.lease,
            process: self.process,
            takes_over: self.takes_over,
            vault: self.vault.clone(),
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("lease", &self.0.lease).finish_non_exhaustive()
    }
}

impl Requests {
    /// `call_timeout`: the longest time a call of the role may take.
    #[must_use]
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        call_timeout: Duration,
    ) -> Self {
        let lease = call_timeout + LEASE_MARGIN;
        let process = new_id(&*clock, &*random);
        let (takes_over, vault) = (false, None);
        Self(Arc::new(Inner { db, clock, random, lease, process, takes_over, vault }))
    }

    /// Takes claims of other processes for those of dead ones. Right where one process has the
    /// database to itself.
    #[must_use]
    pub fn taking_over(self, takes_over: bool) -> Self {
        Self(Arc::new(Inner { takes_over, ..self.0.parts() }))
    }

    /// Seals answers with secrets by `vault`. Without one, methods that answer secrets fail.
    #[must_use]
    pub fn sealed_by(self, vault: Arc<dyn Vault>) -> Self {
        Self(Arc::new(Inner { vault: Some(vault), ..self.0.parts() }))
    }

    /// Runs `work` for a request, or answers what it came to before. `read` gets the request
    /// without its id, and checks what needs no database.
    ///
    /// # Errors
    /// Those of `read` and `work`, and those of [`Error`].
    pub async fn once<R, N, A, T, E, W, F>(
        &self,
        request: Request<R>,
        read: impl FnOnce(R) -> Result<N, E>,
        work: W,
    ) -> Result<Response<A>, Status>
    where
        R: Repeatable,
        A: prost::Message + Default + From<T>,
        T: Clone,
        E: Into<Status>,
        W: FnOnce(RequestContext, N, Once<T>) -> F,
        F: Future<Output = Result<T, E>>,
    {
        let cx = RequestContext::of(&request)?;
        let (metadata, _, mut request) = request.into_parts();
        let encode = |answer: &T| A::from(answer.clone()).encode_to_vec();
        let key = Key::take(&cx, &metadata, &mut request);
        let read = read(request).map_err(Into::into);
        let (key, content) = match (key, read) {
            (Err(Error::Invalid(bad)), Err(also)) => return Err(error::all_bad_fields(bad, &also)),
            (key, read) => (key?, read?),
        };
        let Some(key) = key else {
            let done = work(cx, content, Once::unnamed(encode)).await.map_err(Into::into)?;
            return Ok(Response::new(A::from(done)));
        };
        let armed = match self.begin(key).await? {
            Begun::Answered(bytes) => {
                let answer = A::decode(bytes.as_slice()).map_err(Error::internal)?;
                return Ok(Response::new(answer));
            }
            Begun::Claimed(armed) => armed,
        };
        let claim = armed.claim().ok_or_else(|| Error::internal("a claim without itself"))?;
        match work(cx, content, Once::claimed(Arc::clone(&claim), encode)).await {
            Ok(done) => {
                let answer = A::from(done);
                let first = match claim.is_answered() {
                    true => None,
                    false => claim.settle(answer.encode_to_vec()).await?,
                };
                armed.disarm();
                match first {
                    None => Ok(Response::new(answer)),
                    Some(first) => {
                        let first = A::decode(first.as_slice()).map_err(Error::internal)?;
                        Ok(Response::new(first))
                    }
                }
            }
            Err(error) => {
                let status = error.into();
                armed.disarm();
                claim.end_without_answer(&status).await;
                Err(status)
            }
        }
    }

    /// Forgets answers whose time is over; answers how many.
    ///
    /// # Errors
    /// Those of the database. What was forgotten until then stays forgotten.
    pub async fn forget_old(&self) -> Result<u64, stowage_db::Error> {
        let mut forgotten = 0;
        loop {
            let mut tx = self.0.db.begin().await?;
            let rows = store::forget(&mut tx, self.0.clock.now(), BATCH_ROWS).await?;
            tx.commit().await?;
            forgotten += rows;
            if rows < BATCH_ROWS.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }

    /// The task that calls [`Self::forget_old`] every hour until `stop`.
    #[must_use]
    pub fn clean_up(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let requests = self.clone();
        Box::pin(async move {
            let rounds = async {
                loop {
                    if let Err(error) = requests.forget_old().await {
                        tracing::warn!(%error, "old requests were not forgotten; they will be");
                    }
                    tokio::time::sleep(CLEAN_UP_EVERY).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(rounds).await;
        })
    }
}

#[cfg(test)]
mod tests;
