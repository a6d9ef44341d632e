//! The table of dead letters.

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_trace::Trace;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DeadLetter, LetterFilter, LetterStatus};
use crate::Event;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    consumer: String,
    event_id: Uuid,
    source: String,
    #[sqlx(rename = "type")]
    kind: String,
    subject: String,
    time: OffsetDateTime,
    data: Vec<u8>,
    status: String,
    reason: String,
    attempts: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        let event = Event {
            id: row.event_id,
            source: row.source,
            kind: row.kind,
            subject: row.subject,
            time: row.time,
            data: row.data,
            // Another attempt is part of what its operator calls.
            trace: Trace::default(),
        };
        Self {
            id: row.id,
            consumer: row.consumer,
            event,
            status: match row.status.as_str() {
                "taken" => LetterStatus::Taken,
                _ => LetterStatus::Waiting,
            },
            reason: row.reason,
            attempts: row.attempts,
            create_time: row.create_time,
            update_time: row.update_time,
        }
    }
}

/// The columns, behind the beginning of a query.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, consumer, event_id, source, type, subject, time, data, status, reason, ",
            "attempts, create_time, update_time ",
            $after
        )
    };
}

/// Writes a letter; the id of the one that is there. An event that comes again and is refused again
/// waits again.
pub(super) async fn insert(tx: &mut Tx, letter: &DeadLetter) -> Result<Uuid, Error> {
    const SQL: &str = "INSERT INTO dead_letter (id, consumer, event_id, source, type, subject, \
        time, data, status, reason, attempts, create_time, update_time) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', $9, $10, $11, $11) \
        ON CONFLICT (consumer, source, event_id) DO UPDATE SET status = 'waiting', \
        reason = excluded.reason, attempts = dead_letter.attempts + excluded.attempts, \
        update_time = excluded.update_time RETURNING id";
    let DeadLetter { id, consumer, event, reason, attempts, create_time, .. } = letter;
    let args = args![
        *id,
        consumer.as_str(),
        event.id,
        event.source.as_str(),
        event.kind.as_str(),
        event.subject.as_str(),
        event.time,
        event.data.clone(),
        reason.as_str(),
        *attempts,
        *create_time,
    ];
    let (id,): (Uuid,) = tx.fetch_one(SQL, args).await?;
    Ok(id)
}

pub(super) async fn find(db: &Db, id: Uuid) -> Result<Option<DeadLetter>, Error> {
    const SQL: &str = columns!("SELECT", "FROM dead_letter WHERE id = $1");
    let mut from = db;
    Ok(Query::fetch_optional::<Row>(&mut from, SQL, args![id]).await?.map(DeadLetter::from))
}

/// Newest first: ids begin with the time. The status is word for word as in the partial indexes.
pub(super) async fn list(db: &Db, filter: &LetterFilter) -> Result<Vec<DeadLetter>, Error> {
    let mut args = Args::new();
    let mut terms = vec!["true".to_owned()];
    match filter.status {
        Some(LetterStatus::Waiting) => terms.push("status = 'waiting'".to_owned()),
        Some(LetterStatus::Taken) => terms.push("status = 'taken'".to_owned()),
        None => {}
    }
    if let Some(consumer) = &filter.consumer {
        terms.push(format!("consumer = ${}", args.push(consumer.as_str())));
    }
    if let Some(before) = filter.before {
        terms.push(format!("id < ${}", args.push(before)));
    }
    let max = args.push(i64::try_from(filter.max).unwrap_or(i64::MAX));
    let sql = format!(
        "{} {} ORDER BY id DESC LIMIT ${max}",
        columns!("SELECT", "FROM dead_letter WHERE"),
        terms.join(" AND ")
    );
    let rows = db.fetch_all_built::<Row>(sql, args).await?;
    Ok(rows.into_iter().map(DeadLetter::from).collect())
}

/// Notes that the event was not taken once more.
pub(super) async fn set_failed(
    tx: &mut Tx,
    id: Uuid,
    (reason, now): (&str, OffsetDateTime),
) -> Result<(), Error> {
    const SQL: &str = "UPDATE dead_letter SET reason = $2, attempts = attempts + 1, \
        update_time = $3 WHERE id = $1 AND status = 'waiting'";
    tx.execute(SQL, args![id, reason, now]).await.map(|_| ())
}

/// Marks a letter that waits; `None`: it does not.
pub(super) async fn set_taken(
    tx: &mut Tx,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<DeadLetter>, Error> {
    const SQL: &str = columns!(
        "UPDATE dead_letter SET status = 'taken', update_time = $2 \
         WHERE id = $1 AND status = 'waiting' RETURNING",
        ""
    );
    Ok(tx.fetch_optional::<Row>(SQL, args![id, now]).await?.map(DeadLetter::from))
}

/// How many letters of each consumer wait.
pub(super) async fn count_waiting(db: &Db) -> Result<Vec<(String, i64)>, Error> {
    const SQL: &str = "SELECT consumer, count(*) FROM dead_letter WHERE status = 'waiting' \
        GROUP BY consumer";
    db.fetch_all(SQL, args![]).await
}

/// Deletes some letters that were taken before a time.
pub(super) async fn forget(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter \
        WHERE status = 'taken' AND update_time < $1 LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}
