//! The database of a role: a SQLite file, or a schema of a PostgreSQL server.
//!
//! # SQLite: many readers, one writer with group commit
//! - Readers are a small pool of read-only connections; they see committed data only.
//! - There is exactly one writing connection, owned by a task (module `writer`). It holds an outer
//!   `BEGIN IMMEDIATE`; each [`Tx`] is a savepoint inside it and has the connection to itself.
//!   [`Tx::commit`] gives the connection on to the next transaction in the queue and waits until
//!   the outer `COMMIT` has happened, so that callers who come together share one fsync. A commit
//!   that was acknowledged is on disk (`WAL`, `synchronous=FULL`).
//! - If the outer commit fails, every transaction of its batch gets the error.
//! - A trip to the connection's thread costs more than most statements: [`Tx::defer`] lets writes
//!   wait for the next statement, and what opens a transaction goes ahead of its first.
//! - Dropping a [`Tx`], at any point of any statement, rolls it back and harms nobody else.
//! - As on PostgreSQL, a transaction in which a statement failed can only be rolled back.
//!
//! # Rules for callers
//! - Do no slow thing between [`Db::begin`] and [`Tx::commit`]: everybody waits for it. A second
//!   [`Db::begin`] while holding a [`Tx`] waits for itself, until the queue's bound of ten seconds.
//! - Do not use deferred constraints: they would fail the batch, not the transaction.
//!
//! # PostgreSQL
//! - [`Db::connect`] opens a schema of a server instead; every text is the same on both. A [`Tx`]
//!   has a connection of a bounded pool to itself; the server does its own group commit.
//! - Transactions run beside each other there (`READ COMMITTED`), on SQLite one after the other.
//!   So who reads and then writes needs a unique constraint, a write with a condition, or a lock of
//!   the row: a text may end in ` FOR UPDATE` or ` FOR UPDATE SKIP LOCKED`, which is left out on
//!   SQLite. Lock in one order: a deadlock ends one of them with [`Error::Unavailable`], for its
//!   caller to try again.
//! - A row of `sequence` stays locked until the commit, so take [`next_id`] late.
//! - NULL has a type there: it comes from the `Option`'s. Columns of integers are `bigint`; `sum`
//!   is cast.
//! - Text compares by bytes, as on SQLite: migrations see to it.
//! - Sessions compile no statements, and take the disk for one that does not seek unless the server
//!   was told what it costs.
//! - A commit whose answer was lost is [`Error::Unclear`].
//!
//! # Rejected
//! - A pool of eight writing connections: measured at half the speed of one connection with a
//!   queue, with long tails, because SQLite admits one writer anyway and the rest spin.
//! - The `Any` driver of sqlx: no booleans on SQLite, no uuid, time or json on PostgreSQL.
//! - `synchronous=NORMAL`: loses acknowledged commits when the power fails.

mod args;
pub mod copy;
mod db;
mod error;
pub mod lease;
mod open;
mod postgres;
pub mod snapshot;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod tx;
mod writer;

pub use args::{Args, Nullable, Value};
pub use db::{Db, OfPostgres, OfSqlite, Query, Row};
pub use error::{Error, OpenError};
pub use postgres::{Server, connections_default};
pub use tx::Tx;

/// Takes the next value of a named sequence: 1 at first. Values of transactions that are rolled
/// back are given out again, so there are no gaps.
///
/// Needs the table `sequence (name text PRIMARY KEY, value bigint NOT NULL)`.
///
/// # Errors
/// As [`Tx::fetch_one`].
pub async fn next_id(tx: &mut Tx, name: &'static str) -> Result<i64, Error> {
    const SQL: &str = "INSERT INTO sequence (name, value) VALUES ($1, 1) \
        ON CONFLICT (name) DO UPDATE SET value = sequence.value + 1 RETURNING value";
    let (value,): (i64,) = tx.fetch_one(SQL, args![name]).await?;
    Ok(value)
}

/// Takes `count` numbers of a sequence that follow each other, and returns the first. `count` is
/// above zero.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn next_range(tx: &mut Tx, name: &'static str, count: i64) -> Result<i64, Error> {
    let sql = "INSERT INTO sequence (name, value) VALUES ($1, $2) \
        ON CONFLICT (name) DO UPDATE SET value = sequence.value + $2 RETURNING value";
    let (last,): (i64,) = tx.fetch_one(sql, args![name, count]).await?;
    Ok(last - count + 1)
}

/// Takes the next values of several sequences, as [`next_id`] does of one, in one statement.
///
/// # Errors
/// As [`Tx::fetch_one`].
pub async fn next_ids<const N: usize>(
    tx: &mut Tx,
    names: [&'static str; N],
) -> Result<[i64; N], Error> {
    // In one order, whoever asks, so that two do not wait for each other.
    let mut sorted = names;
    sorted.sort_unstable();
    let mut args = Args::new();
    let rows = sorted.map(|name| format!("(${}, 1)", args.push(name)));
    let sql = format!(
        "INSERT INTO sequence (name, value) VALUES {} \
         ON CONFLICT (name) DO UPDATE SET value = sequence.value + 1 RETURNING name, value",
        rows.join(", ")
    );
    let taken: Vec<(String, i64)> = tx.fetch_all_built(sql, args).await?;
    // No database promises an order of what it returns.
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        let found = taken.iter().find(|(taken, _)| taken == name);
        *value = found.ok_or(Error::RowNotFound)?.1;
    }
    Ok(values)
}
