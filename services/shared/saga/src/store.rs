//! The table of sagas.

pub(crate) mod operate;

use stowage_db::{Db, Error, Tx, args};
use stowage_trace::Trace;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::kind::Direction;
use crate::{Failure, Outcome};

/// A saga as a driver needs it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) progress: Progress,
    pub(crate) lease_owner: String,
    /// Of the call that began it.
    pub(crate) trace: Trace,
}

/// Where a saga stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) state: String,
    /// The step to do, or to undo, next.
    pub(crate) step: usize,
    pub(crate) direction: Direction,
    pub(crate) attempts: u32,
    pub(crate) status: Status,
    pub(crate) failure: Option<Failure>,
    /// Why the last attempt at this step failed.
    pub(crate) attempt_error: Option<String>,
}

/// Whether a saga goes on, and how it ended if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It goes on, or will when somebody finds it.
    Running,
    /// Every step is done.
    Completed,
    /// Everything is undone.
    Undone,
    /// An operator must look.
    Stuck,
}

impl Status {
    /// As it is stored and shown: `running`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }
}

impl Progress {
    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let failure = || {
            self.failure.clone().unwrap_or_else(|| Failure {
                step: String::new(),
                reason: String::new(),
                why: String::new(),
            })
        };
        match self.status {
            Status::Running => None,
            Status::Completed => Some(Outcome::Completed),
            Status::Undone => Some(Outcome::Undone(failure())),
            Status::Stuck => Some(Outcome::Stuck(failure())),
        }
    }
}

/// Who holds a saga, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease<'a> {
    pub(crate) owner: &'a str,
    pub(crate) now: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    state: String,
    step: i64,
    direction: String,
    status: String,
    attempts: i64,
    lease_owner: String,
    failure_step: Option<String>,
    failure_reason: Option<String>,
    failure_why: Option<String>,
    attempt_error: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl From<Row> for Record {
    fn from(row: Row) -> Self {
        let failure = row.failure_step.map(|step| Failure {
            step,
            reason: row.failure_reason.unwrap_or_default(),
            why: row.failure_why.unwrap_or_default(),
        });
        let progress = Progress {
            state: row.state,
            step: usize::try_from(row.step).unwrap_or(0),
            direction: match row.direction.as_str() {
                "forward" => Direction::Forward,
                _ => Direction::Undoing,
            },
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            status: match row.status.as_str() {
                "running" => Status::Running,
                "completed" => Status::Completed,
                "undone" => Status::Undone,
                _ => Status::Stuck,
            },
            failure,
            attempt_error: row.attempt_error,
        };
        let trace = Trace { parent: row.traceparent, state: row.tracestate };
        Self { id: row.id, kind: row.kind, progress, lease_owner: row.lease_owner, trace }
    }
}

pub(crate) async fn insert(tx: &mut Tx, record: &Record, lease: Lease<'_>) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO saga (id, kind, state, step, direction, status, attempts, \
        next_attempt_time, lease_owner, lease_until, create_time, update_time, traceparent, \
        tracestate) VALUES ($1, $2, $3, $4, 'forward', $5, 0, $6, $7, $8, $6, $6, $9, $10)";
    let progress = &record.progress;
    let args = args![
        record.id,
        &record.kind,
        &progress.state,
        as_i64(progress.step),
        progress.status.text(),
        lease.now,
        lease.owner,
        lease.until,
        record.trace.parent.as_deref(),
        record.trace.state.as_deref(),
    ];
    tx.execute(SQL, args).await.map(|_| ())
}

pub(crate) async fn find(db: &Db, id: Uuid) -> Result<Option<Record>, Error> {
    const SQL: &str = "SELECT id, kind, state, step, direction, status, attempts, lease_owner, \
        failure_step, failure_reason, failure_why, attempt_error, traceparent, \
        tracestate FROM saga WHERE id = $1";
    Ok(db.fetch_optional::<Row>(SQL, args![id]).await?.map(Record::from))
}

/// Takes a running saga whose lease is over, or whoever's it is.
pub(crate) async fn claim(
    tx: &mut Tx,
    id: Uuid,
    (lease, takes_over): (Lease<'_>, bool),
) -> Result<Option<Record>, Error> {
    const SQL: &str = "UPDATE saga SET lease_owner = $2, lease_until = $3, update_time = $4 \
        WHERE id = $1 AND status = 'running' AND (lease_owner = $2 OR lease_until <= $4 OR $5) \
        RETURNING id, kind, state, step, direction, status, attempts, lease_owner, \
        failure_step, failure_reason, failure_why, attempt_error, traceparent, \
        tracestate";
    let args = args![id, lease.owner, lease.until, lease.now, takes_over];
    Ok(tx.fetch_optional::<Row>(SQL, args).await?.map(Record::from))
}

/// Stores an outcome; `false` if the lease was lost.
pub(crate) async fn store(
    tx: &mut Tx,
    id: Uuid,
    progress: &Progress,
    (lease, next_attempt): (Lease<'_>, OffsetDateTime),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE saga SET state = $3, step = $4, direction = $5, status = $6, \
        attempts = $7, next_attempt_time = $8, lease_until = $9, failure_step = $10, \
        failure_reason = $11, failure_why = $12, update_time = $13, attempt_error = $14 \
        WHERE id = $1 AND lease_owner = $2 AND status = 'running'";
    let failure = progress.failure.as_ref();
    let args = args![
        id,
        lease.owner,
        &progress.state,
        as_i64(progress.step),
        match progress.direction {
            Direction::Forward => "forward",
            Direction::Undoing => "undoing",
        },
        progress.status.text(),
        progress.attempts,
        next_attempt,
        lease.until,
        failure.map(|f| f.step.as_str()),
        failure.map(|f| f.reason.as_str()),
        failure.map(|f| f.why.as_str()),
        lease.now,
        progress.attempt_error.as_deref(),
    ];
    Ok(tx.execute(SQL, args).await? == 1)
}

const RENEW: &str = "UPDATE saga SET lease_until = $3 \
    WHERE id = $1 AND lease_owner = $2 AND status = 'running'";

/// Holds a saga for longer; `false` if the lease was lost.
pub(crate) async fn renew(tx: &mut Tx, id: Uuid, lease: Lease<'_>) -> Result<bool, Error> {
    Ok(tx.execute(RENEW, args![id, lease.owner, lease.until]).await? == 1)
}

/// The same ahead of the next statement. If the lease was lost, [`store`] will say so.
pub(crate) fn lock(tx: &mut Tx, id: Uuid, lease: Lease<'_>) {
    tx.defer(RENEW, args![id, lease.owner, lease.until]);
}

/// Running sagas of a kind whose lease is over; where this process takes over, also those that
/// another holds.
pub(crate) async fn open_ones(
    db: &Db,
    kind: &str,
    (lease, takes_over): (Lease<'_>, bool),
    max: usize,
) -> Result<Vec<Uuid>, Error> {
    const SQL: &str = "SELECT id FROM saga WHERE status = 'running' AND kind = $1 \
        AND (lease_until <= $2 OR ($3 AND lease_owner <> $4)) ORDER BY lease_until LIMIT $5";
    let args = args![kind, lease.now, takes_over, lease.owner, as_i64(max)];
    let rows = db.fetch_all(SQL, args).await?;
    Ok(rows.into_iter().map(|(id,): (Uuid,)| id).collect())
}

/// Kinds that have running sagas.
pub(crate) async fn open_kinds(db: &Db) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT DISTINCT kind FROM saga WHERE status = 'running'";
    let rows = db.fetch_all(SQL, args![]).await?;
    Ok(rows.into_iter().map(|(kind,): (String,)| kind).collect())
}

/// Deletes some sagas that ended before a time; the stuck stay.
pub(crate) async fn purge(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM saga WHERE id IN (SELECT id FROM saga \
        WHERE status IN ('completed', 'undone') AND update_time < $1 LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
