//! What operators read and change.
//!
//! Each change takes the lease away and names nobody as its holder: whoever drove the saga cannot
//! store an outcome any more.

use stowage_db::{Args, Db, Error, Query, Tx, args};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Record, Row, as_i64};
use crate::Failure;
use crate::operate::Filter;

/// A saga with its times.
pub(crate) struct Detail {
    pub(crate) record: Record,
    pub(crate) lease_until: OffsetDateTime,
    pub(crate) next_attempt_time: OffsetDateTime,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
}

#[derive(sqlx::FromRow)]
struct DetailRow {
    #[sqlx(flatten)]
    row: Row,
    lease_until: OffsetDateTime,
    next_attempt_time: OffsetDateTime,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
}

impl From<DetailRow> for Detail {
    fn from(row: DetailRow) -> Self {
        let DetailRow { row, lease_until, next_attempt_time, create_time, update_time } = row;
        let record = Record::from(row);
        Self { record, lease_until, next_attempt_time, create_time, update_time }
    }
}

/// The beginning of every query here.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, state, step, direction, status, attempts, lease_owner, ",
            "failure_step, failure_reason, failure_why, attempt_error, lease_until, ",
            "next_attempt_time, create_time, update_time FROM saga ",
            $rest
        )
    };
}

pub(crate) async fn find(mut from: impl Query, id: Uuid) -> Result<Option<Detail>, Error> {
    const SQL: &str = select!("WHERE id = $1");
    Ok(from.fetch_optional::<DetailRow>(SQL, args![id]).await?.map(Detail::from))
}

/// Newest first: ids begin with the time. The text is built of the filters given, with the status
/// word for word as in the partial indexes.
pub(crate) async fn list(db: &Db, filter: &Filter) -> Result<Vec<Detail>, Error> {
    let mut args = Args::new();
    let mut terms = vec!["true".to_owned()];
    if let Some(status) = filter.status {
        terms.push(format!("status = '{}'", status.text()));
    }
    if let Some(kind) = &filter.kind {
        terms.push(format!("kind = ${}", args.push(kind.as_str())));
    }
    if let Some(before) = filter.before {
        terms.push(format!("id < ${}", args.push(before)));
    }
    let max = args.push(as_i64(filter.max));
    let sql = format!("{} {} ORDER BY id DESC LIMIT ${max}", select!("WHERE"), terms.join(" AND "));
    let rows = db.fetch_all_built::<DetailRow>(sql, args).await?;
    Ok(rows.into_iter().map(Detail::from).collect())
}

/// How many are stuck of each kind that has any.
/// Open sagas by kind whose lease ended before a time.
pub(crate) async fn count_abandoned(
    db: &Db,
    before: OffsetDateTime,
) -> Result<Vec<(String, i64)>, Error> {
    const SQL: &str = "SELECT kind, count(*) FROM saga WHERE status = 'running' \
        AND lease_until < $1 GROUP BY kind";
    db.fetch_all(SQL, args![before]).await
}

pub(crate) async fn count_stuck(db: &Db) -> Result<Vec<(String, i64)>, Error> {
    const SQL: &str = "SELECT kind, count(*) FROM saga WHERE status = 'stuck' GROUP BY kind";
    db.fetch_all(SQL, args![]).await
}

/// Sets a stuck saga running again, the way it was going. What stopped it on its way forward is
/// over; what once turned it back stays.
pub(crate) async fn revive(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<bool, Error> {
    const SQL: &str = "UPDATE saga SET status = 'running', attempts = 0, attempt_error = NULL, \
        lease_owner = '', lease_until = $2, next_attempt_time = $2, update_time = $2, \
        failure_step = CASE direction WHEN 'undoing' THEN failure_step END, \
        failure_reason = CASE direction WHEN 'undoing' THEN failure_reason END, \
        failure_why = CASE direction WHEN 'undoing' THEN failure_why END \
        WHERE id = $1 AND status = 'stuck'";
    Ok(tx.execute(SQL, args![id, now]).await? == 1)
}

/// Ends the pause of a running saga; `false` if it is not pausing.
pub(crate) async fn wake(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<bool, Error> {
    const SQL: &str = "UPDATE saga SET lease_owner = '', lease_until = $2, \
        next_attempt_time = $2, update_time = $2 \
        WHERE id = $1 AND status = 'running' AND next_attempt_time > $2";
    Ok(tx.execute(SQL, args![id, now]).await? == 1)
}

/// Turns a saga back that goes forward, or got stuck on the way; `from`: when its undo may begin.
pub(crate) async fn turn_back(
    tx: &mut Tx,
    id: Uuid,
    failure: &Failure,
    (now, from): (OffsetDateTime, OffsetDateTime),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE saga SET status = 'running', direction = 'undoing', attempts = 0, \
        attempt_error = NULL, lease_owner = '', lease_until = $2, next_attempt_time = $2, \
        failure_step = $3, failure_reason = $4, failure_why = $5, update_time = $6 \
        WHERE id = $1 AND status IN ('running', 'stuck') AND direction = 'forward'";
    let Failure { step, reason, why } = failure;
    let args = args![id, from, step.as_str(), reason.as_str(), why.as_str(), now];
    Ok(tx.execute(SQL, args).await? == 1)
}
