//! API keys.

use stowage_auth::TokenHash;
use stowage_db::{Error, Query, Tx, args};
use stowage_types::CustomerId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::api_key::ApiKey;

#[derive(sqlx::FromRow)]
struct Row {
    api_key_id: Uuid,
    customer_id: i64,
    hint: String,
    label: String,
    create_time: OffsetDateTime,
    revoke_time: Option<OffsetDateTime>,
}

#[derive(sqlx::FromRow)]
struct Hashed {
    key_hash: Vec<u8>,
    #[sqlx(flatten)]
    row: Row,
}

impl From<Row> for ApiKey {
    fn from(row: Row) -> Self {
        Self {
            id: row.api_key_id,
            customer: CustomerId(row.customer_id),
            hint: row.hint,
            label: row.label,
            create_time: row.create_time,
            revoke_time: row.revoke_time,
        }
    }
}

pub(crate) async fn insert(tx: &mut Tx, key: &ApiKey, hash: TokenHash) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO api_key (api_key_id, customer_id, key_hash, hint, label, \
        create_time) VALUES ($1, $2, $3, $4, $5, $6)";
    let args = args![key.id, key.customer.0, hash.bytes(), &key.hint, &key.label, key.create_time];
    tx.execute(SQL, args).await.map(|_| ())
}

/// A key, held until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<ApiKey>, Error> {
    const SQL: &str = "SELECT api_key_id, customer_id, hint, label, create_time, revoke_time \
        FROM api_key WHERE api_key_id = $1 FOR UPDATE";
    Ok(tx.fetch_optional::<Row>(SQL, args![id]).await?.map(ApiKey::from))
}

/// The key of a hash, unless it is revoked.
pub(crate) async fn find_valid(
    mut from: impl Query,
    hash: TokenHash,
) -> Result<Option<ApiKey>, Error> {
    const SQL: &str = "SELECT key_hash, api_key_id, customer_id, hint, label, create_time, \
        revoke_time FROM api_key WHERE key_hash = $1 AND revoke_time IS NULL";
    let found = from.fetch_optional::<Hashed>(SQL, args![hash.bytes()]).await?;
    let is_same = |row: &Hashed| TokenHash::from_bytes(&row.key_hash) == Some(hash);
    Ok(found.filter(is_same).map(|hashed| hashed.row.into()))
}

/// Keys of a customer with ids above `after`. Ids sort by time.
pub(crate) async fn list(
    mut from: impl Query,
    customer: CustomerId,
    after: Uuid,
    max: i64,
) -> Result<Vec<ApiKey>, Error> {
    const SQL: &str = "SELECT api_key_id, customer_id, hint, label, create_time, revoke_time \
        FROM api_key WHERE customer_id = $1 AND api_key_id > $2 ORDER BY api_key_id LIMIT $3";
    let rows = from.fetch_all::<Row>(SQL, args![customer.0, after, max]).await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

/// Marks a key; `false` if it was marked already.
pub(crate) async fn revoke(tx: &mut Tx, id: Uuid, now: OffsetDateTime) -> Result<bool, Error> {
    const SQL: &str = "UPDATE api_key SET revoke_time = $2 \
        WHERE api_key_id = $1 AND revoke_time IS NULL";
    Ok(tx.execute(SQL, args![id, now]).await? == 1)
}
