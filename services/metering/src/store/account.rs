//! Table `account`: latest figures of an account that has facts.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

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

/// Holds the account until the transaction ends, so that what is read of it can be added to; what
/// it has then. One without facts is made, as of `as_of`.
pub(crate) async fn lock(tx: &mut Tx, s3uid: &S3uid, as_of: OffsetDateTime) -> Result<Row, Error> {
    const SQL: &str = "INSERT INTO account (s3uid, stored_bytes, as_of_time) VALUES ($1, 0, $2) \
        ON CONFLICT (s3uid) DO UPDATE SET s3uid = excluded.s3uid \
        RETURNING stored_bytes, newest_sample_time, as_of_time";
    tx.fetch_one(SQL, args![s3uid.as_str(), as_of]).await
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
