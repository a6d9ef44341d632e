//! Sealed access keys.

use stowage_db::{Args, Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::access_key::{KnownKey, SealedKey};

pub(crate) fn insert(tx: &mut Tx, s3uid: &S3uid, key: &SealedKey) {
    const SQL: &str = "INSERT INTO access_key (access_key, s3uid, sealed, create_time) \
        VALUES ($1, $2, $3, $4)";
    let args = args![&key.access_key, s3uid.as_str(), &key.sealed, key.create_time];
    tx.defer(SQL, args);
}

/// The keys of an account that are not erased, oldest first.
pub(crate) async fn list(mut from: impl Query, s3uid: &S3uid) -> Result<Vec<SealedKey>, Error> {
    const SQL: &str = "SELECT access_key, sealed, create_time, revoke_time FROM access_key \
        WHERE s3uid = $1 AND sealed IS NOT NULL ORDER BY create_time, access_key";
    type Row = (String, Vec<u8>, OffsetDateTime, Option<OffsetDateTime>);
    let rows: Vec<Row> = from.fetch_all(SQL, args![s3uid.as_str()]).await?;
    let key = |(access_key, sealed, create_time, revoke_time): Row| SealedKey {
        access_key,
        sealed,
        create_time,
        revoke_time,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// Ids of the keys of these accounts that are not erased, each with its account.
pub(crate) async fn list_of(
    mut from: impl Query,
    s3uids: &[&str],
) -> Result<Vec<(String, String)>, Error> {
    if s3uids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let wanted = args.push_all(s3uids.iter().copied());
    let sql = format!(
        "SELECT s3uid, access_key FROM access_key WHERE sealed IS NOT NULL AND s3uid IN ({wanted})"
    );
    from.fetch_all_built(sql, args).await
}

/// Which of these ids is of an account's key, erased or not.
pub(crate) async fn find_known(
    mut from: impl Query,
    access_keys: &[String],
) -> Result<Option<String>, Error> {
    if access_keys.is_empty() {
        return Ok(None);
    }
    let mut args = Args::new();
    let wanted = args.push_all(access_keys.iter().map(String::as_str));
    let sql = format!("SELECT access_key FROM access_key WHERE access_key IN ({wanted}) LIMIT 1");
    let rows: Vec<(String,)> = from.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().next().map(|(access_key,)| access_key))
}

/// A key of an account, revoked or not.
pub(crate) async fn find(
    mut from: impl Query,
    s3uid: &S3uid,
    access_key: &str,
) -> Result<Option<KnownKey>, Error> {
    const SQL: &str = "SELECT sealed IS NULL, revoke_time FROM access_key \
        WHERE s3uid = $1 AND access_key = $2";
    let row: Option<(bool, Option<OffsetDateTime>)> =
        from.fetch_optional(SQL, args![s3uid.as_str(), access_key]).await?;
    Ok(row.map(|(is_revoked, revoke_time)| KnownKey { is_revoked, revoke_time }))
}

/// Keys whose time is over, of accounts that no change is under way of.
pub(crate) async fn list_due(
    mut from: impl Query,
    now: OffsetDateTime,
    max: i64,
) -> Result<Vec<(S3uid, String)>, Error> {
    const SQL: &str = "SELECT k.s3uid, k.access_key FROM access_key k \
        JOIN account a ON a.s3uid = k.s3uid \
        WHERE k.revoke_time <= $1 AND k.sealed IS NOT NULL AND a.state = 'ACTIVE' \
        AND a.change_saga IS NULL ORDER BY k.revoke_time LIMIT $2";
    let rows: Vec<(String, String)> = from.fetch_all(SQL, args![now, max]).await?;
    rows.into_iter()
        .map(|(s3uid, access_key)| match S3uid::parse(&s3uid) {
            Ok(s3uid) => Ok((s3uid, access_key)),
            Err(_) => Err(Error::Other { source: "access_key: s3uid".into() }),
        })
        .collect()
}

/// Notes when a key is revoked; `None`: it is not.
pub(crate) async fn set_revoke_time(
    tx: &mut Tx,
    access_key: &str,
    time: Option<OffsetDateTime>,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE access_key SET revoke_time = $2 WHERE access_key = $1";
    tx.execute(SQL, args![access_key, time]).await.map(|_| ())
}

/// Notes when a key is revoked, unless that is to be earlier already.
pub(crate) async fn retire(
    tx: &mut Tx,
    access_key: &str,
    time: OffsetDateTime,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE access_key SET revoke_time = $2 WHERE access_key = $1 \
        AND (revoke_time IS NULL OR revoke_time > $2)";
    tx.execute(SQL, args![access_key, time]).await.map(|_| ())
}

/// Erases the secret of one key; as [`erase`].
pub(crate) async fn erase_one(tx: &mut Tx, access_key: &str) -> Result<(), Error> {
    const SQL: &str = "UPDATE access_key SET sealed = NULL WHERE access_key = $1";
    tx.execute(SQL, args![access_key]).await.map(|_| ())
}

/// Erases the secrets of an account's keys. The ids stay, so that none is given out again.
pub(crate) async fn erase(tx: &mut Tx, s3uid: &S3uid) -> Result<(), Error> {
    const SQL: &str = "UPDATE access_key SET sealed = NULL WHERE s3uid = $1";
    tx.execute(SQL, args![s3uid.as_str()]).await.map(|_| ())
}

/// How many sealed secrets begin in which way.
pub(crate) async fn count_sealed(mut from: impl Query) -> Result<Vec<(Vec<u8>, i64)>, Error> {
    const SQL: &str = "SELECT substr(sealed, 1, 5), count(*) FROM access_key \
        WHERE sealed IS NOT NULL GROUP BY substr(sealed, 1, 5)";
    from.fetch_all(SQL, args![]).await
}

/// Sealed secrets that do not begin with `header`, those after a key, in the order of keys.
pub(crate) async fn list_sealed(
    mut from: impl Query,
    header: &[u8],
    after: &str,
    max: i64,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    const SQL: &str = "SELECT access_key, sealed FROM access_key WHERE access_key > $1 \
        AND sealed IS NOT NULL AND substr(sealed, 1, 5) <> $2 ORDER BY access_key LIMIT $3";
    from.fetch_all(SQL, args![after, header, max]).await
}

/// Replaces a sealed secret, if it is still the one that was read.
pub(crate) async fn replace_sealed(
    tx: &mut Tx,
    access_key: &str,
    (old, new): (Vec<u8>, Vec<u8>),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE access_key SET sealed = $1 WHERE access_key = $2 AND sealed = $3";
    Ok(tx.execute(SQL, args![new, access_key, old]).await? == 1)
}
