//! The task that owns the writing connection.
//!
//! It begins an outer transaction when somebody wants to write, lends the connection to one
//! [`Lease`] after the other, and commits when nobody waits or the batch has reached its bound.
//! A lease always comes back, because its `Drop` sends it; what it brings says whether its
//! savepoint is kept. `ROLLBACK TO` leaves the savepoint in place for the next lease.
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

/// The writing connection, lent.
pub(crate) struct Lease {
    /// `None` once it was given back.
    connection: Option<SqliteConnection>,
    /// `None` once it was given back.
    back: Option<oneshot::Sender<Returned>>,
}

struct Returned {
    connection: SqliteConnection,
    /// `None`: roll back.
    commit: Option<Commit>,
}

struct Commit {
    done: oneshot::Sender<Result<(), Error>>,
    notify: Vec<Arc<Notify>>,
}

impl Lease {
    /// The connection; absent only after the lease was given back.
    pub(crate) fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.connection.as_mut().ok_or_else(|| Error::unavailable("the transaction has ended"))
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
            let _ = back.send(Returned { connection, commit });
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
    let mut writer = Writer { connection: Some(connection), options, batch: Vec::new() };
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
    batch: Vec<Commit>,
}

type Waiter = oneshot::Sender<Result<Lease, Error>>;

impl Writer {
    /// Serves `first` and whoever else comes in time, and commits. Returns a wish that it has
    /// taken and not served.
    async fn batch(&mut self, first: Waiter, wishes: &mut mpsc::Receiver<Wish>) -> Option<Wish> {
        if let Err(error) = self.begin().await {
            self.connection = None;
            let _ = first.send(Err(error));
            return None;
        }
        let until = Instant::now() + BATCH_TIME;
        let mut waiter = first;
        loop {
            let kept = self.lend(waiter).await;
            let is_open = self.batch.len() < BATCH_MAX && Instant::now() < until;
            let next = if is_open { next_wish(wishes).await } else { None };
            let settled = match (kept, &next) {
                (Ok(true), Some(Wish::Write(_))) => self.run("RELEASE tx; SAVEPOINT tx").await,
                // The last savepoint needs no statement of its own: `COMMIT` releases it.
                (Ok(_), _) => Ok(()),
                (Err(error), _) => Err(error),
            };
            if let Err(error) = settled {
                self.fail(error).await;
                return next;
            }
            match next {
                Some(Wish::Write(next)) => waiter = next,
                other => {
                    self.commit().await;
                    return other;
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.run("BEGIN IMMEDIATE; SAVEPOINT tx").await
    }

    /// Lends the connection, and returns whether the transaction wants to be kept. If it does
    /// not, it is undone.
    async fn lend(&mut self, waiter: Waiter) -> Result<bool, Error> {
        if waiter.is_closed() {
            return Ok(false);
        }
        let connection = self.connection.take();
        let (back, returned) = oneshot::channel();
        let lent = Instant::now();
        // If the waiter has gone, the lease is dropped here or in the channel, and so returns.
        let _ = waiter.send(Ok(Lease { connection, back: Some(back) }));
        let Ok(Returned { connection, commit }) = returned.await else {
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
                Ok(true)
            }
            None => match self.run("ROLLBACK TO tx").await {
                Ok(()) => Ok(false),
                // What broke it is known to whoever did; the others may simply try again.
                Err(error) => Err(Error::Unavailable {
                    why: "another transaction of the batch broke it",
                    source: Some(error.into()),
                }),
            },
        }
    }

    async fn commit(&mut self) {
        // An empty batch wrote nothing; undoing it costs no fsync.
        let end = if self.batch.is_empty() { "ROLLBACK" } else { "COMMIT" };
        if let Err(error) = self.run(end).await {
            return self.fail(error).await;
        }
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
