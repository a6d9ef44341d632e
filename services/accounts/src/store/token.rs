//! Tokens.

use stowage_auth::{PrincipalRole, TokenHash};
use stowage_db::{Error, Query, Tx, args};
use stowage_types::CustomerId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::customer::read_currency;
use crate::domain::session::Token;

#[derive(sqlx::FromRow)]
struct Row {
    token_hash: Vec<u8>,
    role: i64,
    subject: String,
    customer_id: Option<i64>,
    fixed_address: String,
    create_time: OffsetDateTime,
    expire_time: Option<OffsetDateTime>,
    email: Option<String>,
    currency: Option<String>,
}

pub(crate) async fn insert(
    tx: &mut Tx,
    hash: TokenHash,
    token: &Token,
    api_key: Option<Uuid>,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO token (token_hash, role, subject, customer_id, api_key_id, \
        fixed_address, create_time, expire_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
        ON CONFLICT (token_hash) DO NOTHING";
    let args = args![
        hash.bytes(),
        i32::from(token.role),
        &token.subject,
        token.customer.map(|id| id.0),
        api_key,
        &token.fixed_address,
        token.create_time,
        token.expire_time,
    ];
    tx.execute(SQL, args).await.map(|_| ())
}

/// The token of a hash, with what belongs to its customer.
pub(crate) async fn find(mut from: impl Query, hash: TokenHash) -> Result<Option<Token>, Error> {
    const SQL: &str = "SELECT t.token_hash, t.role, t.subject, t.customer_id, t.fixed_address, \
        t.create_time, t.expire_time, c.email, c.currency FROM token t \
        LEFT JOIN customer c ON c.customer_id = t.customer_id WHERE t.token_hash = $1";
    let found = from.fetch_optional::<Row>(SQL, args![hash.bytes()]).await?;
    let is_same = |row: &Row| TokenHash::from_bytes(&row.token_hash) == Some(hash);
    let Some(row) = found.filter(is_same) else { return Ok(None) };
    let role = i32::try_from(row.role).ok().and_then(|role| PrincipalRole::try_from(role).ok());
    Ok(Some(Token {
        role: role.unwrap_or_default(),
        subject: row.subject,
        customer: row.customer_id.map(CustomerId),
        currency: row.currency.as_deref().map(read_currency).transpose()?,
        email: row.email.unwrap_or_default(),
        fixed_address: row.fixed_address,
        create_time: row.create_time,
        expire_time: row.expire_time,
    }))
}

/// Deletes a token; answers whether there was one.
pub(crate) async fn delete(tx: &mut Tx, hash: TokenHash) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM token WHERE token_hash = $1", args![hash.bytes()]).await? == 1)
}

/// Deletes the tokens got with an API key; answers their hashes.
pub(crate) async fn delete_of(tx: &mut Tx, api_key: Uuid) -> Result<Vec<Vec<u8>>, Error> {
    const SQL: &str = "DELETE FROM token WHERE api_key_id = $1 RETURNING token_hash";
    let rows = tx.fetch_all(SQL, args![api_key]).await?;
    Ok(rows.into_iter().map(|(hash,): (Vec<u8>,)| hash).collect())
}

/// Deletes the tokens of a role but one.
pub(crate) async fn delete_others(
    tx: &mut Tx,
    role: PrincipalRole,
    kept: TokenHash,
) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM token WHERE role = $1 AND token_hash <> $2";
    tx.execute(SQL, args![i32::from(role), kept.bytes()]).await.map(|_| ())
}

/// Deletes some tokens that ended before a time.
pub(crate) async fn delete_ended(
    tx: &mut Tx,
    before: OffsetDateTime,
    max: i64,
) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM token WHERE token_hash IN \
        (SELECT token_hash FROM token WHERE expire_time < $1 LIMIT $2)";
    tx.execute(SQL, args![before, max]).await
}
