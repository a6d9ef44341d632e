//! Indexes and tables that SQLite has in another shape than PostgreSQL. They are made when the role
//! starts, since migrations are the same on both.

use stowage_db::{Args, Db, Error};

/// One of them.
struct Shape {
    /// Whether it is there.
    is_there: &'static str,
    table: &'static str,
    /// What to say before rows that are there are put in order.
    about: &'static str,
    /// Makes it, and takes away what it stands in for.
    sql: &'static [&'static str],
}

const SHAPES: [Shape; 3] = [
    // See `hour`. Times are texts of one width: `2026-11-23T15:30:...`.
    Shape {
        is_there: "name = 'fact_of_hour'",
        table: "fact",
        about: "facts get an index by their hours, a second for each million",
        sql: &[
            "CREATE INDEX fact_of_hour ON fact (substr(time, 1, 13), s3uid)",
            "DROP INDEX IF EXISTS fact_of_account",
        ],
    },
    // What a ranking answers of an account, so that the page of the index is the only one that is
    // read: rankings of many accounts find none of their pages in memory.
    Shape {
        is_there: "name = 'meter_shown'",
        table: "meter",
        about: "meters get an index of what is shown of them",
        sql: &["CREATE INDEX meter_shown ON meter (s3uid, closed_time, account_id, customer_id, \
            email, plan_id, location, storage_type, billing, gb_bytes)"],
    },
    // For the same reason the latest figures of accounts lie in the order of their key. An index of
    // them would be one more page for each fact. A migration that adds a column adds it here, too,
    // since this is made after all of them; the test below tells who forgets it.
    Shape {
        is_there: "name = 'account' AND sql LIKE '%WITHOUT ROWID'",
        table: "account",
        about: "latest figures are put in the order of their accounts",
        sql: &[
            "CREATE TABLE account_in_order (s3uid text PRIMARY KEY, \
             stored_bytes bigint NOT NULL CHECK (stored_bytes >= 0), \
             newest_sample_time timestamptz, as_of_time timestamptz NOT NULL, \
             is_limited boolean NOT NULL DEFAULT true, \
             is_unchecked boolean NOT NULL DEFAULT true) WITHOUT ROWID",
            "INSERT INTO account_in_order (s3uid, stored_bytes, newest_sample_time, as_of_time, \
             is_limited, is_unchecked) SELECT s3uid, stored_bytes, newest_sample_time, \
             as_of_time, is_limited, is_unchecked FROM account ORDER BY s3uid",
            "DROP TABLE account",
            "ALTER TABLE account_in_order RENAME TO account",
            "CREATE INDEX account_unchecked ON account (s3uid) WHERE is_unchecked",
        ],
    },
];

/// Makes those that are not there.
pub(crate) async fn ensure(db: &Db) -> Result<(), Error> {
    if db.is_postgres() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    for Shape { is_there, table, about, sql } in SHAPES {
        let found = format!(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE {is_there}), \
             EXISTS (SELECT 1 FROM {table})"
        );
        let found: Vec<(bool, bool)> = tx.fetch_all_built(found, Args::new()).await?;
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

#[cfg(test)]
mod tests {
    use stowage_db::args;
    use stowage_db::testing::Scratch;

    use super::*;
    use crate::MIGRATOR;

    /// Names, types and defaults of columns, and names of indexes.
    async fn form(db: &Db) -> Vec<(String, String, Option<String>)> {
        const SQL: &str = "SELECT name, type, dflt_value FROM pragma_table_info('account') \
            UNION ALL SELECT name, 'index', NULL FROM sqlite_master \
            WHERE tbl_name = 'account' AND type = 'index' AND sql IS NOT NULL";
        db.begin().await.unwrap().fetch_all(SQL, args![]).await.unwrap()
    }

    #[tokio::test]
    async fn latest_figures_of_before_are_kept_when_they_are_put_in_order() {
        let place = Scratch::on_files();
        let db = place.open("metering", &MIGRATOR).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        for (uid, bytes, newest) in [("b", 2, None), ("a", 1, Some("2026-11-30T09:00:00.000000Z"))]
        {
            let sql = "INSERT INTO account (s3uid, stored_bytes, newest_sample_time, as_of_time, \
                is_limited, is_unchecked) VALUES ($1, $2, $3, $4, $5, $6)";
            let of = "2026-11-30T10:00:00.000000Z";
            let args = args![uid, i64::from(bytes), newest, of, bytes == 1, bytes == 2];
            tx.execute(sql, args).await.unwrap();
        }
        tx.commit().await.unwrap();
        type Figures = (String, i64, Option<String>, String, bool, bool);
        let all = "SELECT s3uid, stored_bytes, newest_sample_time, as_of_time, is_limited, \
            is_unchecked FROM account ORDER BY s3uid";
        let rows: Vec<Figures> = db.fetch_all(all, args![]).await.unwrap();
        let before = form(&db).await;
        // The second time nothing is left to do.
        for _ in 0..2 {
            ensure(&db).await.unwrap();
            let found: Vec<Figures> = db.fetch_all(all, args![]).await.unwrap();
            assert_eq!((found.len(), &found), (2, &rows));
            assert_eq!(form(&db).await, before);
        }
        let in_order = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'account%' \
            AND type = 'table' AND sql LIKE '%WITHOUT ROWID'";
        let mut tx = db.begin().await.unwrap();
        let (in_order,): (i64,) = tx.fetch_one(in_order, args![]).await.unwrap();
        assert_eq!(in_order, 1);
        drop(tx);
        db.close().await;
    }
}
