//! Which invoices were announced as overdue, how far each has come, and which are settled.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::amount::damaged;
use crate::domain::dunning::{Announced, Reached, Stage};

#[derive(sqlx::FromRow)]
struct Row {
    invoice_id: i64,
    overdue_time: OffsetDateTime,
    stage: String,
    reminder: i64,
    settle_time: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Announced {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let reminder = i32::try_from(row.reminder).map_err(damaged)?;
        Ok(Self {
            overdue_time: row.overdue_time,
            reached: Reached { stage: read_stage(&row.stage)?, reminder },
            is_settled: row.settle_time.is_some(),
        })
    }
}

fn read_stage(text: &str) -> Result<Stage, Error> {
    Stage::parse(text).ok_or_else(|| damaged("a stage that is none"))
}

/// Locks what is known of an account until the end of the transaction.
pub(crate) async fn lock_account(tx: &mut Tx, s3uid: &S3uid) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO dunning_account (s3uid) VALUES ($1) \
         ON CONFLICT (s3uid) DO UPDATE SET s3uid = excluded.s3uid",
        args![s3uid.as_str()],
    )
    .await?;
    Ok(())
}

/// What is known of an announced invoice.
pub(crate) async fn find(
    mut from: impl Query,
    (provider, invoice_id): (&str, i64),
) -> Result<Option<Announced>, Error> {
    let row: Option<Row> = from
        .fetch_optional(
            "SELECT invoice_id, overdue_time, stage, reminder, settle_time FROM dunning \
             WHERE provider = $1 AND invoice_id = $2",
            args![provider, invoice_id],
        )
        .await?;
    row.map(Announced::try_from).transpose()
}

/// Notes how far an invoice has come that is not settled; the first time it is announced.
pub(crate) async fn set_reached(
    tx: &mut Tx,
    (provider, invoice_id): (&str, i64),
    (s3uid, reached): (&S3uid, Reached),
    now: OffsetDateTime,
) -> Result<(), Error> {
    let (stage, reminder) = (reached.stage.text(), reached.reminder);
    tx.execute(
        "INSERT INTO dunning (provider, invoice_id, s3uid, overdue_time, stage, reminder) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (provider, invoice_id) \
         DO UPDATE SET stage = excluded.stage, reminder = excluded.reminder",
        args![provider, invoice_id, s3uid.as_str(), now, stage, reminder],
    )
    .await?;
    Ok(())
}

/// The number of the next event of a locked account. It goes by the clock too, so that it does not
/// fall behind what was sent when a backup is put back.
pub(crate) async fn next_sequence(
    tx: &mut Tx,
    s3uid: &S3uid,
    now: OffsetDateTime,
) -> Result<i64, Error> {
    let micros = i64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or(0);
    let (sequence,): (i64,) = tx
        .fetch_one(
            "UPDATE dunning_account \
             SET sequence = CASE WHEN sequence < $2 THEN $2 ELSE sequence + 1 END \
             WHERE s3uid = $1 RETURNING sequence",
            args![s3uid.as_str(), micros],
        )
        .await?;
    Ok(sequence)
}

/// The account of an announced invoice that is not settled.
pub(crate) async fn find_open(
    mut from: impl Query,
    (provider, invoice_id): (&str, i64),
) -> Result<Option<S3uid>, Error> {
    let row: Option<(String,)> = from
        .fetch_optional(
            "SELECT s3uid FROM dunning \
             WHERE provider = $1 AND invoice_id = $2 AND settle_time IS NULL",
            args![provider, invoice_id],
        )
        .await?;
    row.map(|(s3uid,)| S3uid::parse(&s3uid).map_err(damaged)).transpose()
}

/// Notes that an announced invoice is settled; false if it was before.
pub(crate) async fn settle(
    tx: &mut Tx,
    (provider, invoice_id): (&str, i64),
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE dunning SET settle_time = $3 \
             WHERE provider = $1 AND invoice_id = $2 AND settle_time IS NULL",
            args![provider, invoice_id, now],
        )
        .await?;
    Ok(rows == 1)
}

/// The highest stage that any announced invoice of an account has come to that is not settled.
pub(crate) async fn highest_open(
    mut from: impl Query,
    s3uid: &S3uid,
) -> Result<Option<Stage>, Error> {
    let rows: Vec<(String,)> = from
        .fetch_all(
            "SELECT DISTINCT stage FROM dunning WHERE s3uid = $1 AND settle_time IS NULL",
            args![s3uid.as_str()],
        )
        .await?;
    let stages = rows.iter().map(|(stage,)| read_stage(stage));
    Ok(stages.collect::<Result<Vec<_>, _>>()?.into_iter().max())
}

/// Announced invoices that are not settled, by id, those after one.
pub(crate) async fn list_open(
    db: &Db,
    provider: &str,
    (after, max): (i64, i64),
) -> Result<Vec<i64>, Error> {
    let rows: Vec<(i64,)> = db
        .fetch_all(
            "SELECT invoice_id FROM dunning WHERE provider = $1 AND invoice_id > $2 \
             AND settle_time IS NULL ORDER BY invoice_id LIMIT $3",
            args![provider, after, max],
        )
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What is known of each of these that was announced.
pub(crate) async fn announced(
    db: &Db,
    provider: &str,
    invoice_ids: &[i64],
) -> Result<BTreeMap<i64, Announced>, Error> {
    if invoice_ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args: Args = args![provider];
    let numbers = args.push_all(invoice_ids.iter().copied());
    let sql = format!(
        "SELECT invoice_id, overdue_time, stage, reminder, settle_time FROM dunning \
         WHERE provider = $1 AND invoice_id IN ({numbers})"
    );
    let rows: Vec<Row> = db.fetch_all_built(sql, args).await?;
    rows.into_iter().map(|row| Ok((row.invoice_id, row.try_into()?))).collect()
}
