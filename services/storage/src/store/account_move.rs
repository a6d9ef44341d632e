//! Moves of accounts.

use sqlx::types::Json;
use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account_move::{AccountMove, Advance, State};
use crate::domain::bucket_deletion::Amount;

macro_rules! columns {
    () => {
        "id, s3uid, from_location, to_location, state, why, faults, start_buckets, start_objects, \
         start_bytes, copied_objects, copied_bytes, unfinished_uploads, checked_objects, \
         checked_bytes, pass_changes, pass_bucket, pass_after, passes, rounds, last_write_time, \
         attempts, create_time, update_time, freeze_time, switch_time, end_time"
    };
}

/// The states in which somebody has to work on a move.
macro_rules! worked_on {
    () => {
        "state IN ('COPYING', 'FREEZING', 'VERIFYING', 'CONFIRMING', 'CANCELLING', 'FAILING')"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    s3uid: String,
    from_location: String,
    to_location: String,
    state: String,
    why: String,
    faults: Json<Vec<String>>,
    start_buckets: i64,
    start_objects: i64,
    start_bytes: i64,
    copied_objects: i64,
    copied_bytes: i64,
    unfinished_uploads: i64,
    checked_objects: i64,
    checked_bytes: i64,
    pass_changes: i64,
    pass_bucket: String,
    pass_after: Option<Vec<u8>>,
    passes: i64,
    rounds: i64,
    last_write_time: Option<OffsetDateTime>,
    attempts: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
    freeze_time: Option<OffsetDateTime>,
    switch_time: Option<OffsetDateTime>,
    end_time: Option<OffsetDateTime>,
}

impl TryFrom<Row> for AccountMove {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let bad = |why: String| Error::Other { source: why.into() };
        let state = State::of(&row.state).ok_or_else(|| bad("a state of a move".to_owned()))?;
        let after = row.pass_after.map(String::from_utf8).transpose();
        Ok(Self {
            id: row.id,
            uid: S3uid::parse(&row.s3uid).map_err(|error| bad(error.why))?,
            from: row.from_location,
            to: row.to_location,
            state,
            why: row.why,
            faults: row.faults.0,
            start_buckets: row.start_buckets,
            start: Amount { objects: row.start_objects, bytes: row.start_bytes },
            copied: Amount { objects: row.copied_objects, bytes: row.copied_bytes },
            unfinished_uploads: row.unfinished_uploads,
            checked: Amount { objects: row.checked_objects, bytes: row.checked_bytes },
            changes: row.pass_changes,
            bucket: (!row.pass_bucket.is_empty())
                .then(|| BucketName::new(&row.pass_bucket))
                .transpose()
                .map_err(|error| bad(error.why))?,
            after: after.map_err(|error| bad(error.to_string()))?,
            passes: row.passes,
            rounds: row.rounds,
            last_write_time: row.last_write_time,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            create_time: row.create_time,
            update_time: row.update_time,
            freeze_time: row.freeze_time,
            switch_time: row.switch_time,
            end_time: row.end_time,
        })
    }
}

/// Runs a statement that answers the row it has changed, if there was one.
async fn changed(tx: &mut Tx, sql: &'static str, args: Args) -> Result<Option<AccountMove>, Error> {
    let row: Option<Row> = tx.fetch_optional(sql, args).await?;
    row.map(AccountMove::try_from).transpose()
}

/// `false` if another one of the account has not ended, or this one is there.
pub(crate) async fn insert(tx: &mut Tx, new: &AccountMove) -> Result<bool, Error> {
    let args = args![
        new.id,
        new.uid.as_str(),
        &new.from,
        &new.to,
        new.state.text(),
        new.start_buckets,
        new.start.objects,
        new.start.bytes,
        new.create_time,
        serde_json::Value::Array(Vec::new()),
    ];
    let rows = tx
        .execute(
            "INSERT INTO account_move (id, s3uid, from_location, to_location, state, why, faults, \
             start_buckets, start_objects, start_bytes, copied_objects, copied_bytes, \
             unfinished_uploads, checked_objects, checked_bytes, pass_changes, pass_bucket, \
             passes, rounds, attempts, next_attempt_time, create_time, update_time) \
             VALUES ($1, $2, $3, $4, $5, '', $10, $6, $7, $8, 0, 0, 0, 0, 0, 0, '', 0, 0, 0, $9, \
             $9, $9) ON CONFLICT DO NOTHING",
            args,
        )
        .await?;
    Ok(rows == 1)
}

pub(crate) async fn find(
    mut from: impl Query,
    uid: &S3uid,
    id: Uuid,
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM account_move WHERE s3uid = $1 AND id = $2");
    let row: Option<Row> = from.fetch_optional(SQL, args![uid.as_str(), id]).await?;
    row.map(AccountMove::try_from).transpose()
}

/// The one of an account that has not ended.
pub(crate) async fn find_open(
    mut from: impl Query,
    uid: &S3uid,
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM account_move WHERE s3uid = $1 AND state NOT IN ('CONFIRMED', 'CANCELLED')"
    );
    let row: Option<Row> = from.fetch_optional(SQL, args![uid.as_str()]).await?;
    row.map(AccountMove::try_from).transpose()
}

/// Moves from before `before`, newest first; those of one account, or of all.
pub(crate) async fn list(
    db: &Db,
    uid: Option<&S3uid>,
    open_only: bool,
    (before, rows_max): (Uuid, i64),
) -> Result<Vec<AccountMove>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM account_move WHERE ($1 = '' OR s3uid = $1) AND id < $2 \
         AND ($3 = false OR state NOT IN ('CONFIRMED', 'CANCELLED')) ORDER BY id DESC LIMIT $4"
    );
    let uid = uid.map_or("", S3uid::as_str);
    let rows: Vec<Row> = db.fetch_all(SQL, args![uid, before, open_only, rows_max]).await?;
    rows.into_iter().map(AccountMove::try_from).collect()
}

/// Moves that somebody has to work on, those that have waited longest first.
pub(crate) async fn due(
    db: &Db,
    now: OffsetDateTime,
    rows_max: i64,
) -> Result<Vec<AccountMove>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM account_move WHERE ",
        worked_on!(),
        " AND next_attempt_time <= $1 ORDER BY next_attempt_time LIMIT $2"
    );
    let rows: Vec<Row> = db.fetch_all(SQL, args![now, rows_max]).await?;
    rows.into_iter().map(AccountMove::try_from).collect()
}

/// Moves one on from a state to another, to the beginning of a pass; `None`: it is not in that
/// state any more.
pub(crate) async fn set_state(
    tx: &mut Tx,
    id: Uuid,
    (from, to): (State, State),
    why: &str,
    now: OffsetDateTime,
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str = concat!(
        "UPDATE account_move SET state = $3, why = $4, attempts = 0, next_attempt_time = $5, \
         update_time = $5, checked_objects = 0, checked_bytes = 0, pass_changes = 0, \
         pass_bucket = '', pass_after = NULL, \
         end_time = CASE WHEN $6 THEN $5 ELSE end_time END \
         WHERE id = $1 AND state = $2 RETURNING ",
        columns!()
    );
    let args = args![id, from.text(), to.text(), why, now, !to.is_open()];
    changed(tx, SQL, args).await
}

/// Counts anew what a caller has asked for anew, and forgets what was wrong before.
pub(crate) async fn begin_anew(tx: &mut Tx, id: Uuid) -> Result<(), Error> {
    tx.execute(
        "UPDATE account_move SET passes = 0, rounds = 0, faults = $2, freeze_time = NULL, \
         last_write_time = NULL WHERE id = $1",
        args![id, serde_json::Value::Array(Vec::new())],
    )
    .await?;
    Ok(())
}

/// Begins another pass in the same state, not before a time; `None`: it is not in that state any
/// more.
pub(crate) async fn end_pass(
    tx: &mut Tx,
    id: Uuid,
    state: State,
    now: OffsetDateTime,
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str = concat!(
        "UPDATE account_move SET passes = passes + 1, checked_objects = 0, checked_bytes = 0, \
         pass_changes = 0, pass_bucket = '', pass_after = NULL, attempts = 0, update_time = $3 \
         WHERE id = $1 AND state = $2 RETURNING ",
        columns!()
    );
    changed(tx, SQL, args![id, state.text(), now]).await
}

/// Notes what a page came to; `None`: it is not in that state any more.
pub(crate) async fn advance(
    tx: &mut Tx,
    id: Uuid,
    state: State,
    advance: &Advance,
    now: OffsetDateTime,
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str = concat!(
        "UPDATE account_move SET pass_bucket = $3, pass_after = $4, \
         checked_objects = checked_objects + $5, checked_bytes = checked_bytes + $6, \
         copied_objects = copied_objects + $7, copied_bytes = copied_bytes + $8, \
         pass_changes = pass_changes + $9, faults = $10, \
         last_write_time = COALESCE($11, last_write_time), attempts = 0, why = '', \
         update_time = $12 WHERE id = $1 AND state = $2 RETURNING ",
        columns!()
    );
    let faults: Vec<_> = advance.faults.iter().map(|fault| fault.as_str().into()).collect();
    let args = args![
        id,
        state.text(),
        advance.bucket.as_str(),
        advance.after.as_ref().map(|after| after.as_bytes().to_vec()),
        advance.checked.objects,
        advance.checked.bytes,
        advance.copied.objects,
        advance.copied.bytes,
        advance.changes,
        serde_json::Value::Array(faults),
        advance.last_write_time,
        now,
    ];
    changed(tx, SQL, args).await
}

/// Notes what was counted at the end of the first copy.
pub(crate) async fn set_uploads(tx: &mut Tx, id: Uuid, uploads: i64) -> Result<(), Error> {
    let sql = "UPDATE account_move SET unfinished_uploads = $2 WHERE id = $1";
    tx.execute(sql, args![id, uploads]).await?;
    Ok(())
}

/// Notes since when the old side is read-only, and until when what was under way may take to end.
pub(crate) async fn set_frozen(
    tx: &mut Tx,
    id: Uuid,
    (now, settled): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<AccountMove>, Error> {
    const SQL: &str = concat!(
        "UPDATE account_move SET freeze_time = $2, next_attempt_time = $3, update_time = $2 \
         WHERE id = $1 AND state = 'FREEZING' RETURNING ",
        columns!()
    );
    changed(tx, SQL, args![id, now, settled]).await
}

/// Forgets what could not be brought to the new side, to try it again.
pub(crate) async fn forget_faults(tx: &mut Tx, id: Uuid) -> Result<(), Error> {
    let none = serde_json::Value::Array(Vec::new());
    tx.execute("UPDATE account_move SET faults = $2 WHERE id = $1", args![id, none]).await?;
    Ok(())
}

/// Counts a comparison that failed; the next one tells its own faults.
pub(crate) async fn count_round(tx: &mut Tx, id: Uuid) -> Result<(), Error> {
    tx.execute(
        "UPDATE account_move SET rounds = rounds + 1, faults = $2 WHERE id = $1",
        args![id, serde_json::Value::Array(Vec::new())],
    )
    .await?;
    Ok(())
}

/// Whether a move is in a state.
pub(crate) async fn is_in(db: &Db, id: Uuid, state: State) -> Result<bool, Error> {
    let sql = "SELECT id FROM account_move WHERE id = $1 AND state = $2";
    let found: Option<(Uuid,)> = db.fetch_optional(sql, args![id, state.text()]).await?;
    Ok(found.is_some())
}

/// Notes when the account was switched.
pub(crate) async fn set_switched(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    let sql = "UPDATE account_move SET switch_time = $2 WHERE id = $1";
    tx.execute(sql, args![id, now]).await?;
    Ok(())
}

/// Lets go after a failed attempt, until the next one.
pub(crate) async fn put_off(
    tx: &mut Tx,
    id: Uuid,
    state: State,
    (why, next): (&str, OffsetDateTime),
) -> Result<(), Error> {
    tx.execute(
        "UPDATE account_move SET attempts = attempts + 1, next_attempt_time = $4, why = $3 \
         WHERE id = $1 AND state = $2",
        args![id, state.text(), why, next],
    )
    .await?;
    Ok(())
}

/// Notes a copy whose tag is another than that of its original.
pub(crate) async fn set_copy(
    tx: &mut Tx,
    (id, bucket, key): (Uuid, &BucketName, &str),
    (from_etag, to_etag): (&str, &str),
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO account_move_copy (move_id, bucket, key, from_etag, to_etag) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (move_id, bucket, key) \
         DO UPDATE SET from_etag = excluded.from_etag, to_etag = excluded.to_etag",
        args![id, bucket.as_str(), key.as_bytes().to_vec(), from_etag, to_etag],
    )
    .await?;
    Ok(())
}

/// The tags of such copies, by key, from after one key up to another, both as bytes.
pub(crate) async fn copies(
    db: &Db,
    (id, bucket): (Uuid, &BucketName),
    (after, upto): (&[u8], &[u8]),
) -> Result<Vec<(String, (String, String))>, Error> {
    let rows: Vec<(Vec<u8>, String, String)> = db
        .fetch_all(
            "SELECT key, from_etag, to_etag FROM account_move_copy \
             WHERE move_id = $1 AND bucket = $2 AND key > $3 AND key <= $4",
            args![id, bucket.as_str(), after.to_vec(), upto.to_vec()],
        )
        .await?;
    let text = |key| String::from_utf8(key).map_err(|error| Error::Other { source: error.into() });
    rows.into_iter().map(|(key, from, to)| Ok((text(key)?, (from, to)))).collect()
}

/// Forgets the copies of a move that has ended, at most `rows_max`; answers how many.
pub(crate) async fn forget_copies(tx: &mut Tx, id: Uuid, rows_max: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM account_move_copy WHERE (move_id, bucket, key) IN \
         (SELECT move_id, bucket, key FROM account_move_copy WHERE move_id = $1 LIMIT $2)",
        args![id, rows_max],
    )
    .await
}

/// Why the account cannot be frozen at present: what is being changed in it.
pub(crate) async fn held_by(tx: &mut Tx, uid: &S3uid) -> Result<Option<String>, Error> {
    let changing: Option<(String,)> = tx
        .fetch_optional(
            "SELECT bucket FROM bucket_change WHERE s3uid = $1 LIMIT 1",
            args![uid.as_str()],
        )
        .await?;
    if let Some((bucket,)) = changing {
        return Ok(Some(format!("bucket {bucket} is being changed")));
    }
    let deleting: Option<(String, String)> = tx
        .fetch_optional(
            "SELECT bucket, state FROM bucket_deletion WHERE s3uid = $1 \
             AND (state IN ('RUNNING', 'PAUSED') OR batch_last IS NOT NULL) LIMIT 1",
            args![uid.as_str()],
        )
        .await?;
    Ok(deleting.map(|(bucket, state)| format!("a deletion of bucket {bucket} is {state}")))
}
