//! Table `account`: latest figures of an account that has facts.

use std::collections::{BTreeMap, HashMap};

use stowage_db::{Args, Db, Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::Unchecked;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) stored_bytes: i64,
    pub(crate) newest_sample_time: Option<OffsetDateTime>,
    pub(crate) as_of_time: OffsetDateTime,
}

pub(crate) async fn find(mut from: impl Query, s3uid: &S3uid) -> Result<Option<Row>, Error> {
    const SQL: &str = "SELECT stored_bytes, newest_sample_time, as_of_time FROM account \
        WHERE s3uid = $1";
    from.fetch_optional(SQL, args![s3uid.as_str()]).await
}

#[derive(sqlx::FromRow)]
struct OfUid {
    s3uid: String,
    #[sqlx(flatten)]
    row: Row,
}

/// Those of these accounts that have facts, by s3uid.
pub(crate) async fn list_of(
    db: &Db,
    s3uids: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, Row>, Error> {
    let mut args = Args::new();
    let places = args.push_all(s3uids);
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT s3uid, stored_bytes, newest_sample_time, as_of_time FROM account \
         WHERE s3uid IN ({places})"
    );
    let rows: Vec<OfUid> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|of| (of.s3uid, of.row)).collect())
}

/// Holds accounts until the transaction ends, so that what is read of them can be added to; what
/// they have then, each as of the given time or later. One without facts is made. They come in
/// order, so that two who hold several do not wait for each other.
pub(crate) async fn hold(
    tx: &mut Tx,
    accounts: &BTreeMap<&S3uid, OffsetDateTime>,
) -> Result<HashMap<String, Row>, Error> {
    const HEAD: &str = "INSERT INTO account (s3uid, stored_bytes, as_of_time)";
    const TAIL: &str = " ON CONFLICT (s3uid) DO UPDATE SET as_of_time = \
        CASE WHEN account.as_of_time > excluded.as_of_time THEN account.as_of_time \
        ELSE excluded.as_of_time END, \
        is_unchecked = account.is_unchecked OR account.is_limited \
        RETURNING s3uid, stored_bytes, newest_sample_time, as_of_time";
    let row = |(s3uid, as_of): (&&S3uid, &OffsetDateTime)| {
        vec![s3uid.as_str().into(), 0.into(), as_of.into()]
    };
    let held: Vec<OfUid> =
        tx.put_rows_returning(HEAD, accounts.iter().map(row).collect::<Vec<_>>(), TAIL).await?;
    Ok(held.into_iter().map(|of| (of.s3uid, of.row)).collect())
}

pub(crate) async fn put(tx: &mut Tx, s3uid: &S3uid, row: &Row) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO account (s3uid, stored_bytes, newest_sample_time, as_of_time) \
        VALUES ($1, $2, $3, $4) ON CONFLICT (s3uid) DO UPDATE SET \
        stored_bytes = excluded.stored_bytes, newest_sample_time = excluded.newest_sample_time, \
        as_of_time = excluded.as_of_time";
    let args = args![s3uid.as_str(), row.stored_bytes, row.newest_sample_time, row.as_of_time];
    tx.execute(SQL, args).await?;
    Ok(())
}

/// Holds an account until the transaction ends; `false`: there are no facts of it.
pub(crate) async fn lock(tx: &mut Tx, s3uid: &S3uid) -> Result<bool, Error> {
    const SQL: &str = "SELECT s3uid FROM account WHERE s3uid = $1 FOR UPDATE";
    let row: Option<(String,)> = tx.fetch_optional(SQL, args![s3uid.as_str()]).await?;
    Ok(row.is_some())
}

/// Accounts with facts, in order, behind a name.
pub(crate) async fn page(db: &Db, after: &str, max: i64) -> Result<Vec<S3uid>, Error> {
    const SQL: &str = "SELECT s3uid FROM account WHERE s3uid > $1 ORDER BY s3uid LIMIT $2";
    let rows: Vec<(String,)> = db.fetch_all(SQL, args![after, max]).await?;
    let read =
        |(text,): (String,)| S3uid::parse(&text).map_err(|bad| Error::Other { source: bad.into() });
    rows.into_iter().map(read).collect()
}

/// Has an account held against its limits, if there are facts of it.
pub(crate) async fn set_unchecked(tx: &mut Tx, s3uid: &S3uid) -> Result<(), Error> {
    const SQL: &str = "UPDATE account SET is_unchecked = true WHERE s3uid = $1";
    tx.execute(SQL, args![s3uid.as_str()]).await?;
    Ok(())
}

/// Holds up to `max` accounts that are to be held against their limits. Those that others hold are
/// left for the next time.
pub(crate) async fn unchecked(tx: &mut Tx, max: i64) -> Result<Vec<Unchecked>, Error> {
    const SQL: &str = "SELECT s3uid, stored_bytes FROM account WHERE is_unchecked \
        ORDER BY s3uid LIMIT $1 FOR UPDATE SKIP LOCKED";
    let rows: Vec<(String, i64)> = tx.fetch_all(SQL, args![max]).await?;
    let read = |(text, stored_bytes): (String, i64)| {
        let s3uid = S3uid::parse(&text).map_err(|bad| Error::Other { source: bad.into() })?;
        Ok(Unchecked { s3uid, stored_bytes })
    };
    rows.into_iter().map(read).collect()
}

/// Notes that accounts were held against their limits, and that only `limited` have any.
pub(crate) async fn set_checked(
    tx: &mut Tx,
    (all, limited): (&[&S3uid], &[&S3uid]),
) -> Result<(), Error> {
    let mut args = Args::new();
    let places = args.push_all(limited.iter().map(|s3uid| s3uid.as_str()));
    let is_limited = match limited {
        [] => "false".to_owned(),
        _ => format!("s3uid IN ({places})"),
    };
    let places = args.push_all(all.iter().map(|s3uid| s3uid.as_str()));
    let sql = format!(
        "UPDATE account SET is_unchecked = false, is_limited = ({is_limited}) \
         WHERE s3uid IN ({places})"
    );
    tx.execute_built(sql, args).await?;
    Ok(())
}
