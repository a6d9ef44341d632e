//! Advances one saga, attempt by attempt, while holding its lease.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use stowage_db::{Db, Tx};
use stowage_trace::{About, KeyValue, Kind as SpanKind, Span, Trace};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::Inner;
use crate::kind::{Direction, Kind, Mode};
use crate::matrix::{Fault, Moment};
use crate::operate::by_operator;
use crate::store::{self, Progress, Status};
use crate::{ENDED_METRIC, Failure, Outcome, RETRIED_METRIC, Settings, StepError};

/// Why a driver stops before the end.
enum Stop {
    /// Somebody else drives it, or will.
    Lost,
    /// The database failed; the resume task tries again when the lease is over.
    Db(stowage_db::Error),
    /// A test wants the process to be dead.
    Crash,
}

impl From<stowage_db::Error> for Stop {
    fn from(error: stowage_db::Error) -> Self {
        Self::Db(error)
    }
}

type Acted = Result<String, StepError>;

pub(crate) struct Driver<C> {
    inner: Arc<Inner<C>>,
    kind: Arc<dyn Kind<C>>,
    id: Uuid,
    progress: Progress,
    trace: Trace,
    /// Cancelled when an operator has changed the saga.
    interrupt: CancellationToken,
}

impl<C: Send + Sync + 'static> Driver<C> {
    /// Drives the saga to its end. `None`: somebody else must.
    pub(crate) async fn drive(
        inner: Arc<Inner<C>>,
        id: Uuid,
        interrupt: CancellationToken,
    ) -> Option<Outcome> {
        match Self::try_drive(inner, id, interrupt).await {
            Ok(outcome) => return Some(outcome),
            Err(Stop::Lost | Stop::Crash) => {}
            Err(Stop::Db(error)) => {
                tracing::warn!(saga.id = %id, %error, "saga is put off: the database failed");
            }
        }
        None
    }

    async fn try_drive(
        inner: Arc<Inner<C>>,
        id: Uuid,
        interrupt: CancellationToken,
    ) -> Result<Outcome, Stop> {
        let record = hold(&inner, id).await?;
        if let Some(outcome) = record.progress.outcome() {
            return Ok(outcome);
        }
        let kind = inner.kinds.get(record.kind.as_str()).cloned().ok_or(Stop::Lost)?;
        let (progress, trace) = (record.progress, record.trace);
        let mut driver = Self { inner, kind, id, progress, trace, interrupt };
        loop {
            let span = Span::resumed(&driver.trace, || driver.about(&driver.progress));
            let pause = span.run(driver.attempt(&span)).await?;
            drop(span);
            if let Some(outcome) = driver.progress.outcome() {
                driver.report(&outcome);
                return Ok(outcome);
            }
            if !pause.is_zero() {
                driver.pause(pause).await?;
            }
        }
    }

    /// Does or undoes one step once, and stores what came of it. Answers how long to pause.
    ///
    /// A write that follows a call which succeeded shares the transaction that stores the call's
    /// outcome: one commit instead of two, and still no write without the outcome before it.
    async fn attempt(&mut self, span: &Span) -> Result<Duration, Stop> {
        let (acted, mut tx) = self.act(&self.progress, span).await?;
        let (mut next, mut pause) = self.decide(&self.progress, acted);
        if tx.is_none() && self.is_at_new_write(&next) {
            let span = Span::child(|| self.about(&next));
            let (acted, opened) = span.run(self.act(&next, &span)).await?;
            (next, pause) = self.decide(&next, acted);
            tx = opened;
        }
        let mut tx = match tx {
            Some(tx) => tx,
            None => self.inner.db.begin().await?,
        };
        let lease = self.inner.lease(pause);
        if !store::store(&mut tx, self.id, &next, (lease, lease.now + pause)).await? {
            return Err(Stop::Lost);
        }
        tx.commit().await?;
        self.progress = next;
        Ok(pause)
    }

    /// Whether the step before has just succeeded, and a write comes next.
    fn is_at_new_write(&self, next: &Progress) -> bool {
        let (now, then) = (&self.progress, next);
        let has_moved = (now.step, now.direction) != (then.step, then.direction);
        let goes_on = then.status == Status::Running && then.direction == now.direction;
        has_moved && goes_on && self.kind.mode(then.step, then.direction) == Mode::Write
    }

    /// A span of one attempt of a step.
    fn about(&self, at: &Progress) -> About {
        let step = self.kind.step_name(at.step);
        let (verb, direction) = match at.direction {
            Direction::Forward => ("run", "forward"),
            Direction::Undoing => ("undo", "undoing"),
        };
        let attributes = [
            KeyValue::new("stowage.saga.kind", self.kind.name()),
            KeyValue::new("stowage.saga.id", self.id.to_string()),
            KeyValue::new("stowage.saga.step", step),
            KeyValue::new("stowage.saga.direction", direction),
        ];
        About::new(SpanKind::Internal, format!("{verb} {step}"), attributes)
    }

    /// Runs the action that is next, and says in its span how that went.
    async fn act(&self, from: &Progress, span: &Span) -> Result<(Acted, Option<Tx>), Stop> {
        let acted = self.act_now(from).await?;
        match &acted.0 {
            Ok(_) => {}
            Err(StepError::Retry { .. }) => span.fail("RETRY"),
            Err(StepError::Fail { reason, .. }) => span.fail(reason.clone()),
        }
        Ok(acted)
    }

    /// Answers the open transaction of a write that succeeded.
    async fn act_now(&self, from: &Progress) -> Result<(Acted, Option<Tx>), Stop> {
        let (at, state) = ((from.step, from.direction), from.state.as_str());
        if let Some(failed) = self.fault(at, Moment::Before).await? {
            return Ok((Err(failed), None));
        }
        let (acted, tx) = match self.kind.mode(at.0, at.1) {
            Mode::Nothing => (Ok(state.to_owned()), None),
            Mode::Call => (self.call(at, state).await?, None),
            Mode::Write => {
                let mut tx = self.inner.db.begin().await?;
                self.lock_first(&mut tx);
                let acted = self.kind.act(at, &self.inner.context, state, Some(&mut tx)).await;
                // What a failed write has written must not be stored with its outcome.
                let tx = if acted.is_ok() { Some(tx) } else { None };
                (acted, tx)
            }
        };
        match self.fault(at, Moment::After).await? {
            Some(failed) => Ok((Err(failed), None)),
            None => Ok((acted, tx)),
        }
    }

    /// Calls other systems, with a bound of time, and renews the lease meanwhile.
    async fn call(&self, at: (usize, Direction), state: &str) -> Result<Acted, Stop> {
        let bound = self.inner.settings.step_timeout;
        let act = self.kind.act(at, &self.inner.context, state, None);
        let act = tokio::time::timeout(bound, AssertUnwindSafe(act).catch_unwind());
        let mut act = std::pin::pin!(act);
        loop {
            tokio::select! {
                acted = &mut act => return Ok(match acted {
                    Ok(Ok(acted)) => acted,
                    Ok(Err(_)) => Err(StepError::retry("the step panicked")),
                    Err(_) => Err(StepError::retry(format!("no answer within {bound:?}"))),
                }),
                () = tokio::time::sleep(self.inner.settings.lease / 3) => self.renew().await?,
            }
        }
    }

    /// Takes the row of the saga ahead of all that a write touches, as an operator's change of the
    /// saga does: two that took these in opposite orders would wait for each other. Where there is
    /// one writer nobody waits.
    fn lock_first(&self, tx: &mut Tx) {
        if !self.inner.db.is_exclusive() {
            store::lock(tx, self.id, self.inner.lease(Duration::ZERO));
        }
    }

    async fn renew(&self) -> Result<(), Stop> {
        let mut tx = self.inner.db.begin().await?;
        if !store::renew(&mut tx, self.id, self.inner.lease(Duration::ZERO)).await? {
            return Err(Stop::Lost);
        }
        Ok(tx.commit().await?)
    }

    /// Where the saga stands after an attempt, and how long to pause before the next.
    fn decide(&self, from: &Progress, acted: Acted) -> (Progress, Duration) {
        let mut next = from.clone();
        match acted {
            Ok(state) => {
                next.state = state;
                (next.attempts, next.attempt_error) = (0, None);
                self.move_on(&mut next);
                return (next, Duration::ZERO);
            }
            Err(error) => self.count_failure(&mut next, error),
        }
        let is_waiting = next.attempts > 0 && next.status == Status::Running;
        let pause = if is_waiting { self.backoff(next.attempts) } else { Duration::ZERO };
        (next, pause)
    }

    fn move_on(&self, next: &mut Progress) {
        match next.direction {
            Direction::Forward => {
                next.step += 1;
                if next.step >= self.kind.step_count() {
                    next.status = Status::Completed;
                }
            }
            Direction::Undoing if next.step == 0 => next.status = Status::Undone,
            Direction::Undoing => next.step -= 1,
        }
    }

    fn count_failure(&self, next: &mut Progress, error: StepError) {
        let step = self.kind.step_name(next.step);
        tracing::warn!(
            saga.id = %self.id, saga.kind = self.kind.name(), saga.step = step,
            saga.direction = ?next.direction, %error, "attempt of a saga's step failed"
        );
        metrics::counter!(RETRIED_METRIC, "kind" => self.kind.name(), "step" => step).increment(1);
        let Settings { attempts, undo_attempts, .. } = self.inner.settings;
        let has_way_back = next.direction == Direction::Forward && !self.kind.is_forward_only();
        next.attempt_error = Some(error.to_string());
        let (reason, why, is_final) = match error {
            StepError::Fail { reason, why } => (reason, why, has_way_back),
            StepError::Retry { why } => (Failure::EXHAUSTED.to_owned(), why, false),
        };
        next.attempts = next.attempts.saturating_add(1);
        let bound = if has_way_back { attempts } else { undo_attempts };
        if !is_final && next.attempts < bound {
            return;
        }
        // The failure that turned the saga back says more than the one that then stopped it.
        next.failure.get_or_insert_with(|| Failure { step: step.to_owned(), reason, why });
        if has_way_back {
            next.direction = Direction::Undoing;
            (next.attempts, next.attempt_error) = (0, None);
        } else {
            next.status = Status::Stuck;
        }
    }

    /// Doubles with each attempt up to the bound, then takes off up to half at random, so that
    /// sagas which failed together do not come back together.
    fn backoff(&self, attempts: u32) -> Duration {
        let Settings { backoff_first, backoff_max, .. } = self.inner.settings;
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let full = backoff_first.saturating_mul(factor).min(backoff_max);
        let mut byte = [0_u8];
        self.inner.random.fill(&mut byte);
        full - full.saturating_mul(u32::from(byte[0])) / 512
    }

    /// Waits, holding the lease, which was stored for that long; an operator may take it away, so
    /// it is looked at before the next attempt. When the process is to stop, the saga is given
    /// back, so that the next process need not wait for the lease to end.
    async fn pause(&self, pause: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = tokio::time::sleep(pause) => self.renew().await,
            () = self.interrupt.cancelled() => Err(Stop::Lost),
            () = self.inner.stop.cancelled() => {
                let mut lease = self.inner.lease(Duration::ZERO);
                lease.until = lease.now;
                let mut tx = self.inner.db.begin().await?;
                store::renew(&mut tx, self.id, lease).await?;
                tx.commit().await?;
                Err(Stop::Lost)
            }
        }
    }

    fn report(&self, outcome: &Outcome) {
        let (kind, status) = (self.kind.name(), self.progress.status.text());
        metrics::counter!(ENDED_METRIC, "kind" => kind, "status" => status).increment(1);
        match outcome {
            Outcome::Completed => {}
            Outcome::Undone(Failure { step, reason, why }) => tracing::warn!(
                saga.id = %self.id, saga.kind = kind, saga.step = step, reason, why,
                "saga was undone"
            ),
            Outcome::Stuck(Failure { step, reason, why }) => tracing::error!(
                saga.id = %self.id, saga.kind = kind, saga.step = step, reason, why,
                saga.at = self.kind.step_name(self.progress.step),
                "saga is stuck: it goes neither forward nor back by itself. Mend the cause, then \
                 run `stowage admin saga retry {id}`; `stowage admin saga show {id}` tells more",
                id = self.id,
            ),
        }
    }

    /// The fault that a test wants at this place.
    async fn fault(&self, at: (usize, Direction), when: Moment) -> Result<Option<StepError>, Stop> {
        let Some(faults) = &self.inner.settings.faults else { return Ok(None) };
        let is_undo = at.1 == Direction::Undoing;
        match faults.take(self.kind.step_name(at.0), is_undo, when) {
            None => Ok(None),
            Some(Fault::Fail) => Ok(Some(StepError::fail("INJECTED", "a fault of the test"))),
            Some(Fault::Retry | Fault::Away) => Ok(Some(StepError::retry("a fault of the test"))),
            Some(Fault::TurnBack) => {
                let failure = by_operator(self.kind.step_name(at.0), "a fault of the test");
                let now = self.inner.clock.now();
                let mut tx = self.inner.db.begin().await?;
                store::operate::turn_back(&mut tx, self.id, &failure, (now, now)).await?;
                tx.commit().await?;
                Ok(None)
            }
            Some(Fault::Crash) => {
                faults.report_crash();
                Err(Stop::Crash)
            }
        }
    }
}

/// Reads a saga that this process holds already, as the one that started it does, or claims it.
async fn hold<C>(inner: &Inner<C>, id: Uuid) -> Result<store::Record, Stop> {
    let db: &Db = &inner.db;
    let found = store::find(db, id).await?.ok_or(Stop::Lost)?;
    if found.lease_owner == inner.owner || found.progress.outcome().is_some() {
        return Ok(found);
    }
    let by = (inner.lease(Duration::ZERO), inner.settings.takeover);
    let mut tx = db.begin().await?;
    let claimed = store::claim(&mut tx, id, by).await?;
    tx.commit().await?;
    claimed.ok_or(Stop::Lost)
}
