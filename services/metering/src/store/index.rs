//! Indexes that SQLite has and PostgreSQL has not. They are made when the role starts, since
//! migrations are the same on both.

use stowage_db::{Args, Db, Error};

/// One of them.
struct Index {
    name: &'static str,
    table: &'static str,
    /// What to say before rows that are there are put in order.
    about: &'static str,
    /// Makes it, and takes away what it stands in for.
    sql: &'static [&'static str],
}

const INDEXES: [Index; 2] = [
    // See `hour`. Times are texts of one width: `2026-11-23T15:30:...`.
    Index {
        name: "fact_of_hour",
        table: "fact",
        about: "facts get an index by their hours, a second for each million",
        sql: &[
            "CREATE INDEX fact_of_hour ON fact (substr(time, 1, 13), s3uid)",
            "DROP INDEX IF EXISTS fact_of_account",
        ],
    },
    // What a ranking answers of an account, so that the page of the index is the only one that is
    // read: rankings of many accounts find none of their pages in memory.
    Index {
        name: "meter_shown",
        table: "meter",
        about: "meters get an index of what is shown of them",
        sql: &["CREATE INDEX meter_shown ON meter (s3uid, closed_time, account_id, customer_id, \
            email, plan_id, location, storage_type, billing, gb_bytes)"],
    },
];

/// Makes those that are not there.
pub(crate) async fn ensure(db: &Db) -> Result<(), Error> {
    if db.is_postgres() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    for Index { name, table, about, sql } in INDEXES {
        let there = format!(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '{name}'), \
             EXISTS (SELECT 1 FROM {table})"
        );
        let found: Vec<(bool, bool)> = tx.fetch_all_built(there, Args::new()).await?;
        match found[..] {
            [(true, _)] => continue,
            [(false, true)] => tracing::info!("{about}"),
            _ => {}
        }
        for statement in sql {
            tx.execute(statement, Args::new()).await?;
        }
    }
    tx.commit().await
}
