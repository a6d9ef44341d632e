//! Events waiting to be sent, in the database of the role that made them.

use std::collections::BTreeSet;
use std::sync::Arc;

use stowage_db::{Args, Db, Error, Tx, args, next_id};
use stowage_trace::Trace;
use stowage_types::{Clock, Random, new_id};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

/// Writes the events of one role. Cheap to clone; all clones wake the same relay.
#[derive(Debug, Clone)]
pub struct Outbox {
    source: &'static str,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    nudge: Arc<Notify>,
}

impl Outbox {
    /// An outbox whose events carry `source`, such as `stowage/storage`.
    #[must_use]
    pub fn new(source: &'static str, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { source, clock, random, nudge: Arc::new(Notify::new()) }
    }

    /// Writes an event in the caller's transaction and wakes the relay once that is committed.
    ///
    /// Positions come from the role's `sequence`, whose row stays locked until the commit: they
    /// become visible in order, so the relay never passes over one.
    ///
    /// # Errors
    /// Those of the database; the caller's transaction is of no use then.
    pub async fn push(
        &self,
        tx: &mut Tx,
        kind: &'static str,
        subject: &str,
        message: &impl prost::Message,
    ) -> Result<(), Error> {
        let data = message.encode_to_vec();
        let id = self.new_id();
        let position = next_id(tx, "outbox").await?;
        let trace = Trace::current();
        tx.defer(
            "INSERT INTO outbox (position, id, source, type, subject, time, data, \
             traceparent, tracestate) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            args![
                position,
                id,
                self.source,
                kind,
                subject,
                self.clock.now(),
                data,
                trace.parent,
                trace.state,
            ],
        );
        tx.notify_after_commit(Arc::clone(&self.nudge));
        Ok(())
    }

    /// What wakes the relay.
    pub(crate) fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn new_id(&self) -> Uuid {
        new_id(&*self.clock, &*self.random)
    }

    /// Source of the events.
    pub(crate) fn source(&self) -> &'static str {
        self.source
    }
}

/// How many events wait in a role's outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Backlog {
    /// Events still to be delivered.
    pub pending: i64,
    /// Events given up on; a person must look.
    pub dead: i64,
}

/// How many events of the role that owns `db` wait since before a time.
///
/// # Errors
/// Those of the database.
pub async fn overdue(db: &Db, before: OffsetDateTime) -> Result<i64, Error> {
    const SQL: &str = "SELECT count(*) FROM outbox WHERE dead = false AND time < $1";
    let (count,): (i64,) = db.fetch_one(SQL, args![before]).await?;
    Ok(count)
}

/// Which of these subjects events of the role that owns `db` wait for.
///
/// # Errors
/// Those of the database.
pub async fn waiting_of(db: &Db, subjects: &[String]) -> Result<BTreeSet<String>, Error> {
    let mut args = Args::new();
    let places = args.push_all(subjects.iter().map(String::as_str));
    if places.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql =
        format!("SELECT DISTINCT subject FROM outbox WHERE dead = false AND subject IN ({places})");
    let rows: Vec<(String,)> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|(subject,)| subject).collect())
}

/// Counts the events in the outbox of the role that owns `db`.
///
/// # Errors
/// Those of the database.
pub async fn backlog(db: &Db) -> Result<Backlog, Error> {
    db.fetch_one(
        "SELECT count(*) FILTER (WHERE dead = false) AS pending, \
         count(*) FILTER (WHERE dead = true) AS dead FROM outbox",
        args![],
    )
    .await
}
