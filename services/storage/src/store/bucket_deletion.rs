//! Deletions of buckets with all that is in them.

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::bucket_deletion::{Amount, Batch, BucketDeletion, Lease, State};
use crate::domain::change::Told;

macro_rules! columns {
    () => {
        "id, s3uid, bucket, location, bucket_create_time, state, why, actor, request_id, \
         by_customer, start_objects, start_bytes, deleted_objects, deleted_bytes, batch_last, \
         batch_objects, batch_bytes, attempts, create_time, update_time, end_time"
    };
}

/// The deletions that somebody has to work on.
macro_rules! is_due {
    () => {
        "(state = 'RUNNING' OR batch_last IS NOT NULL) AND next_attempt_time <= $1 \
         AND (lease_until <= $1 OR ($2 AND lease_process <> $3))"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    s3uid: String,
    bucket: String,
    location: String,
    bucket_create_time: OffsetDateTime,
    state: String,
    why: String,
    actor: Option<String>,
    request_id: String,
    by_customer: bool,
    start_objects: i64,
    start_bytes: i64,
    deleted_objects: i64,
    deleted_bytes: i64,
    batch_last: Option<Vec<u8>>,
    batch_objects: i64,
    batch_bytes: i64,
    attempts: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
    end_time: Option<OffsetDateTime>,
}

impl TryFrom<Row> for BucketDeletion {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let bad = |why: stowage_types::Malformed| Error::Other { source: why.why.into() };
        let batch = Amount { objects: row.batch_objects, bytes: row.batch_bytes };
        Ok(Self {
            id: row.id,
            uid: S3uid::parse(&row.s3uid).map_err(bad)?,
            bucket: BucketName::new(&row.bucket).map_err(bad)?,
            location: row.location,
            bucket_create_time: row.bucket_create_time,
            state: State::of(&row.state),
            why: row.why,
            told: row.actor.map(|actor| Told { actor, request_id: row.request_id }),
            by_customer: row.by_customer,
            start: Amount { objects: row.start_objects, bytes: row.start_bytes },
            deleted: Amount { objects: row.deleted_objects, bytes: row.deleted_bytes },
            batch: row.batch_last.map(|last| Batch { last, amount: batch }),
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            create_time: row.create_time,
            update_time: row.update_time,
            end_time: row.end_time,
        })
    }
}

/// Runs a statement that answers the row it has changed, if there was one.
async fn changed(
    tx: &mut Tx,
    sql: &'static str,
    args: Args,
) -> Result<Option<BucketDeletion>, Error> {
    let row: Option<Row> = tx.fetch_optional(sql, args).await?;
    row.map(BucketDeletion::try_from).transpose()
}

/// `false` if one of the bucket is open already.
pub(crate) async fn insert(tx: &mut Tx, new: &BucketDeletion) -> Result<bool, Error> {
    let nobody = Uuid::nil();
    let mut args = args![
        new.id,
        new.uid.as_str(),
        new.bucket.as_str(),
        &new.location,
        new.bucket_create_time,
        new.told.as_ref().map(|told| told.actor.as_str()),
        new.by_customer,
        new.start.objects,
    ];
    args.push(new.start.bytes);
    args.push(new.create_time);
    args.push(nobody);
    args.push(new.told.as_ref().map_or("", |told| told.request_id.as_str()));
    let rows = tx
        .execute(
            "INSERT INTO bucket_deletion (id, s3uid, bucket, location, bucket_create_time, state, \
         why, actor, by_customer, start_objects, start_bytes, deleted_objects, deleted_bytes, \
         batch_objects, batch_bytes, attempts, next_attempt_time, lease_owner, lease_process, \
         lease_until, create_time, update_time, request_id) \
         VALUES ($1, $2, $3, $4, $5, 'RUNNING', '', $6, $7, $8, $9, 0, 0, 0, 0, 0, $10, $11, \
         $11, $10, $10, $10, $12) \
         ON CONFLICT (s3uid, bucket) WHERE state IN ('RUNNING', 'PAUSED') DO NOTHING",
            args,
        )
        .await?;
    Ok(rows == 1)
}

pub(crate) async fn find(
    mut from: impl Query,
    uid: &S3uid,
    id: Uuid,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM bucket_deletion WHERE s3uid = $1 AND id = $2");
    let row: Option<Row> = from.fetch_optional(SQL, args![uid.as_str(), id]).await?;
    row.map(BucketDeletion::try_from).transpose()
}

/// The one of a bucket that has not ended.
pub(crate) async fn find_open(
    mut from: impl Query,
    uid: &S3uid,
    bucket: &BucketName,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM bucket_deletion WHERE s3uid = $1 AND bucket = $2 AND state IN ('RUNNING', 'PAUSED')"
    );
    let row: Option<Row> = from.fetch_optional(SQL, args![uid.as_str(), bucket.as_str()]).await?;
    row.map(BucketDeletion::try_from).transpose()
}

/// Those of an account, newest first, from before `before`; with `bucket` those of it only.
pub(crate) async fn list(
    db: &Db,
    uid: &S3uid,
    bucket: Option<&BucketName>,
    (before, rows_max): (Uuid, i64),
) -> Result<Vec<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM bucket_deletion WHERE s3uid = $1 AND id < $2 AND ($3 = '' OR bucket = $3) \
         ORDER BY id DESC LIMIT $4"
    );
    let bucket = bucket.map_or("", BucketName::as_str);
    let rows: Vec<Row> = db.fetch_all(SQL, args![uid.as_str(), before, bucket, rows_max]).await?;
    rows.into_iter().map(BucketDeletion::try_from).collect()
}

/// Changes the state of one that has not ended.
pub(crate) async fn set_state(
    tx: &mut Tx,
    id: Uuid,
    (state, why): (State, &str),
    now: OffsetDateTime,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "UPDATE bucket_deletion SET state = $2, why = $3, attempts = 0, next_attempt_time = $4, \
         update_time = $4, end_time = $5 WHERE id = $1 AND state IN ('RUNNING', 'PAUSED') \
         RETURNING ",
        columns!()
    );
    let end = (!state.is_open()).then_some(now);
    changed(tx, SQL, args![id, state.text(), why, now, end]).await
}

/// Whether there is one to work on.
pub(crate) async fn is_due(db: &Db, lease: Lease, takes_over: bool) -> Result<bool, Error> {
    const SQL: &str = concat!("SELECT id FROM bucket_deletion WHERE ", is_due!(), " LIMIT 1");
    let args = args![lease.now, takes_over, lease.process];
    let found: Option<(Uuid,)> = db.fetch_optional(SQL, args).await?;
    Ok(found.is_some())
}

/// Takes the one that has waited longest.
pub(crate) async fn claim(
    tx: &mut Tx,
    lease: Lease,
    takes_over: bool,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "UPDATE bucket_deletion SET lease_process = $3, lease_owner = $4, lease_until = $5 \
         WHERE id = (SELECT id FROM bucket_deletion WHERE ",
        is_due!(),
        // Again, for the row may have been another's when this one came to it.
        " ORDER BY next_attempt_time LIMIT 1) AND (",
        is_due!(),
        ") RETURNING ",
        columns!()
    );
    let args = args![lease.now, takes_over, lease.process, lease.owner, lease.until];
    changed(tx, SQL, args).await
}

/// Notes what is about to be deleted; `None` if the lease was lost or it does not run any more.
pub(crate) async fn begin_batch(
    tx: &mut Tx,
    id: Uuid,
    lease: Lease,
    batch: &Batch,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "UPDATE bucket_deletion SET batch_last = $3, batch_objects = $4, batch_bytes = $5, \
         lease_until = $6 WHERE id = $1 AND lease_owner = $2 AND state = 'RUNNING' RETURNING ",
        columns!()
    );
    let Batch { last, amount } = batch;
    let args = args![id, lease.owner, last.as_slice(), amount.objects, amount.bytes, lease.until];
    changed(tx, SQL, args).await
}

/// Counts what has gone of the batch under way; `None` if the lease was lost.
pub(crate) async fn end_batch(
    tx: &mut Tx,
    id: Uuid,
    lease: Lease,
    gone: Amount,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "UPDATE bucket_deletion SET deleted_objects = deleted_objects + $3, \
         deleted_bytes = deleted_bytes + $4, batch_last = NULL, batch_objects = 0, \
         batch_bytes = 0, attempts = CASE WHEN $3 > 0 THEN 0 ELSE attempts END, \
         why = CASE WHEN $3 > 0 AND state = 'RUNNING' THEN '' ELSE why END, \
         lease_until = $5, update_time = $6 WHERE id = $1 AND lease_owner = $2 RETURNING ",
        columns!()
    );
    let args = args![id, lease.owner, gone.objects, gone.bytes, lease.until, lease.now];
    changed(tx, SQL, args).await
}

/// Notes that the bucket is gone, and with it all of the batch under way; `None` if the lease was
/// lost.
pub(crate) async fn set_done(
    tx: &mut Tx,
    id: Uuid,
    lease: Lease,
) -> Result<Option<BucketDeletion>, Error> {
    const SQL: &str = concat!(
        "UPDATE bucket_deletion SET state = 'DONE', why = '', \
         deleted_objects = deleted_objects + batch_objects, \
         deleted_bytes = deleted_bytes + batch_bytes, batch_last = NULL, batch_objects = 0, \
         batch_bytes = 0, lease_until = $3, update_time = $3, end_time = $3 \
         WHERE id = $1 AND lease_owner = $2 RETURNING ",
        columns!()
    );
    changed(tx, SQL, args![id, lease.owner, lease.now]).await
}

/// Lets go after a failed attempt, until the next one. A running one that fails for good ends.
pub(crate) async fn put_off(
    tx: &mut Tx,
    id: Uuid,
    lease: Lease,
    (why, is_final, next): (&str, bool, OffsetDateTime),
) -> Result<(), Error> {
    tx.execute(
        "UPDATE bucket_deletion SET attempts = attempts + 1, next_attempt_time = $4, \
         why = CASE WHEN state = 'RUNNING' THEN $3 ELSE why END, \
         end_time = CASE WHEN state = 'RUNNING' AND $5 THEN $6 ELSE end_time END, \
         state = CASE WHEN state = 'RUNNING' AND $5 THEN 'FAILED' ELSE state END, \
         lease_until = $6, update_time = $6 WHERE id = $1 AND lease_owner = $2",
        args![id, lease.owner, why, next, is_final, lease.now],
    )
    .await?;
    Ok(())
}

/// Lets go, and lets those that have waited longer go first.
pub(crate) async fn release(tx: &mut Tx, id: Uuid, lease: Lease) -> Result<(), Error> {
    tx.execute(
        "UPDATE bucket_deletion SET lease_until = $3, next_attempt_time = $3 \
         WHERE id = $1 AND lease_owner = $2",
        args![id, lease.owner, lease.now],
    )
    .await?;
    Ok(())
}

/// Forgets those that ended before `before`, at most `rows_max`; answers how many.
pub(crate) async fn forget(
    tx: &mut Tx,
    before: OffsetDateTime,
    rows_max: i64,
) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM bucket_deletion WHERE id IN \
         (SELECT id FROM bucket_deletion WHERE end_time < $1 AND batch_last IS NULL LIMIT $2)",
        args![before, rows_max],
    )
    .await
}
