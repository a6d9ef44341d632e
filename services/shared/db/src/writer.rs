//! The task that owns the writing connection.
//!
//! It lends the connection to one [`Lease`] after the other, and commits when nobody waits or the
//! batch has reached its bound. The first lease begins the outer transaction, each works in a
//! savepoint of its own. A lease always comes back, because its `Drop` sends it; what it brings
//! says whether its savepoint is kept.
//!
//! A trip to SQLite's thread costs more than most statements. So what opens a lease's savepoint
//! (`opening`) goes ahead of its first statement, in one text. Two names of savepoints take turns:
//! a lease that was cancelled in its first statement may not have opened its own, and `ROLLBACK TO`
//! must then miss and not undo the lease before.
//!
//! SQLite undoes the whole outer transaction by itself after some errors (disk full, input or
//! output). A lease stops at its first failed statement, so nothing can run outside of a
//! transaction after that; here the missing savepoint shows and fails the batch.

use crate::error::Error;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// Transactions that one commit takes, at most.
const BATCH_MAX: usize = 64;
/// How long a batch takes in further transactions.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// A transaction that holds the writer for longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(2);

/// Somebody who wants to write, or to close.
pub(crate) enum Wish {
    Write(oneshot::Sender<Result<Lease, Error>>),
    Close(oneshot::Sender<()>),
}

/// Where the outer transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not begun.
    Outside,
    /// In a savepoint in which nothing has happened.
    Empty(Savepoint),
    /// In a savepoint whose transaction is kept.
    Kept(Savepoint),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    A,
    B,
}

impl Place {
    /// What has to run ahead of the next lease's first statement, and the savepoint it is in then.
    fn opening(self) -> (Option<&'static str>, Savepoint) {
        match self {
            Self::Outside => (Some("BEGIN IMMEDIATE; SAVEPOINT tx_a"), Savepoint::A),
            Self::Empty(savepoint) => (None, savepoint),
            Self::Kept(Savepoint::A) => (Some("RELEASE tx_a; SAVEPOINT tx_b"), Savepoint::B),
            Self::Kept(Savepoint::B) => (Some("RELEASE tx_b; SAVEPOINT tx_a"), Savepoint::A),
        }
    }
}

impl Savepoint {
    fn rollback_to(self) -> &'static str {
        match self {
            Self::A => "ROLLBACK TO tx_a",
            Self::B => "ROLLBACK TO tx_b",
        }
    }

    fn make(self) -> &'static str {
        match self {
            Self::A => "SAVEPOINT tx_a",
            Self::B => "SAVEPOINT tx_b",
        }
    }

    /// Keeps what is in the savepoint before this one.
    fn release_other(self) -> &'static str {
        match self {
            Self::A => "RELEASE tx_b",
            Self::B => "RELEASE tx_a",
        }
    }
}

/// What a lease has done with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Nothing.
    None,
    /// Its first statement was sent and not waited for: nobody knows what of it has run.
    Unclear,
    /// A statement has come to its end, good or bad.
    Ran,
}

/// The writing connection, lent.
pub(crate) struct Lease {
    /// `None` once it was given back.
    connection: Option<SqliteConnection>,
    /// `None` once it was given back.
    back: Option<oneshot::Sender<Returned>>,
    opening: Option<&'static str>,
    used: Use,
}

struct Returned {
    connection: SqliteConnection,
    used: Use,
    /// `None`: roll back.
    commit: Option<Commit>,
}

struct Commit {
    done: oneshot::Sender<Result<(), Error>>,
    notify: Vec<Arc<Notify>>,
}

impl Lease {
    /// What the next statement must run first.
    pub(crate) fn opening(&self) -> Option<&'static str> {
        self.opening
    }

    /// The connection, for a statement that begins with the opening; absent only after the lease
    /// was given back.
    pub(crate) fn begin_statement(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.opening = None;
        if self.used == Use::None {
            self.used = Use::Unclear;
        }
        self.connection.as_mut().ok_or_else(|| Error::unavailable("the transaction has ended"))
    }

    /// Notes that the statement has come to its end.
    pub(crate) fn end_statement(&mut self) {
        self.used = Use::Ran;
    }

    /// Gives the connection back and waits for the outer commit.
    pub(crate) async fn commit(mut self, notify: Vec<Arc<Notify>>) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.give_back(Some(Commit { done, notify }));
        outcome.await.unwrap_or_else(|_| Err(Error::unavailable("closed")))
    }

    fn give_back(&mut self, commit: Option<Commit>) {
        if let (Some(connection), Some(back)) = (self.connection.take(), self.back.take()) {
            // The writer is gone only when its runtime is; then there is nobody to tell.
            let _ = back.send(Returned { connection, used: self.used, commit });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

/// Runs until it is told to close or nobody is left who could write.
pub(crate) async fn run(
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    mut wishes: mpsc::Receiver<Wish>,
) {
    let (connection, batch) = (Some(connection), Vec::new());
    let mut writer = Writer { connection, options, place: Place::Outside, batch };
    let mut next = None;
    loop {
        let wish = match next.take() {
            Some(wish) => Some(wish),
            None => wishes.recv().await,
        };
        match wish {
            None => return,
            Some(Wish::Write(waiter)) => next = writer.batch(waiter, &mut wishes).await,
            Some(Wish::Close(closed)) => {
                wishes.close();
                if let Some(connection) = writer.connection.take()
                    && let Err(error) = connection.close().await
                {
                    tracing::warn!(%error, "the database was not closed cleanly");
                }
                let _ = closed.send(());
                return;
            }
        }
    }
}

struct Writer {
    /// `None` after it was lost: the next batch makes another.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    place: Place,
    batch: Vec<Commit>,
}

type Waiter = oneshot::Sender<Result<Lease, Error>>;

impl Writer {
    /// Serves `first` and whoever else comes in time, and commits. Returns a wish that it has
    /// taken and not served.
    async fn batch(&mut self, first: Waiter, wishes: &mut mpsc::Receiver<Wish>) -> Option<Wish> {
        if let Err(error) = self.connect().await {
            let _ = first.send(Err(error));
            return None;
        }
        let until = Instant::now() + BATCH_TIME;
        let mut waiter = first;
        loop {
            if let Err(error) = self.lend(waiter).await {
                self.fail(error).await;
                return None;
            }
            let is_open = self.batch.len() < BATCH_MAX && Instant::now() < until;
            match if is_open { next_wish(wishes).await } else { None } {
                Some(Wish::Write(next)) => waiter = next,
                other => {
                    self.commit().await;
                    return other;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
            self.place = Place::Outside;
        }
        Ok(())
    }

    /// Lends the connection. What the transaction did is undone unless it wants to be kept.
    async fn lend(&mut self, waiter: Waiter) -> Result<(), Error> {
        if waiter.is_closed() {
            return Ok(());
        }
        let (opening, savepoint) = self.place.opening();
        let connection = self.connection.take();
        let (back, returned) = oneshot::channel();
        let lent = Instant::now();
        // If the waiter has gone, the lease is dropped here or in the channel, and so returns.
        let _ = waiter.send(Ok(Lease { connection, back: Some(back), opening, used: Use::None }));
        let Ok(Returned { connection, used, commit }) = returned.await else {
            return Err(Error::unavailable("the writing connection was lost"));
        };
        self.connection = Some(connection);
        let held = lent.elapsed();
        if held > SLOW {
            let duration_ms = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(duration_ms, "a transaction held the writer for long");
        }
        match commit {
            Some(commit) => {
                self.batch.push(commit);
                if used != Use::None {
                    self.place = Place::Kept(savepoint);
                }
            }
            None if used == Use::None => {}
            None => self.place = self.undo(savepoint, used).await?,
        }
        Ok(())
    }

    /// Undoes what a lease did, and says where that leaves the outer transaction. An error means
    /// that those before it in the batch are lost too.
    async fn undo(&mut self, savepoint: Savepoint, used: Use) -> Result<Place, Error> {
        if self.run(savepoint.rollback_to()).await.is_ok() {
            return Ok(Place::Empty(savepoint));
        }
        // There is no such savepoint: it was not opened, or SQLite has undone everything. Within a
        // transaction another `BEGIN` is refused.
        let is_inside = self.run("BEGIN").await.is_err();
        if is_inside && used == Use::Unclear {
            // The opening has run in part or not at all; what is left of it is done here. A name
            // must not stay behind, or a later `ROLLBACK TO` would find it.
            let _ = self.run(savepoint.release_other()).await;
            self.run(savepoint.make()).await?;
            return Ok(Place::Empty(savepoint));
        }
        if !is_inside && self.batch.is_empty() {
            self.run("ROLLBACK").await?;
            return Ok(Place::Outside);
        }
        // What broke it is known to whoever did; the others may simply try again.
        Err(Error::unavailable("another transaction of the batch broke it"))
    }

    async fn commit(&mut self) {
        let ended = match self.place {
            Place::Outside => Ok(()),
            // An empty batch wrote nothing; undoing it costs no fsync.
            _ if self.batch.is_empty() => self.run("ROLLBACK").await,
            _ => self.run("COMMIT").await,
        };
        if let Err(error) = ended {
            return self.fail(error).await;
        }
        self.place = Place::Outside;
        for commit in self.batch.drain(..) {
            for notify in commit.notify {
                notify.notify_one();
            }
            let _ = commit.done.send(Ok(()));
        }
    }

    /// Undoes what may be left and tells everybody of the batch.
    async fn fail(&mut self, error: Error) {
        tracing::error!(error = %error, source = ?error, "a batch of transactions was not stored");
        // A fresh connection for the next batch: closing this one undoes what it has open.
        if let Some(connection) = self.connection.take() {
            let _ = connection.close_hard().await;
        }
        for commit in self.batch.drain(..) {
            let _ = commit.done.send(Err(error.again()));
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Error::unavailable("the writing connection was lost"));
        };
        sqlx::query(sql).execute(connection).await?;
        Ok(())
    }
}

/// Takes the next wish that is there. Callers who have just been told of a commit get one turn
/// of the scheduler to come back.
async fn next_wish(wishes: &mut mpsc::Receiver<Wish>) -> Option<Wish> {
    if let Ok(wish) = wishes.try_recv() {
        return Some(wish);
    }
    tokio::task::yield_now().await;
    wishes.try_recv().ok()
}
