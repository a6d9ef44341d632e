//! What accounts notes of moves of accounts. How far they are, storage knows.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::S3uid;
use uuid::Uuid;

/// Notes that an account is moved; `false` if it is being moved already, or a move was not
/// confirmed.
pub(crate) async fn begin(
    tx: &mut Tx,
    s3uid: &S3uid,
    (id, to): (Uuid, &str),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET move_id = $2, move_to = $3 \
        WHERE s3uid = $1 AND state = 'ACTIVE' AND move_id IS NULL";
    Ok(tx.execute(SQL, args![s3uid.as_str(), id, to]).await? == 1)
}

/// Notes that an account is not moved any more, and may be changed.
pub(crate) async fn end(tx: &mut Tx, s3uid: &S3uid, id: Uuid) -> Result<(), Error> {
    const SQL: &str = "UPDATE account SET move_id = NULL, move_to = NULL, frozen = $3 \
        WHERE s3uid = $1 AND move_id = $2";
    tx.execute(SQL, args![s3uid.as_str(), id, false]).await.map(|_| ())
}

/// Notes where an account is from now on. Its move is to be confirmed still.
pub(crate) async fn switch(
    tx: &mut Tx,
    (s3uid, id): (&S3uid, Uuid),
    (location, endpoint): (&str, &str),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET location = $3, endpoint = $4, move_to = NULL, \
        frozen = $5 WHERE s3uid = $1 AND move_id = $2 AND move_to IS NOT NULL";
    let args = args![s3uid.as_str(), id, location, endpoint, false];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// Lets nothing of an account change, or lets it change again; `false`: a change is under way, or
/// it is not moved any more.
pub(crate) async fn set_frozen(
    tx: &mut Tx,
    (s3uid, id): (&S3uid, Uuid),
    is_frozen: bool,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET frozen = $3 \
        WHERE s3uid = $1 AND move_id = $2 AND move_to IS NOT NULL AND change_saga IS NULL";
    Ok(tx.execute(SQL, args![s3uid.as_str(), id, is_frozen]).await? == 1)
}

/// Accounts that are being moved, those after one.
pub(crate) async fn list(
    mut from: impl Query,
    after: &str,
    max: i64,
) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT s3uid FROM account WHERE move_to IS NOT NULL AND s3uid > $1 \
        ORDER BY s3uid LIMIT $2";
    let rows: Vec<(String,)> = from.fetch_all(SQL, args![after, max]).await?;
    Ok(rows.into_iter().map(|(s3uid,)| s3uid).collect())
}
