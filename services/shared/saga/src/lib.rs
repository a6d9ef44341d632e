//! Sagas: one request, several systems, and either all of it or nothing in the end.
//!
//! A saga is a line of steps. Each has an action and an undo; both may run twice and so must be
//! written as "ensure". A row in the role's database says where each saga stands, and any process
//! that finds the row can go on from there.
//!
//! Invariants:
//! - A step's outcome (new state, next step) is stored before the next step begins; if that is an
//!   [`Action::Write`], in its transaction.
//! - A definite failure undoes backwards, from the failed step *inclusive*, since its effect is
//!   unclear, to the first. What mutated the state in a failed attempt is not kept, so an undo must
//!   find its work by keys that were there before the step (the saga's own ids).
//! - At most one driver advances a saga: it holds a lease, and every store of an outcome is
//!   conditional on holding it still. A driver that lost it stops without a trace.
//! - A saga whose undo keeps failing becomes `stuck`, with an error in the log and a metric; it is
//!   kept until an operator tries it again. No saga is ever dropped.
//! - An operator may try again or turn back a saga whoever holds it: his write takes the lease
//!   away, and who held it stops without a trace (module `operate`).
//! - Its steps are spans of the trace of the call that began it, which is stored with it: also when
//!   another process goes on with it.
//! - [`Action::Write`] runs in the very transaction that stores its outcome: exactly once.
//!
//! Compared and not used: the `steno` crate (a graph of actions with its own store trait and log;
//! our sagas are lines, and want their first step inside the caller's transaction); engines that
//! replay code from an event history, such as Temporal or Restate (a server to run beside ours,
//! and code that must stay deterministic for ever); a queue of jobs, such as apalis or underway
//! (retries, but neither undo nor a waiting caller). Omicron's use of steno is where the undo rules
//! and the idea of a failure matrix come from.
//!
//! It is more than the few hundred lines that running and undoing take: operators list, retry and
//! turn back (`operate`), every kind's faults are generated from its declaration (`matrix`), and
//! two databases want the same order of locks.
//!
//! A row also says why its last attempt failed, so that an operator sees what an undo meets, beside
//! the failure that turned the saga back.
//!
//! The table is in `schema.sql`; a role copies it into its own migration.

mod driver;
mod engine;
mod kind;
pub mod matrix;
mod message;
mod operate;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stowage_db::Tx;

pub use engine::{Builder, Error, Sagas};
pub use kind::Direction;
pub use operate::{Filter, Info};
pub use store::Status;

/// The table of sagas, to be copied into the migration of a role that runs them.
pub const SCHEMA: &str = include_str!("schema.sql");
/// What the table got later, for a migration of its own.
pub const SCHEMA_STUCK: &str = include_str!("schema_stuck.sql");
/// What the table got after that, for another one.
pub const SCHEMA_ERROR: &str = include_str!("schema_error.sql");
/// Its columns for the trace that a saga belongs to, likewise.
pub const SCHEMA_TRACE: &str = include_str!("schema_trace.sql");

/// Counter of sagas that ended, by `kind` and `status`.
pub const ENDED_METRIC: &str = "stowage_saga_ended_total";
/// Gauge of sagas that are stuck, by `kind`, from the table: all processes of a role show the same.
pub const STUCK_METRIC: &str = "stowage_saga_stuck";
/// Counter of attempts that failed, by `kind` and `step`.
pub const RETRIED_METRIC: &str = "stowage_saga_failed_attempts_total";

/// What a step came to when it did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Unclear, or likely to pass: tried again after a pause, a bounded number of times.
    #[error("{why}")]
    Retry {
        /// Why, for the log and for the failure that is recorded when the attempts are used up.
        why: String,
    },
    /// Definite: no repeat can help, undo.
    #[error("{reason}: {why}")]
    Fail {
        /// For programs: `BUCKET_NAME_TAKEN`.
        reason: String,
        /// For people.
        why: String,
    },
}

impl StepError {
    /// A [`StepError::Retry`].
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into() }
    }

    /// A [`StepError::Fail`].
    pub fn fail(reason: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Fail { reason: reason.into(), why: why.into() }
    }
}

impl From<stowage_db::Error> for StepError {
    fn from(error: stowage_db::Error) -> Self {
        Self::retry(format!("database: {error}"))
    }
}

/// What a step answers.
pub type StepResult = Result<(), StepError>;
/// An action that calls other systems.
pub type StepFn<C, S> = for<'a> fn(&'a C, &'a mut S) -> BoxFuture<'a, StepResult>;
/// An action that writes to the role's own database only.
pub type WriteFn<C, S> = for<'a> fn(&'a C, &'a mut S, &'a mut Tx) -> BoxFuture<'a, StepResult>;

/// What a step does.
pub enum Action<C, S> {
    /// Calls other systems. May run twice.
    Call(StepFn<C, S>),
    /// Writes in the transaction that stores the outcome. At the head of a saga: in the
    /// transaction of [`Sagas::start`].
    Write(WriteFn<C, S>),
}

/// How a step is undone. An undo must succeed where there is nothing to undo.
pub enum Undo<C, S> {
    /// By calling other systems. May run twice.
    Call(StepFn<C, S>),
    /// By a write in the transaction that stores the outcome.
    Write(WriteFn<C, S>),
    /// It need not be.
    None {
        /// Why not.
        because: &'static str,
    },
}

/// One step.
pub struct Step<C, S> {
    /// Verb phrase: `create_bucket`.
    pub name: &'static str,
    /// What it does.
    pub run: Action<C, S>,
    /// How it is undone.
    pub undo: Undo<C, S>,
}

/// A kind of saga.
pub trait Saga: 'static {
    /// `accounts.create_account.v1`. Other steps, other version: a row of a kind that no program
    /// knows is left alone and reported.
    const KIND: &'static str;
    /// Whether there is no way back: it is never undone, and gets stuck when its attempts (as many
    /// as an undo has) are used up.
    const FORWARD_ONLY: bool = false;
    /// What steps work with: clients, database, keys.
    type Context: Send + Sync + 'static;
    /// What is known so far. Stored as JSON, so never with a secret in it.
    type State: Serialize + DeserializeOwned + Send + 'static;
    /// The steps, first to last.
    const STEPS: &'static [Step<Self::Context, Self::State>];
}

/// The failure that made a saga turn back, or get stuck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Name of the step.
    pub step: String,
    /// For programs; [`Failure::EXHAUSTED`] if its attempts were used up.
    pub reason: String,
    /// For people.
    pub why: String,
}

impl Failure {
    /// Reason of a failure by too many attempts.
    pub const EXHAUSTED: &'static str = "ATTEMPTS_EXHAUSTED";
    /// Reason of a saga that an operator turned back.
    pub const BY_OPERATOR: &'static str = "UNDONE_BY_OPERATOR";
}

/// How a saga ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Completed,
    /// A step failed and everything was undone.
    Undone(Failure),
    /// It can go neither forward nor back; an operator must look.
    Stuck(Failure),
}

/// Bounds of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a driver owns a saga without a sign of life. Default 10 s.
    pub lease: Duration,
    /// How long one attempt of a step may take; after that it is unclear. Default 20 s.
    pub step_timeout: Duration,
    /// Attempts of a step before it counts as failed. Default 6.
    pub attempts: u32,
    /// Attempts of an undo, or of a step without a way back, before the saga is stuck. Default 50.
    pub undo_attempts: u32,
    /// Pause after the first failed attempt; it doubles with each further one. Default 100 ms.
    pub backoff_first: Duration,
    /// Longest pause. Default 60 s.
    pub backoff_max: Duration,
    /// How often to look for sagas that nobody drives. Default 2 s.
    pub resume_every: Duration,
    /// Most sagas driven at once by this process; the others wait in the table. Default 1024.
    pub running_max: usize,
    /// Whether to ignore the leases of others. Only where a holder other than this process must be
    /// dead, since this one has the data folder to itself. Default false.
    pub takeover: bool,
    /// Faults to make, in tests.
    pub faults: Option<std::sync::Arc<matrix::Faults>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            step_timeout: Duration::from_secs(20),
            attempts: 6,
            undo_attempts: 50,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(60),
            resume_every: Duration::from_secs(2),
            running_max: 1024,
            takeover: false,
            faults: None,
        }
    }
}
