//! Partitions of the table `fact`, on PostgreSQL only: a span goes by dropping its partition,
//! where deleting its rows would cost as much as inserting them did.
//!
//! Migrations are one text for both databases, so they make a plain table. The role makes the
//! partitioned one of it when it starts, and partitions ahead of their time. Facts for which there
//! is none are in `fact_rest`: nothing is refused for want of a partition.
//!
//! Rejected: partitions of one day. An id must be looked for in each partition, since a unique
//! index reaches over one only.

use std::ops::RangeInclusive;

use stowage_db::{Args, Db, Error, Query, Tx, args, next_id};

/// Makes the table of a migration a partitioned one. Nobody uses it yet, or rows of a copied file
/// are in it.
const CONVERT: [&str; 8] = [
    "ALTER TABLE fact RENAME TO fact_plain",
    "ALTER INDEX fact_pkey RENAME TO fact_plain_pkey",
    "DROP INDEX fact_of_account",
    "CREATE TABLE fact (LIKE fact_plain) PARTITION BY RANGE (span)",
    "ALTER TABLE fact ADD PRIMARY KEY (source, id, span)",
    "CREATE INDEX fact_of_account ON fact (s3uid, time)",
    "CREATE TABLE fact_rest PARTITION OF fact DEFAULT",
    "CREATE INDEX fact_rest_age ON fact_rest (span)",
];
/// Moves the rows that were there.
const MOVE: [&str; 2] = ["INSERT INTO fact SELECT * FROM fact_plain", "DROP TABLE fact_plain"];

/// Makes sure that the table is partitioned, and that there is a partition for each of the spans.
/// On SQLite there is nothing to do.
pub(crate) async fn ensure(db: &Db, spans: RangeInclusive<i64>) -> Result<(), Error> {
    if !db.is_postgres() {
        return Ok(());
    }
    let missing = missing(db, spans.clone()).await?;
    if missing.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    // One replica at a time: the row stays locked until the commit.
    next_id(&mut tx, "fact_partition").await?;
    let missing = match self::missing(&mut tx, spans.clone()).await? {
        Some(missing) => missing,
        None => {
            convert(&mut tx, spans).await?;
            Vec::new()
        }
    };
    for span in missing {
        create(&mut tx, span).await?;
    }
    tx.commit().await?;
    tracing::info!("the table of facts has the partitions it needs");
    Ok(())
}

/// The spans that have no partition; `None`: the table is a plain one.
async fn missing(
    mut from: impl Query,
    spans: RangeInclusive<i64>,
) -> Result<Option<Vec<i64>>, Error> {
    const KIND: &str = "SELECT relkind = 'p' FROM pg_class WHERE oid = CAST('fact' AS regclass)";
    const NAMES: &str = "SELECT CAST(relname AS text) FROM pg_class JOIN pg_inherits \
        ON inhrelid = oid WHERE inhparent = CAST('fact' AS regclass)";
    let (is_partitioned,): (bool,) = from.fetch_one(KIND, Args::new()).await?;
    if !is_partitioned {
        return Ok(None);
    }
    let names: Vec<(String,)> = from.fetch_all(NAMES, Args::new()).await?;
    let is_there = |span: &i64| names.iter().any(|(known,)| *known == name(*span));
    Ok(Some(spans.filter(|span| !is_there(span)).collect()))
}

fn name(span: i64) -> String {
    format!("fact_{span}")
}

async fn convert(tx: &mut Tx, spans: RangeInclusive<i64>) -> Result<(), Error> {
    for sql in CONVERT {
        tx.execute(sql, Args::new()).await?;
    }
    for span in spans {
        create(tx, span).await?;
    }
    for sql in MOVE {
        tx.execute(sql, Args::new()).await?;
    }
    Ok(())
}

/// Makes a partition, unless facts of its span are in the rest: then more of them go there.
async fn create(tx: &mut Tx, span: i64) -> Result<(), Error> {
    const TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM fact_rest WHERE span = $1)";
    let (is_taken,): (bool,) = tx.fetch_one(TAKEN, args![span]).await?;
    if !is_taken {
        let (name, end) = (name(span), span + 1);
        let sql =
            format!("CREATE TABLE {name} PARTITION OF fact FOR VALUES FROM ({span}) TO ({end})");
        tx.execute_built(sql, Args::new()).await?;
    }
    Ok(())
}

/// Drops the partitions of spans before `span`, on PostgreSQL; returns how many.
pub(crate) async fn drop_before(db: &Db, span: i64) -> Result<usize, Error> {
    const NAMES: &str = "SELECT CAST(relname AS text) FROM pg_class JOIN pg_inherits \
        ON inhrelid = oid WHERE inhparent = CAST('fact' AS regclass)";
    if !db.is_postgres() {
        return Ok(0);
    }
    let names: Vec<(String,)> = db.fetch_all(NAMES, Args::new()).await?;
    let number = |name: &str| name.strip_prefix("fact_")?.parse::<i64>().ok();
    let spans = names.iter().filter_map(|(name,)| number(name));
    let old: Vec<i64> = spans.filter(|known| *known < span).collect();
    for span in &old {
        let mut tx = db.begin().await?;
        next_id(&mut tx, "fact_partition").await?;
        tx.execute_built(format!("DROP TABLE IF EXISTS {}", name(*span)), Args::new()).await?;
        tx.commit().await?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use stowage_db::args;
    use time::OffsetDateTime;

    use super::*;
    use crate::store::fact::span_of;
    use crate::store::tests::{Store, uid};

    const PLAIN: [&str; 4] = [
        "DROP TABLE fact",
        "CREATE TABLE fact (span bigint NOT NULL, source text NOT NULL, id text NOT NULL, \
         digest bytea NOT NULL, s3uid text NOT NULL, bucket text NOT NULL, kind bigint NOT NULL, \
         time timestamptz NOT NULL, value bigint NOT NULL, object_count bigint NOT NULL, \
         PRIMARY KEY (source, id, span))",
        "CREATE INDEX fact_of_account ON fact (s3uid, time)",
        "CREATE INDEX fact_age ON fact (span)",
    ];

    async fn insert(tx: &mut Tx, time: OffsetDateTime, id: i64) {
        let sql = "INSERT INTO fact (span, source, id, digest, s3uid, bucket, kind, time, value, \
            object_count) VALUES ($1, 'log', $2, $3, $4, 'a', 4, $5, 1, 0)";
        let args = args![span_of(time), id.to_string(), vec![7_u8; 16], uid(1).as_str(), time];
        tx.execute(sql, args).await.unwrap();
    }

    async fn count(db: &Db) -> i64 {
        let (count,): (i64,) = db.fetch_one("SELECT count(*) FROM fact", args![]).await.unwrap();
        count
    }

    /// As `migrate-database` leaves it, of a file with facts.
    #[tokio::test]
    async fn a_plain_table_with_rows_becomes_a_partitioned_one_whose_spans_go_at_once() {
        let store = Store::start().await;
        if !store.db.is_postgres() {
            assert_eq!(drop_before(&store.db, i64::MAX).await.unwrap(), 0);
            return;
        }
        let (now, spans) = (store.now(), span_of(store.now()) - 4..=span_of(store.now()) + 2);
        let mut tx = store.db.begin().await.unwrap();
        for sql in PLAIN {
            tx.execute(sql, args![]).await.unwrap();
        }
        for days_ago in [0, 1, 8, 30, 300] {
            insert(&mut tx, now - time::Duration::days(days_ago), days_ago).await;
        }
        tx.commit().await.unwrap();
        for _ in 0..2 {
            ensure(&store.db, spans.clone()).await.unwrap();
            assert_eq!(missing(&store.db, spans.clone()).await.unwrap(), Some(Vec::new()));
            assert_eq!(count(&store.db).await, 5);
        }
        // One of a span without a partition is kept beside them.
        assert_eq!(drop_before(&store.db, span_of(now)).await.unwrap(), 4);
        assert!(count(&store.db).await >= 2);
        let mut tx = store.db.begin().await.unwrap();
        let gone = crate::store::fact::forget(&mut tx, span_of(now), 10).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(gone, 1);
    }
}
