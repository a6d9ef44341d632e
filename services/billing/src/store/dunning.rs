//! Which invoices were announced as overdue, and which of these are settled.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::amount::damaged;

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

/// Notes an announcement; false if it is there already.
pub(crate) async fn insert(
    tx: &mut Tx,
    (provider, invoice_id): (&str, i64),
    s3uid: &S3uid,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO dunning (provider, invoice_id, s3uid, overdue_time) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (provider, invoice_id) DO NOTHING",
            args![provider, invoice_id, s3uid.as_str(), now],
        )
        .await?;
    Ok(rows == 1)
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

/// How many announced invoices of an account are not settled.
pub(crate) async fn count_open(mut from: impl Query, s3uid: &S3uid) -> Result<i64, Error> {
    let (count,): (i64,) = from
        .fetch_one(
            "SELECT count(*) FROM dunning WHERE s3uid = $1 AND settle_time IS NULL",
            args![s3uid.as_str()],
        )
        .await?;
    Ok(count)
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

/// When each of these was announced, if it was.
pub(crate) async fn announced(
    db: &Db,
    provider: &str,
    invoice_ids: &[i64],
) -> Result<BTreeMap<i64, OffsetDateTime>, Error> {
    if invoice_ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args: Args = args![provider];
    let numbers = args.push_all(invoice_ids.iter().copied());
    let sql = format!(
        "SELECT invoice_id, overdue_time FROM dunning \
         WHERE provider = $1 AND invoice_id IN ({numbers})"
    );
    Ok(db.fetch_all_built(sql, args).await?.into_iter().collect())
}
