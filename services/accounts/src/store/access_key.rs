//! Sealed access keys.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use crate::domain::access_key::SealedKey;

pub(crate) fn insert(tx: &mut Tx, s3uid: &S3uid, key: &SealedKey) {
    const SQL: &str = "INSERT INTO access_key (access_key, s3uid, sealed, create_time) \
        VALUES ($1, $2, $3, $4)";
    let args = args![&key.access_key, s3uid.as_str(), &key.sealed, key.create_time];
    tx.defer(SQL, args);
}

/// The keys of an account that are not erased, oldest first.
pub(crate) async fn list(mut from: impl Query, s3uid: &S3uid) -> Result<Vec<SealedKey>, Error> {
    const SQL: &str = "SELECT access_key, sealed, create_time FROM access_key \
        WHERE s3uid = $1 AND sealed IS NOT NULL ORDER BY create_time, access_key";
    let rows = from.fetch_all(SQL, args![s3uid.as_str()]).await?;
    Ok(rows
        .into_iter()
        .map(|(access_key, sealed, create_time): (String, Vec<u8>, OffsetDateTime)| SealedKey {
            access_key,
            sealed,
            create_time,
        })
        .collect())
}

/// Erases the secrets of an account's keys. The ids stay, so that none is given out again.
pub(crate) async fn erase(tx: &mut Tx, s3uid: &S3uid) -> Result<(), Error> {
    const SQL: &str = "UPDATE access_key SET sealed = NULL WHERE s3uid = $1";
    tx.execute(SQL, args![s3uid.as_str()]).await.map(|_| ())
}
