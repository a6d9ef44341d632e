//! What a role holds: starts sagas, runs them to the end, waits for them, resumes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::{Db, Tx};
use stowage_types::{Clock, Random, new_id};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::driver::Driver;
use crate::kind::{Direction, Kind, Mode, kind_of};
use crate::store::{self, Lease, Progress, Record, Status};
use crate::{Outcome, Saga, Settings, StepError};

/// How often a waiter looks whether a saga that another process drives has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A saga could not be started or waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] stowage_db::Error),
    /// A write at the head of the saga failed; the caller's transaction must be dropped.
    #[error("the first step failed: {0}")]
    FirstStep(StepError),
    /// The state cannot be stored.
    #[error("the state of the saga cannot be written as JSON")]
    State(#[source] serde_json::Error),
    /// The kind was not registered.
    #[error("sagas of kind {0} are not known to this version of the program")]
    UnknownKind(String),
    /// There is no such saga.
    #[error("there is no saga {0}")]
    NotFound(Uuid),
    /// It has ended; there is nothing to try again or to turn back.
    #[error("the saga is {}", .0.text())]
    Ended(Status),
    /// Sagas of its kind have no way back.
    #[error("sagas of kind {0} are never undone")]
    ForwardOnly(&'static str),
}

type Ended = watch::Receiver<Option<Outcome>>;

/// A saga that this process drives.
#[derive(Clone)]
struct Running {
    /// Gets its outcome; closed once it is not driven here any more.
    ended: Ended,
    /// Tells its driver that the table has changed.
    interrupt: CancellationToken,
}

pub(crate) struct Inner<C> {
    pub(crate) db: Db,
    pub(crate) context: Arc<C>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    pub(crate) kinds: HashMap<&'static str, Arc<dyn Kind<C>>>,
    /// Names this process in leases.
    pub(crate) owner: String,
    pub(crate) stop: CancellationToken,
    permits: Arc<Semaphore>,
    running: Mutex<HashMap<Uuid, Running>>,
}

impl<C> Inner<C> {
    /// The lease that this process would hold if it were given one now.
    pub(crate) fn lease(&self, pause: Duration) -> Lease<'_> {
        let now = self.clock.now();
        Lease { owner: &self.owner, now, until: now + pause + self.settings.lease }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a driver of this process has a saga.
    #[cfg(test)]
    pub(crate) fn drives(&self, id: Uuid) -> bool {
        self.running().contains_key(&id)
    }

    /// Tells the driver of a saga here, if there is one, to look at the table again; answers what
    /// is closed when it has ended.
    pub(crate) fn interrupt(&self, id: Uuid) -> Option<Ended> {
        let running = self.running().get(&id).cloned()?;
        running.interrupt.cancel();
        Some(running.ended)
    }
}

/// The sagas of a role. Cheap to clone.
pub struct Sagas<C>(pub(crate) Arc<Inner<C>>);

impl<C> Clone for Sagas<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> std::fmt::Debug for Sagas<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sagas").field("owner", &self.0.owner).finish_non_exhaustive()
    }
}

/// Puts [`Sagas`] together.
pub struct Builder<C>(Inner<C>);

impl<C: Send + Sync + 'static> Builder<C> {
    /// Begins with no kinds and the default settings.
    pub fn new(db: Db, context: Arc<C>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let owner = new_id(&*clock, &*random).to_string();
        Self(Inner {
            db,
            context,
            clock,
            random,
            settings: Settings::default(),
            kinds: HashMap::new(),
            owner,
            stop: CancellationToken::new(),
            permits: Arc::new(Semaphore::new(0)),
            running: Mutex::new(HashMap::new()),
        })
    }

    /// Registers a kind.
    #[must_use]
    pub fn kind<K: Saga<Context = C>>(mut self) -> Self {
        self.0.kinds.insert(K::KIND, kind_of::<K>());
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.0.settings = settings;
        self
    }

    /// When cancelled, nothing more is resumed, and pausing sagas are given back.
    #[must_use]
    pub fn stop(mut self, stop: CancellationToken) -> Self {
        self.0.stop = stop;
        self
    }

    /// Done.
    #[must_use]
    pub fn build(mut self) -> Sagas<C> {
        self.0.permits = Arc::new(Semaphore::new(self.0.settings.running_max));
        Sagas(Arc::new(self.0))
    }
}

impl<C: Send + Sync + 'static> Sagas<C> {
    /// Writes a saga in the caller's transaction, together with what the [`Action::Write`]s at its
    /// head write. It begins when, after the commit, [`Self::run`] is called; if the process dies
    /// between, [`Self::resume`] begins it.
    ///
    /// # Errors
    /// Any: drop the transaction.
    ///
    /// [`Action::Write`]: crate::Action::Write
    pub async fn start<K>(&self, tx: &mut Tx, state: &K::State) -> Result<Uuid, Error>
    where
        K: Saga<Context = C>,
    {
        let inner = &self.0;
        let kind =
            inner.kinds.get(K::KIND).ok_or_else(|| Error::UnknownKind(K::KIND.to_owned()))?;
        let mut state = serde_json::to_string(state).map_err(Error::State)?;
        let mut step = 0;
        while kind.mode(step, Direction::Forward) == Mode::Write {
            let acted = kind.act((step, Direction::Forward), &inner.context, &state, Some(tx));
            state = acted.await.map_err(Error::FirstStep)?;
            step += 1;
        }
        let is_done = step == kind.step_count();
        let progress = Progress {
            state,
            step,
            direction: Direction::Forward,
            attempts: 0,
            status: if is_done { Status::Completed } else { Status::Running },
            failure: None,
            attempt_error: None,
        };
        let id = new_id(&*inner.clock, &*inner.random);
        let record =
            Record { id, kind: K::KIND.to_owned(), progress, lease_owner: inner.owner.clone() };
        store::insert(tx, &record, inner.lease(Duration::ZERO)).await?;
        Ok(id)
    }

    /// Drives a saga to its end and answers how it ended. It is driven by a task of its own: a
    /// caller that stops waiting does not stop it. Where another drives it already, waits.
    ///
    /// # Errors
    /// - [`Error::NotFound`], [`Error::Db`]
    pub async fn run(&self, id: Uuid) -> Result<Outcome, Error> {
        self.launch(id);
        self.wait(id).await
    }

    /// Waits for the end of a saga, whoever drives it. Has no bound of its own.
    ///
    /// # Errors
    /// - [`Error::NotFound`], [`Error::Db`]
    pub async fn wait(&self, id: Uuid) -> Result<Outcome, Error> {
        loop {
            let running = self.0.running().get(&id).cloned();
            if let Some(Running { mut ended, .. }) = running
                && let Ok(outcome) = ended.wait_for(Option::is_some).await
                && let Some(outcome) = outcome.clone()
            {
                return Ok(outcome);
            }
            // Not driven here, or its driver gave it up: the table knows.
            let record = store::find(&self.0.db, id).await?.ok_or(Error::NotFound(id))?;
            if let Some(outcome) = record.progress.outcome() {
                return Ok(outcome);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The task that takes over sagas nobody drives: at once, then on a timer, until stopped.
    pub fn resume(&self) -> BoxFuture<'static, ()> {
        let sagas = self.clone();
        Box::pin(async move {
            sagas.report_unknown_kinds().await;
            loop {
                if let Err(error) = sagas.resume_once().await {
                    tracing::warn!(%error, "open sagas could not be read");
                }
                if let Err(error) = sagas.report_stuck().await {
                    tracing::warn!(%error, "stuck sagas could not be counted");
                }
                tokio::select! {
                    () = sagas.0.stop.cancelled() => return,
                    () = tokio::time::sleep(sagas.0.settings.resume_every) => {}
                }
            }
        })
    }

    /// Deletes at most `max` sagas that ended before a time; stuck ones stay.
    ///
    /// # Errors
    /// [`Error::Db`]
    pub async fn purge(&self, before: OffsetDateTime, max: u32) -> Result<u64, Error> {
        let mut tx = self.0.db.begin().await?;
        let purged = store::purge(&mut tx, before, i64::from(max)).await?;
        tx.commit().await?;
        Ok(purged)
    }

    async fn resume_once(&self) -> Result<(), Error> {
        for kind in self.0.kinds.keys() {
            let room = self.0.permits.available_permits();
            let by = (self.0.lease(Duration::ZERO), self.0.settings.takeover);
            for id in store::open_ones(&self.0.db, kind, by, room).await? {
                self.launch(id);
            }
        }
        Ok(())
    }

    async fn report_unknown_kinds(&self) {
        for kind in store::open_kinds(&self.0.db).await.unwrap_or_default() {
            if !self.0.kinds.contains_key(kind.as_str()) {
                tracing::error!(saga.kind = kind, "open sagas of a kind this program has not");
            }
        }
    }

    /// Spawns a driver, unless the saga has one here or there are too many.
    pub(crate) fn launch(&self, id: Uuid) {
        let mut running = self.0.running();
        if running.contains_key(&id) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() else {
            tracing::warn!("too many sagas run; this one waits for the resume task");
            return;
        };
        let (end, ended) = watch::channel(None);
        let interrupt = CancellationToken::new();
        running.insert(id, Running { ended, interrupt: interrupt.clone() });
        drop(running);
        let entry = Entry { inner: Arc::clone(&self.0), id };
        tokio::spawn(async move {
            let outcome = Driver::drive(Arc::clone(&entry.inner), id, interrupt).await;
            end.send_replace(outcome);
            drop(entry);
            drop(permit);
            // Closed last: who waits for that may begin another driver.
            drop(end);
        });
    }
}

/// Takes a saga out of the running ones, also when its driver panics.
struct Entry<C> {
    inner: Arc<Inner<C>>,
    id: Uuid,
}

impl<C> Drop for Entry<C> {
    fn drop(&mut self) {
        self.inner.running().remove(&self.id);
    }
}
