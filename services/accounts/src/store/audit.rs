//! The chains of history.

use stowage_db::{Args, Error, Query, Tx, args};

use super::history::Row;
use crate::domain::audit::{Chained, HASH_BYTES, Link, Listing};
use crate::domain::history::Recorded;

/// Takes the next place in a chain: the id of the entry, and what it is put behind. Holds the chain
/// until the transaction ends. One trip to the database, as every entry takes it.
pub(crate) async fn take_place(tx: &mut Tx, customer_id: i64) -> Result<(i64, Link), Error> {
    const ID: &str = "INSERT INTO sequence (name, value) VALUES ('history', 1) \
        ON CONFLICT (name) DO UPDATE SET value = sequence.value + 1";
    const PLACE: &str = "INSERT INTO audit_chain (customer_id, sequence, hash) VALUES ($1, 1, $2) \
        ON CONFLICT (customer_id) DO UPDATE SET sequence = audit_chain.sequence + 1 \
        RETURNING sequence, hash, (SELECT value FROM sequence WHERE name = 'history')";
    tx.defer(ID, args![]);
    let first = args![customer_id, Link::default().hash];
    let (sequence, hash, id): (i64, Vec<u8>, i64) = tx.fetch_one(PLACE, first).await?;
    Ok((id, link(sequence - 1, &hash)?))
}

/// Writes an entry, and the head that it is. Its place is taken.
pub(crate) fn insert(tx: &mut Tx, chained: &Chained) {
    const ENTRY: &str = "INSERT INTO history (id, create_time, event, actor, acted_for, \
        request_id, customer_id, plan_id, s3uid, old_json, new_json, minor, encoding, sequence, \
        hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    const HEAD: &str = "UPDATE audit_chain SET hash = $2 WHERE customer_id = $1";
    let Recorded { id, create_time, entry } = &chained.recorded;
    let args = args![
        *id,
        create_time,
        &entry.event,
        &entry.cause.actor,
        entry.cause.acted_for,
        &entry.cause.request_id,
        entry.customer_id,
        entry.plan_id,
        &entry.s3uid,
        &entry.old_json,
        &entry.new_json,
        entry.minor,
        chained.encoding,
        chained.sequence,
        &chained.hash,
    ];
    tx.defer(ENTRY, args);
    tx.defer(HEAD, args![entry.customer_id, &chained.hash]);
}

fn link(sequence: i64, hash: &[u8]) -> Result<Link, Error> {
    let hash: [u8; HASH_BYTES] = hash
        .try_into()
        .map_err(|_| Error::Other { source: "the head of a chain is no hash".into() })?;
    Ok(Link { sequence, hash })
}

/// The head of a chain.
pub(crate) async fn head(mut from: impl Query, customer_id: i64) -> Result<Option<Link>, Error> {
    const SQL: &str = "SELECT sequence, hash FROM audit_chain WHERE customer_id = $1";
    let found: Option<(i64, Vec<u8>)> = from.fetch_optional(SQL, args![customer_id]).await?;
    found.map(|(sequence, hash)| link(sequence, &hash)).transpose()
}

#[derive(sqlx::FromRow)]
struct ChainedRow {
    #[sqlx(flatten)]
    row: Row,
    encoding: i64,
    sequence: Option<i64>,
    hash: Option<Vec<u8>>,
}

impl From<ChainedRow> for Chained {
    fn from(row: ChainedRow) -> Self {
        Self {
            recorded: row.row.into(),
            sequence: row.sequence.unwrap_or_default(),
            encoding: row.encoding,
            hash: row.hash.unwrap_or_default(),
        }
    }
}

/// The beginning of every query for entries with their places, with the rest after it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, create_time, event, actor, acted_for, request_id, customer_id, plan_id, ",
            "s3uid, old_json, new_json, minor, encoding, sequence, hash FROM history ",
            $rest
        )
    };
}

/// Entries of a chain in their order, above one sequence and up to another.
pub(crate) async fn chain(
    mut from: impl Query,
    customer_id: i64,
    (after, until): (i64, i64),
    max: i64,
) -> Result<Vec<Chained>, Error> {
    const SQL: &str = select!(
        "WHERE customer_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4"
    );
    let rows = from.fetch_all::<ChainedRow>(SQL, args![customer_id, after, until, max]).await?;
    Ok(rows.into_iter().map(Chained::from).collect())
}

/// An entry that is in nobody's place: its id, and what it says of its sequence.
pub(crate) async fn find_stray(
    mut from: impl Query,
    customer_id: i64,
) -> Result<Option<(i64, i64)>, Error> {
    // One statement, so that the head and the entries are of one moment.
    const SQL: &str = "SELECT id, 0 FROM history WHERE customer_id = $1 AND sequence IS NULL \
        UNION ALL SELECT id, sequence FROM history WHERE customer_id = $1 AND sequence < 1 \
        UNION ALL SELECT id, sequence FROM history WHERE customer_id = $1 AND sequence > \
        COALESCE((SELECT sequence FROM audit_chain WHERE customer_id = $1), 0) LIMIT 1";
    from.fetch_optional(SQL, args![customer_id]).await
}

/// Entries by id, one more than the page has.
pub(crate) async fn list(mut from: impl Query, listing: &Listing) -> Result<Vec<Chained>, Error> {
    let mut args = Args::new();
    let mut terms = vec!["id > 0".to_owned()];
    if let Some(customer) = listing.customer_id {
        terms.push(format!("customer_id = ${}", args.push(customer)));
    }
    let (beyond, order) = if listing.newest_first { ("<", "DESC") } else { (">", "ASC") };
    if let Some(after) = listing.after {
        terms.push(format!("id {beyond} ${}", args.push(after)));
    }
    let sql = format!(
        "{}WHERE {} ORDER BY id {order} LIMIT ${}",
        select!(""),
        terms.join(" AND "),
        args.push(listing.size + 1),
    );
    let rows = from.fetch_all_built::<ChainedRow>(sql, args).await?;
    Ok(rows.into_iter().map(Chained::from).collect())
}

/// The id up to which entries of before are chained, and the last of them; `None`: all are. Who
/// starts at the same time waits.
pub(crate) async fn backfill_span(tx: &mut Tx) -> Result<Option<(i64, i64)>, Error> {
    tx.fetch_optional("SELECT done_id, last_id FROM audit_backfill FOR UPDATE", args![]).await
}

/// Entries that have no place yet.
pub(crate) async fn unchained(
    tx: &mut Tx,
    (after, until): (i64, i64),
    max: i64,
) -> Result<Vec<Recorded>, Error> {
    const SQL: &str = "SELECT id, create_time, event, actor, acted_for, request_id, customer_id, \
        plan_id, s3uid, old_json, new_json, minor FROM history \
        WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
    let rows = tx.fetch_all::<Row>(SQL, args![after, until, max]).await?;
    Ok(rows.into_iter().map(Recorded::from).collect())
}

/// Gives an entry of before its place.
pub(crate) fn put_in_place(tx: &mut Tx, chained: &Chained) {
    const SQL: &str = "UPDATE history SET create_time = $2, actor = $3, acted_for = $4, \
        minor = $5, encoding = $6, sequence = $7, hash = $8 WHERE id = $1";
    let Recorded { id, create_time, entry } = &chained.recorded;
    let args = args![
        *id,
        create_time,
        &entry.cause.actor,
        entry.cause.acted_for,
        entry.minor,
        chained.encoding,
        chained.sequence,
        &chained.hash,
    ];
    tx.defer(SQL, args);
}

/// Sets the head of a chain.
pub(crate) fn set_head(tx: &mut Tx, customer_id: i64, head: Link) {
    const SQL: &str = "INSERT INTO audit_chain (customer_id, sequence, hash) VALUES ($1, $2, $3) \
        ON CONFLICT (customer_id) DO UPDATE SET sequence = $2, hash = $3";
    tx.defer(SQL, args![customer_id, head.sequence, head.hash]);
}

/// Notes how far the entries of before are chained.
pub(crate) fn note_backfill(tx: &mut Tx, done_id: i64) {
    tx.defer("UPDATE audit_backfill SET done_id = $1", args![done_id]);
}

/// Notes that all are. The chain of what is nobody's has its head from here on.
pub(crate) fn end_backfill(tx: &mut Tx) {
    const HEAD: &str = "INSERT INTO audit_chain (customer_id, sequence, hash) VALUES (0, 0, $1) \
        ON CONFLICT (customer_id) DO NOTHING";
    tx.defer(HEAD, args![Link::default().hash]);
    tx.defer("DELETE FROM audit_backfill", args![]);
}
