//! A lease: of several processes that share a database, one does a piece of work at a time.
//!
//! It is a row that its holder renews, and that anybody may take over once it has run out. Whoever
//! holds it knows for how long he may act without asking again, and stops by himself: nothing
//! here can stop him. What he does has to be harmless when it overlaps for a moment all the same,
//! since clocks differ and machines pause; a lease keeps order, it does not guard truth.
//!
//! Needs the table `lease`, with the columns `name text PRIMARY KEY, owner uuid NOT NULL` and
//! `until timestamptz NOT NULL`.
//!
//! Rejected: session locks of PostgreSQL. They cling to a connection, do not pass a pooler, and
//! SQLite has none.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Db, Error, args};

/// One process's side of a lease.
#[derive(Debug)]
pub struct Lease {
    name: &'static str,
    owner: Uuid,
    duration: Duration,
    /// When it was last taken or renewed.
    taken: Option<Instant>,
}

/// Who holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This process, for four fifths of the duration; the rest is for clocks that differ.
    Held,
    /// Another process.
    Other,
}

impl Lease {
    /// A lease that nobody holds yet. `owner` is the process's own, made for this object.
    #[must_use]
    pub fn new(name: &'static str, owner: Uuid, duration: Duration) -> Self {
        Self { name, owner, duration, taken: None }
    }

    /// Takes the lease if it is free or has run out, and renews it once half of it has passed: in
    /// between this asks nobody. While another holds it this only reads.
    ///
    /// # Errors
    /// Those of the database. What was held is held until the end that was given.
    pub async fn keep(&mut self, db: &Db, now: OffsetDateTime) -> Result<Standing, Error> {
        let begun = Instant::now();
        if self.taken.is_some_and(|taken| begun < taken + self.duration / 2) {
            return Ok(Standing::Held);
        }
        let is_taken = !self.is_others(db, now).await? && self.try_take(db, now).await?;
        self.taken = is_taken.then_some(begun);
        Ok(if is_taken { Standing::Held } else { Standing::Other })
    }

    /// Keeps renewing a lease that is held, and returns when it is held no more: another has it,
    /// or the database could not be asked in time. To be run beside the work, which stops then.
    pub async fn hold(&mut self, db: &Db, now: impl Fn() -> OffsetDateTime) {
        let mut pause = self.duration / 2;
        while let Some(taken) = self.taken {
            let end = taken + self.duration * 4 / 5;
            let renewing = async {
                tokio::time::sleep(pause).await;
                self.keep(db, now()).await
            };
            pause = match tokio::time::timeout_at(end, renewing).await {
                Ok(Ok(Standing::Held)) => self.duration / 2,
                Ok(Ok(Standing::Other)) => return,
                Ok(Err(_)) => self.duration / 20,
                Err(_) => break,
            };
        }
        self.taken = None;
    }

    /// Gives the lease back, so that the next one need not wait. One that another has is left.
    ///
    /// # Errors
    /// Those of the database; the lease runs out by itself then.
    pub async fn release(&mut self, db: &Db) -> Result<(), Error> {
        if self.taken.take().is_none() {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        let sql = "DELETE FROM lease WHERE name = $1 AND owner = $2";
        tx.execute(sql, args![self.name, self.owner]).await?;
        tx.commit().await
    }

    async fn is_others(&self, db: &Db, now: OffsetDateTime) -> Result<bool, Error> {
        let sql = "SELECT owner FROM lease WHERE name = $1 AND until > $2";
        let owner: Option<(Uuid,)> = db.fetch_optional(sql, args![self.name, now]).await?;
        Ok(owner.is_some_and(|(owner,)| owner != self.owner))
    }

    async fn try_take(&self, db: &Db, now: OffsetDateTime) -> Result<bool, Error> {
        let mut tx = db.begin().await?;
        let rows = tx
            .execute(
                "INSERT INTO lease (name, owner, until) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
                 WHERE lease.owner = $2 OR lease.until <= $4",
                args![self.name, self.owner, now + self.duration, now],
            )
            .await?;
        tx.commit().await?;
        Ok(rows == 1)
    }
}

/// Runs `work`, which does not end by itself, in one of all processes that call this under the
/// lease's name, until the returned future is dropped. A process that gets the lease begins it
/// anew; one that loses it drops it where it stands.
///
/// Where no other process can have the database there is no lease to wait for.
#[derive(Debug)]
pub struct Turns {
    lease: Lease,
    db: Db,
}

impl Turns {
    /// Turns that a process which vanished holds up for `duration` at most. `owner` is the
    /// process's own, made for this object.
    #[must_use]
    pub fn new(name: &'static str, owner: Uuid, duration: Duration, db: Db) -> Self {
        Self { lease: Lease::new(name, owner, duration), db }
    }

    /// Runs `work` whenever it is this process's turn.
    pub async fn run<F: Future<Output = ()>>(
        &mut self,
        now: impl Fn() -> OffsetDateTime,
        work: impl Fn() -> F,
    ) {
        if self.db.is_exclusive() {
            return work().await;
        }
        let pause = self.lease.duration / 4;
        loop {
            match self.lease.keep(&self.db, now()).await {
                Ok(Standing::Held) => {
                    tokio::select! {
                        biased;
                        () = self.lease.hold(&self.db, &now) => {}
                        () = work() => return,
                    }
                }
                Ok(Standing::Other) => {}
                Err(error) => {
                    tracing::warn!(%error, lease = self.lease.name, "a lease cannot be taken now");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The same until `stop` ends; then the next process has its turn at once.
    pub async fn run_until<F: Future<Output = ()>>(
        mut self,
        stop: impl Future<Output = ()>,
        now: impl Fn() -> OffsetDateTime,
        work: impl Fn() -> F,
    ) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.run(now, work) => {}
        }
        self.give_back().await;
    }

    /// Lets the next process have its turn at once.
    pub async fn give_back(&mut self) {
        if let Err(error) = self.lease.release(&self.db).await {
            tracing::warn!(%error, lease = self.lease.name, "the lease runs out by itself");
        }
    }
}
