//! Table `fact_conflict`: ids under which a source told two things.

use stowage_db::{Db, Error, Tx, Value, args};
use time::OffsetDateTime;

use crate::domain::{Conflict, Fact};

/// Notes that these facts were refused. No id comes twice.
pub(crate) async fn add(
    tx: &mut Tx,
    source: &str,
    facts: &[&Fact],
    now: OffsetDateTime,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO fact_conflict (source, id, s3uid, refused, count, last_time)";
    const TAIL: &str = " ON CONFLICT (source, id) DO UPDATE SET s3uid = excluded.s3uid, \
        refused = excluded.refused, count = fact_conflict.count + 1, \
        last_time = excluded.last_time";
    let rows: Vec<Vec<Value>> = facts
        .iter()
        .map(|fact| {
            let refused = format!("{:?} of {:?} at {}", fact.what, fact.bucket, fact.time);
            vec![
                source.into(),
                (&fact.id).into(),
                fact.s3uid.as_str().into(),
                refused.into(),
                1_i64.into(),
                now.into(),
            ]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

#[derive(sqlx::FromRow)]
struct Row {
    source: String,
    id: String,
    s3uid: String,
    refused: String,
    count: i64,
    last_time: OffsetDateTime,
}

/// Which conflicts are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Empty: of every one.
    pub(crate) source: String,
    /// Behind this one: its time, source and id.
    pub(crate) after: Option<(OffsetDateTime, String, String)>,
    pub(crate) max: i64,
}

/// A page of them, the last one first.
pub(crate) async fn list(db: &Db, wanted: &Wanted) -> Result<Vec<Conflict>, Error> {
    const SQL: &str = "SELECT source, id, s3uid, refused, count, last_time FROM fact_conflict \
        WHERE ($1 = '' OR source = $1) \
        AND ($2 IS NULL OR (last_time, source, id) < ($2, $3, $4)) \
        ORDER BY last_time DESC, source DESC, id DESC LIMIT $5";
    let (time, source, id) = match &wanted.after {
        Some((time, source, id)) => (Some(*time), source.as_str(), id.as_str()),
        None => (None, "", ""),
    };
    let args = args![&wanted.source, time, source, id, wanted.max];
    let rows: Vec<Row> = db.fetch_all(SQL, args).await?;
    let read = |row: Row| {
        let Row { source, id, s3uid, refused, count, last_time } = row;
        Conflict { source, id, s3uid, refused, count, last_time }
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Forgets up to `max` of those from before `before`; returns how many.
pub(crate) async fn forget(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM fact_conflict WHERE (source, id) IN \
        (SELECT source, id FROM fact_conflict WHERE last_time < $1 LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}
