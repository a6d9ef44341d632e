//! Works on the moves of accounts, page by page, each state after the other.
//!
//! One process at a time works at all of them, under a lease, and drops its work where it stands
//! when it loses that; what it stores is conditional on the state that it saw. So whoever cancels a
//! move ends its work at the next page, and a move that was switched is never written to again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use stowage_engine::{AccountAccess, Engine, Error as EngineError};
use stowage_types::S3uid;
use uuid::Uuid;

use super::account_move::{AccountMove, State};
use super::account_move_pass::{Pass, abort_uploads};
use super::engine_account::kept_by;
use super::{Site, Storage, signed};
use crate::error::Error;
use crate::store;

/// How often to look for moves that nobody works on, and whether one was cancelled meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest time one call to an engine may take that carries no content.
const ENGINE_CALL_MAX: Duration = Duration::from_secs(60);
/// Pages of one move before others get their turn.
const TURN_PAGES: u32 = 20;
/// Attempts without any progress before it has failed: some two hours of them.
const ATTEMPTS_MAX: u32 = 120;
/// The longest pause between two of them; the first is a second.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Passes while the customer goes on writing, at most; the rest is left to the one without him.
const PASSES_MAX: i64 = 3;
/// A pass that has changed no more is the last one while he goes on.
const CHANGES_FEW: i64 = 1000;
/// Comparisons that may fail before the move does.
const ROUNDS_MAX: i64 = 3;
/// Unfinished uploads of a bucket that are counted.
const UPLOADS_MAX: u32 = 1000;
/// Buckets that are looked at with one call.
const BUCKETS_PAGE: u32 = 1000;
/// Rows forgotten in one transaction.
const FORGET_ROWS: i64 = 1000;

/// Why a turn ends before its time.
pub(super) enum Stop {
    /// It is in another state by now, or waits for somebody.
    Over,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A call to an engine, with a bound of time.
pub(super) async fn bounded<T>(
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let timed = tokio::time::timeout(ENGINE_CALL_MAX, call).await;
    timed.unwrap_or_else(|_| Err(EngineError::unavailable("the engine takes too long")))
}

/// One turn at one move.
struct Turn<'a> {
    storage: &'a Storage,
    job: AccountMove,
}

impl Storage {
    /// Works on moves, for ever.
    pub(crate) async fn move_accounts_on(&self) {
        let mut turns = FuturesUnordered::new();
        let mut taken = BTreeSet::new();
        loop {
            match self.due_moves(&taken).await {
                Ok(due) => {
                    for job in due {
                        taken.insert(job.id);
                        turns.push(self.move_turn(job));
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "moves of accounts wait: the database failed");
                }
            }
            tokio::select! {
                Some(ended) = turns.next() => { taken.remove(&ended); }
                () = self.move_due.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Moves that wait and that nobody here works on, as many as there is room for.
    async fn due_moves(&self, taken: &BTreeSet<Uuid>) -> Result<Vec<AccountMove>, Error> {
        let max = usize::try_from(self.config.moves_max).unwrap_or(1);
        let room = max.saturating_sub(taken.len());
        if room == 0 {
            return Ok(Vec::new());
        }
        let rows = signed((max + taken.len()) as u64);
        let mut due = store::account_move::due(&self.db, self.clock.now(), rows).await?;
        due.retain(|job| !taken.contains(&job.id));
        due.truncate(room);
        Ok(due)
    }

    async fn move_turn(&self, job: AccountMove) -> Uuid {
        let id = job.id;
        let mut turn = Turn { storage: self, job };
        for _ in 0..TURN_PAGES {
            let stepped = {
                let (state, step) = (turn.job.state, turn.step());
                tokio::select! {
                    stepped = step => stepped,
                    () = self.left(id, state) => Err(Stop::Over),
                }
            };
            match stepped {
                Ok(()) => {}
                Err(Stop::Over) => break,
                Err(Stop::Failed(error)) => {
                    if let Err(error) = turn.put_off(error).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "a move of an account waits");
                    }
                    break;
                }
            }
        }
        id
    }

    /// Waits until a move is not in a state any more, so that one that was cancelled ends while a
    /// large object is copied, too.
    async fn left(&self, id: Uuid, state: State) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let is_in = store::account_move::is_in(&self.db, id, state).await;
            if matches!(is_in, Ok(false)) {
                return;
            }
        }
    }
}

impl Turn<'_> {
    async fn sites(&self) -> Result<(std::sync::Arc<Site>, std::sync::Arc<Site>), Error> {
        let (storage, job) = (self.storage, &self.job);
        Ok((storage.site(&job.from).await?, storage.site(&job.to).await?))
    }

    async fn step(&mut self) -> Result<(), Stop> {
        match self.job.state {
            State::Freezing if self.job.freeze_time.is_none() => self.freeze().await,
            State::Copying | State::Freezing | State::Verifying | State::Confirming => {
                self.pass().await
            }
            State::Cancelling => self.cancel().await,
            State::Failing => self.fail().await,
            _ => Err(Stop::Over),
        }
    }

    /// Takes a page of the pass under way, or ends it.
    async fn pass(&mut self) -> Result<(), Stop> {
        let (from, to) = self.sites().await?;
        let pass = Pass { storage: self.storage, job: &self.job, from: &from, to: &to };
        let Some(advance) = pass.step().await? else {
            return match self.job.state {
                State::Copying => self.end_copying(&from).await,
                State::Freezing => self.end_following().await,
                State::Verifying => self.end_comparing(&to).await,
                _ => self.confirm(&from).await,
            };
        };
        let (id, state, now) = (self.job.id, self.job.state, self.storage.clock.now());
        let mut tx = self.storage.db.begin().await?;
        let job = store::account_move::advance(&mut tx, id, state, &advance, now).await?;
        tx.commit().await?;
        self.job = job.ok_or(Stop::Over)?;
        Ok(())
    }

    async fn turn_to(&mut self, to: State, why: &str) -> Result<(), Stop> {
        let (id, states, now) = (self.job.id, (self.job.state, to), self.storage.clock.now());
        let mut tx = self.storage.db.begin().await?;
        let job = store::account_move::set_state(&mut tx, id, states, why, now).await?;
        tx.commit().await?;
        self.job = job.ok_or(Stop::Over)?;
        Ok(())
    }

    /// Another pass while the customer goes on, unless there is little left for one without him.
    async fn end_copying(&mut self, from: &Site) -> Result<(), Stop> {
        if !self.job.faults.is_empty() {
            return self.turn_to(State::Failing, "some objects cannot be moved").await;
        }
        if self.job.changes > CHANGES_FEW && self.job.passes + 1 < PASSES_MAX {
            let (id, now) = (self.job.id, self.storage.clock.now());
            let mut tx = self.storage.db.begin().await?;
            let job = store::account_move::end_pass(&mut tx, id, State::Copying, now).await?;
            tx.commit().await?;
            self.job = job.ok_or(Stop::Over)?;
            return Ok(());
        }
        let uploads = count_uploads(&*from.engine, &self.job.uid).await?;
        let mut tx = self.storage.db.begin().await?;
        store::account_move::set_uploads(&mut tx, self.job.id, uploads).await?;
        tx.commit().await?;
        self.turn_to(State::Copied, "").await?;
        Err(Stop::Over)
    }

    /// Makes the old side read-only, and lets what is under way come to its end.
    async fn freeze(&mut self) -> Result<(), Stop> {
        let (from, _) = self.sites().await?;
        let access = match from.engine.capabilities().read_only {
            true => AccountAccess::ReadOnly,
            false => AccountAccess::Suspended,
        };
        let access = access.max(self.access().await?);
        bounded(from.engine.set_access(&self.job.uid, access)).await?;
        let now = self.storage.clock.now();
        let settled = now + Duration::from_millis(self.storage.config.move_settle_ms);
        let mut tx = self.storage.db.begin().await?;
        let job = store::account_move::set_frozen(&mut tx, self.job.id, (now, settled)).await?;
        tx.commit().await?;
        self.job = job.ok_or(Stop::Over)?;
        Err(Stop::Over)
    }

    /// What its keys open but for the move.
    async fn access(&self) -> Result<AccountAccess, Error> {
        let account = store::account::find(&self.storage.db, &self.job.uid).await?;
        let account = account.ok_or(Error::AccountNotFound)?;
        Ok(account.limits.access)
    }

    async fn end_following(&mut self) -> Result<(), Stop> {
        match self.job.faults.is_empty() {
            true => self.turn_to(State::Verifying, "").await,
            false => self.turn_to(State::Failing, "some objects cannot be moved").await,
        }
    }

    async fn end_comparing(&mut self, to: &Site) -> Result<(), Stop> {
        if self.job.faults.is_empty() {
            end_uploads(&*to.engine, &self.job.uid).await?;
            self.turn_to(State::Verified, "").await?;
            return Err(Stop::Over);
        }
        if self.job.rounds + 1 >= ROUNDS_MAX {
            return self.turn_to(State::Failing, "both sides do not become the same").await;
        }
        let mut tx = self.storage.db.begin().await?;
        store::account_move::count_round(&mut tx, self.job.id).await?;
        tx.commit().await?;
        self.turn_to(State::Freezing, "").await
    }

    /// Deletes the old side.
    async fn confirm(&mut self, from: &Site) -> Result<(), Stop> {
        if !self.job.faults.is_empty() {
            return self.confirm_later().await;
        }
        from.engine.remove_account(&self.job.uid, true).await?;
        self.forget_copies().await?;
        self.turn_to(State::Confirmed, "").await?;
        Err(Stop::Over)
    }

    /// Keeps the old side, which has something that the new one does not take, and tries again.
    async fn confirm_later(&mut self) -> Result<(), Stop> {
        let why = self.job.faults.join("; ");
        self.turn_to(State::Confirming, "").await?;
        let next = self.storage.clock.now() + BACK_OFF_MAX;
        let (id, mut tx) = (self.job.id, self.storage.db.begin().await?);
        store::account_move::forget_faults(&mut tx, id).await?;
        store::account_move::put_off(&mut tx, id, State::Confirming, (&why, next)).await?;
        tx.commit().await?;
        Err(Stop::Over)
    }

    /// Lets the account go on at the old side, and deletes what was copied.
    async fn cancel(&mut self) -> Result<(), Stop> {
        let (_, to) = self.sites().await?;
        self.thaw().await?;
        to.engine.remove_account(&self.job.uid, true).await?;
        self.forget_copies().await?;
        self.turn_to(State::Cancelled, "").await?;
        Err(Stop::Over)
    }

    /// Lets the account go on at the old side.
    async fn fail(&mut self) -> Result<(), Stop> {
        self.thaw().await?;
        let why = self.job.why.clone();
        self.turn_to(State::Failed, &why).await?;
        Err(Stop::Over)
    }

    async fn thaw(&self) -> Result<(), Stop> {
        let account = store::account::find(&self.storage.db, &self.job.uid).await?;
        if !account.is_some_and(|account| account.is_frozen) {
            return Ok(());
        }
        let from = self.storage.site(&self.job.from).await?;
        let access = kept_by(&*from.engine, self.access().await?);
        bounded(from.engine.set_access(&self.job.uid, access)).await?;
        let mut tx = self.storage.db.begin().await?;
        store::account::set_frozen(&mut tx, &self.job.uid, false).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn forget_copies(&self) -> Result<(), Error> {
        loop {
            let mut tx = self.storage.db.begin().await?;
            let rows =
                store::account_move::forget_copies(&mut tx, self.job.id, FORGET_ROWS).await?;
            tx.commit().await?;
            if rows < FORGET_ROWS.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// Lets go for a while after a failure, or lets the move fail, which only one that is not
    /// switched can.
    async fn put_off(&mut self, error: Error) -> Result<(), Error> {
        let is_passing = matches!(
            error,
            Error::EngineUnavailable { .. } | Error::Unavailable { .. } | Error::Unclear { .. }
        );
        let attempts = self.job.attempts + 1;
        let is_final = (!is_passing || attempts >= ATTEMPTS_MAX)
            && matches!(self.job.state, State::Copying | State::Freezing | State::Verifying);
        {
            let (id, error) = (self.job.id, &error as &dyn std::error::Error);
            tracing::warn!(move.id = %id, error, is_final, "a move of an account is held up");
        }
        let (id, state, why) = (self.job.id, self.job.state, error.to_string());
        let now = self.storage.clock.now();
        let seconds = 1_u64 << (attempts - 1).min(6);
        let next = now + Duration::from_secs(seconds).min(BACK_OFF_MAX);
        let mut tx = self.storage.db.begin().await?;
        match is_final {
            true => {
                let states = (state, State::Failing);
                store::account_move::set_state(&mut tx, id, states, &why, now).await?;
            }
            false => {
                store::account_move::put_off(&mut tx, id, state, (&why, next)).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn count_uploads(engine: &dyn Engine, uid: &S3uid) -> Result<i64, EngineError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = bounded(engine.list_buckets(uid, after.as_ref(), BUCKETS_PAGE)).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.bucket.clone());
        for info in page {
            match bounded(engine.list_uploads(uid, &info.bucket, None, UPLOADS_MAX)).await {
                Ok(uploads) => count += signed(uploads.len() as u64),
                Err(EngineError::NotFound | EngineError::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Ends what attempts of ours have left of objects in parts: nobody else has been there.
async fn end_uploads(engine: &dyn Engine, uid: &S3uid) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let page = bounded(engine.list_buckets(uid, after.as_ref(), BUCKETS_PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.bucket.clone());
        for info in page {
            abort_uploads(engine, uid, &info.bucket).await?;
        }
    }
}
