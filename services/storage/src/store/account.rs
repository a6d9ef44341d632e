//! Accounts and their tombstones.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_engine::AccountAccess;
use stowage_types::{CustomerId, S3uid};
use time::OffsetDateTime;

use crate::domain::engine_account::{Account, Limits, Noted, State};

#[derive(sqlx::FromRow)]
struct Row {
    customer_id: Option<i64>,
    location: Option<String>,
    quota_bytes: Option<i64>,
    bucket_max: Option<i64>,
    suspended: bool,
    read_only: bool,
    may_delete: bool,
    state: String,
    frozen: bool,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    s3uid: String,
    #[sqlx(flatten)]
    account: Row,
}

impl From<Row> for Account {
    fn from(row: Row) -> Self {
        Self {
            customer: row.customer_id.map(CustomerId),
            location: row.location,
            limits: Limits {
                quota_bytes: row.quota_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
                bucket_max: row.bucket_max.and_then(|max| u32::try_from(max).ok()),
                access: match (row.suspended, row.read_only) {
                    (true, _) => AccountAccess::Suspended,
                    (false, true) => AccountAccess::ReadOnly,
                    (false, false) => AccountAccess::Full,
                },
                may_delete: row.may_delete,
            },
            state: match row.state.as_str() {
                "PENDING" => State::Pending,
                "ACTIVE" => State::Active,
                "REMOVING" => State::Removing,
                _ => State::Removed,
            },
            is_frozen: row.frozen,
        }
    }
}

pub(crate) async fn find(mut from: impl Query, uid: &S3uid) -> Result<Option<Account>, Error> {
    let row: Option<Row> = from
        .fetch_optional(
            "SELECT customer_id, location, quota_bytes, bucket_max, suspended, read_only, \
             may_delete, state, frozen \
             FROM account WHERE s3uid = $1",
            args![uid.as_str()],
        )
        .await?;
    Ok(row.map(Account::from))
}

/// These accounts and tombstones, by uid.
pub(crate) async fn list_of(db: &Db, uids: &[&S3uid]) -> Result<BTreeMap<String, Account>, Error> {
    let mut args = Args::new();
    let places = args.push_all(uids.iter().map(|uid| uid.as_str()));
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT s3uid, customer_id, location, quota_bytes, bucket_max, suspended, read_only, \
         state, frozen, may_delete FROM account WHERE s3uid IN ({places})"
    );
    let rows: Vec<ListedRow> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|row| (row.s3uid, row.account.into())).collect())
}

/// Accounts of a location that are not removed, by uid, those after `after`.
pub(crate) async fn list_at(
    db: &Db,
    location: &str,
    after: &str,
    rows_max: u32,
) -> Result<Vec<(S3uid, Account)>, Error> {
    let rows: Vec<ListedRow> = db
        .fetch_all(
            "SELECT s3uid, customer_id, location, quota_bytes, bucket_max, suspended, \
             read_only, may_delete, state, frozen \
             FROM account WHERE location = $1 AND s3uid > $2 AND state <> 'REMOVED' \
             ORDER BY s3uid LIMIT $3",
            args![location, after, rows_max],
        )
        .await?;
    let bad = |why: stowage_types::Malformed| Error::Other { source: why.why.into() };
    rows.into_iter()
        .map(|row| Ok((S3uid::parse(&row.s3uid).map_err(bad)?, row.account.into())))
        .collect()
}

/// Notes that an account is about to be made; `false` if one is known, which stays as it is.
pub(crate) async fn insert_pending(
    tx: &mut Tx,
    noted: &Noted<'_>,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let args =
        args![noted.uid.as_str(), noted.customer.0, &noted.location.code, now, noted.count_from,];
    let rows = tx
        .execute(
            "INSERT INTO account \
             (s3uid, customer_id, location, state, create_time, update_time, count_from) \
             VALUES ($1, $2, $3, 'PENDING', $4, $4, $5) ON CONFLICT (s3uid) DO NOTHING",
            args,
        )
        .await?;
    Ok(rows == 1)
}

/// Notes that the engine has the account with these limits; `false` when it is a tombstone, or
/// about to become one.
pub(crate) async fn set_active(
    tx: &mut Tx,
    uid: &S3uid,
    limits: Limits,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE account SET state = 'ACTIVE', quota_bytes = $2, bucket_max = $3, \
             update_time = $4, suspended = $5, read_only = $6, may_delete = $7 \
             WHERE s3uid = $1 AND state IN ('PENDING', 'ACTIVE')",
            args![
                uid.as_str(),
                limits.quota_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
                limits.bucket_max,
                now,
                limits.access == AccountAccess::Suspended,
                limits.access == AccountAccess::ReadOnly,
                limits.may_delete,
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Notes that the account is being removed; one never seen becomes a tombstone at once.
pub(crate) async fn set_removing(
    tx: &mut Tx,
    uid: &S3uid,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO account (s3uid, state, create_time, update_time) \
         VALUES ($1, 'REMOVED', $2, $2) \
         ON CONFLICT (s3uid) DO UPDATE SET state = 'REMOVING', update_time = $2 \
         WHERE account.state <> 'REMOVED'",
        args![uid.as_str(), now],
    )
    .await?;
    Ok(())
}

/// Ends a removal: with a tombstone, or with the account as it was.
pub(crate) async fn end_removing(
    tx: &mut Tx,
    uid: &S3uid,
    is_removed: bool,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE account SET state = $2, update_time = $3 WHERE s3uid = $1 AND state = 'REMOVING'",
        args![uid.as_str(), if is_removed { "REMOVED" } else { "ACTIVE" }, now],
    )
    .await?;
    if is_removed {
        tx.execute("DELETE FROM bucket_made WHERE s3uid = $1", args![uid.as_str()]).await?;
    }
    Ok(())
}

/// Freezes the account, or lets it be changed again. Who holds its row waits or is waited for.
pub(crate) async fn set_frozen(tx: &mut Tx, uid: &S3uid, is_frozen: bool) -> Result<(), Error> {
    let sql = "UPDATE account SET frozen = $2 WHERE s3uid = $1";
    tx.execute(sql, args![uid.as_str(), is_frozen]).await?;
    Ok(())
}

/// Holds the row of an account, so that it is not frozen before the end of the transaction;
/// `false`: it is.
pub(crate) async fn hold_unfrozen(tx: &mut Tx, uid: &S3uid) -> Result<bool, Error> {
    let sql = "UPDATE account SET frozen = frozen WHERE s3uid = $1 AND NOT frozen";
    Ok(tx.execute(sql, args![uid.as_str()]).await? == 1)
}

/// Notes where the account is from now on, and lets it be changed again.
pub(crate) async fn set_location(
    tx: &mut Tx,
    uid: &S3uid,
    location: &str,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE account SET location = $2, frozen = $3, update_time = $4 WHERE s3uid = $1",
        args![uid.as_str(), location, false, now],
    )
    .await?;
    Ok(())
}

/// Which of these accounts are at another location than that.
pub(crate) async fn elsewhere(
    tx: &mut Tx,
    location: &str,
    uids: impl Iterator<Item = &S3uid>,
) -> Result<Vec<String>, Error> {
    let mut args = args![location];
    let places = args.push_all(uids.map(S3uid::as_str));
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT s3uid FROM account WHERE location <> $1 AND s3uid IN ({places})");
    let rows: Vec<(String,)> = tx.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|(uid,)| uid).collect())
}

/// From which hour on the traffic of accounts is metered; those that are not told: from the first.
pub(crate) async fn count_from(
    tx: &mut Tx,
    uids: impl Iterator<Item = &S3uid>,
) -> Result<BTreeMap<String, OffsetDateTime>, Error> {
    let mut args = Args::new();
    let places = args.push_all(uids.map(S3uid::as_str));
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT s3uid, count_from FROM account WHERE count_from IS NOT NULL AND s3uid IN ({places})"
    );
    let rows: Vec<(String, OffsetDateTime)> = tx.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().collect())
}
