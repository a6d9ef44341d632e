//! What operators do with sagas: look at them, try them again, turn them back.
//!
//! A change is a write to the row that takes the lease away, so that whoever drives the saga then
//! cannot store an outcome any more and stops without a trace; a driver that pauses looks whether
//! it still holds the saga before it acts again. What such a driver has in flight is a call whose
//! effect is unclear, as after a crash. The undo waits for its end: here until the driver has
//! ended, and where another process holds the saga for as long as its lease, within which that
//! process renews it and so finds it lost.

use std::sync::Arc;

use stowage_db::Tx;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::engine::{Error, Inner, Sagas};
use crate::kind::{Direction, Kind};
use crate::matrix::Case;
use crate::store::Status;
use crate::store::operate::{self as store, Detail};
use crate::{Failure, STUCK_METRIC};

/// A saga as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its id.
    pub id: Uuid,
    /// [`crate::Saga::KIND`].
    pub kind: String,
    /// Whether it goes on.
    pub status: Status,
    /// Which way it goes, or went last.
    pub direction: Direction,
    /// Name of the step that is done or undone next, or was last; empty if this program does not
    /// know the kind.
    pub step: String,
    /// The place of that step, from 1.
    pub step_number: usize,
    /// How many steps there are; 0 if this program does not know the kind.
    pub step_count: usize,
    /// Whether there is no way back.
    pub is_forward_only: bool,
    /// Failed attempts at this step.
    pub attempts: u32,
    /// When the next attempt is made, or the present one was begun; absent once it has ended.
    pub next_attempt_time: Option<OffsetDateTime>,
    /// What turned it back, or what it is stuck at.
    pub failure: Option<Failure>,
    /// Why the last attempt at this step failed; of a stuck undo, what it met. Absent: none has.
    pub attempt_error: Option<String>,
    /// Its state, as JSON.
    pub state: String,
    /// When it was written.
    pub create_time: OffsetDateTime,
    /// When it was changed last.
    pub update_time: OffsetDateTime,
}

/// Which sagas to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<String>,
    /// In this status.
    pub status: Option<Status>,
    /// Older than this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub max: usize,
}

impl<C: Send + Sync + 'static> Sagas<C> {
    /// Sagas, newest first.
    ///
    /// # Errors
    /// [`Error::Db`]
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Info>, Error> {
        let found = store::list(&self.0.db, filter).await?;
        Ok(found.into_iter().map(|detail| self.0.info(detail)).collect())
    }

    /// How many sagas of each kind are open while their lease ended before a time: a program that
    /// knew them would have taken them over.
    ///
    /// # Errors
    /// [`Error::Db`]
    pub async fn count_abandoned(
        &self,
        before: OffsetDateTime,
    ) -> Result<Vec<(String, i64)>, Error> {
        Ok(store::count_abandoned(&self.0.db, before).await?)
    }

    /// One saga.
    ///
    /// # Errors
    /// - [`Error::NotFound`], [`Error::Db`]
    pub async fn find(&self, id: Uuid) -> Result<Info, Error> {
        let found = store::find(&self.0.db, id).await?.ok_or(Error::NotFound(id))?;
        Ok(self.0.info(found))
    }

    /// Tries a saga again in the caller's transaction: a stuck one goes on the way it was going,
    /// with all its attempts; the pause of a running one ends. After the commit, call
    /// [`Self::nudge`].
    ///
    /// # Errors
    /// - [`Error::NotFound`], [`Error::Db`]
    /// - [`Error::Ended`]: there is nothing to try.
    /// - [`Error::UnknownKind`]: another version of the program must.
    pub async fn retry(&self, tx: &mut Tx, id: Uuid) -> Result<Info, Error> {
        let (found, _) = self.open(tx, id).await?;
        let now = self.0.clock.now();
        match found.record.progress.status {
            Status::Stuck => store::revive(tx, id, now).await?,
            _ => store::wake(tx, id, now).await?,
        };
        self.read(tx, id).await
    }

    /// Turns a saga back in the caller's transaction: it undoes from the step it stands at, since
    /// the effect of that is unclear, to the first. One that is on its way back goes on with that.
    /// After the commit, call [`Self::nudge`].
    ///
    /// # Errors
    /// - [`Error::NotFound`], [`Error::Db`]
    /// - [`Error::Ended`], [`Error::ForwardOnly`]: there is no way back.
    /// - [`Error::UnknownKind`]: another version of the program must.
    pub async fn undo(&self, tx: &mut Tx, id: Uuid, why: &str) -> Result<Info, Error> {
        let (found, kind) = self.open(tx, id).await?;
        if kind.is_forward_only() {
            return Err(Error::ForwardOnly(kind.name()));
        }
        let now = self.0.clock.now();
        let progress = &found.record.progress;
        match (progress.direction, progress.status) {
            (Direction::Undoing, Status::Stuck) => {
                store::revive(tx, id, now).await?;
            }
            (Direction::Undoing, _) => {}
            (Direction::Forward, _) => {
                let step = kind.step_name(progress.step);
                let from = self.0.free_from(&found, now);
                store::turn_back(tx, id, &by_operator(step, why), (now, from)).await?;
            }
        }
        self.read(tx, id).await
    }

    /// Goes on at once with a saga that an operator has changed: a driver of this process that
    /// pauses or works on it ends, then a new one begins where the table says.
    pub fn nudge(&self, id: Uuid) {
        let Some(mut ended) = self.0.interrupt(id) else { return self.launch(id) };
        let sagas = self.clone();
        tokio::spawn(async move {
            while ended.changed().await.is_ok() {}
            if !sagas.0.stop.is_cancelled() {
                sagas.launch(id);
            }
        });
    }

    /// Every kind that is registered, with all that it must survive; for tests.
    #[must_use]
    pub fn matrix(&self) -> Vec<(&'static str, Vec<Case>)> {
        self.0.kinds.values().map(|kind| (kind.name(), kind.cases())).collect()
    }

    /// Sets the gauge of stuck sagas by what the table says, so that it is right after a restart
    /// too.
    pub(crate) async fn report_stuck(&self) -> Result<(), Error> {
        let counts = store::count_stuck(&self.0.db).await?;
        for &kind in self.0.kinds.keys() {
            let count = counts.iter().find(|(of, _)| of == kind).map_or(0, |(_, count)| *count);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!(STUCK_METRIC, "kind" => kind).set(f64::from(count));
        }
        Ok(())
    }

    /// A saga that has not ended well or undone, and its kind.
    async fn open(&self, tx: &mut Tx, id: Uuid) -> Result<(Detail, Arc<dyn Kind<C>>), Error> {
        let found = store::find(tx, id).await?.ok_or(Error::NotFound(id))?;
        match found.record.progress.status {
            Status::Running | Status::Stuck => {}
            status @ (Status::Completed | Status::Undone) => return Err(Error::Ended(status)),
        }
        let name = found.record.kind.as_str();
        let kind = self.0.kinds.get(name).cloned();
        let kind = kind.ok_or_else(|| Error::UnknownKind(name.to_owned()))?;
        Ok((found, kind))
    }

    async fn read(&self, tx: &mut Tx, id: Uuid) -> Result<Info, Error> {
        let found = store::find(tx, id).await?.ok_or(Error::NotFound(id))?;
        Ok(self.0.info(found))
    }
}

impl<C: Send + Sync + 'static> Inner<C> {
    /// When nobody can be working on a saga any more whose lease is taken away now.
    fn free_from(&self, found: &Detail, now: OffsetDateTime) -> OffsetDateTime {
        let owner = found.record.lease_owner.as_str();
        let is_elsewhere = !owner.is_empty() && owner != self.owner && !self.settings.takeover;
        if is_elsewhere && found.lease_until > now { now + self.settings.lease } else { now }
    }

    fn info(&self, detail: Detail) -> Info {
        let Detail { record, next_attempt_time, create_time, update_time, .. } = detail;
        let kind = self.kinds.get(record.kind.as_str());
        let progress = record.progress;
        let step_count = kind.map_or(0, |kind| kind.step_count());
        // A completed saga stands behind its last step.
        let step = progress.step.min(step_count.saturating_sub(1));
        Info {
            id: record.id,
            step: kind.map(|kind| kind.step_name(step).to_owned()).unwrap_or_default(),
            step_number: if kind.is_some() { step + 1 } else { progress.step + 1 },
            step_count,
            is_forward_only: kind.is_some_and(|kind| kind.is_forward_only()),
            kind: record.kind,
            status: progress.status,
            direction: progress.direction,
            attempts: progress.attempts,
            next_attempt_time: (progress.status == Status::Running).then_some(next_attempt_time),
            failure: progress.failure,
            attempt_error: progress.attempt_error,
            state: progress.state,
            create_time,
            update_time,
        }
    }
}

/// The failure that is recorded of a saga which an operator turned back.
pub(crate) fn by_operator(step: &str, why: &str) -> Failure {
    let reason = Failure::BY_OPERATOR.to_owned();
    Failure { step: step.to_owned(), reason, why: why.to_owned() }
}
