//! Which client of another billing system a customer is.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::CustomerId;
use time::OffsetDateTime;

/// The client that a customer is linked to.
pub(crate) async fn find_client(
    mut from: impl Query,
    provider: &str,
    customer: CustomerId,
) -> Result<Option<i64>, Error> {
    let sql = "SELECT client_id FROM customer_link WHERE provider = $1 AND customer_id = $2";
    let row: Option<(i64,)> = from.fetch_optional(sql, args![provider, customer.0]).await?;
    Ok(row.map(|(client_id,)| client_id))
}

/// The customer that a client is linked to.
pub(crate) async fn find_customer(
    mut from: impl Query,
    provider: &str,
    client_id: i64,
) -> Result<Option<CustomerId>, Error> {
    let sql = "SELECT customer_id FROM customer_link WHERE provider = $1 AND client_id = $2";
    let row: Option<(i64,)> = from.fetch_optional(sql, args![provider, client_id]).await?;
    Ok(row.map(|(customer_id,)| CustomerId(customer_id)))
}

/// Links them; false if either is linked to another already. The same link again is no trouble.
pub(crate) async fn insert(
    tx: &mut Tx,
    provider: &str,
    (customer, client_id): (CustomerId, i64),
    now: OffsetDateTime,
) -> Result<bool, Error> {
    tx.execute(
        "INSERT INTO customer_link (provider, customer_id, client_id, link_time) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        args![provider, customer.0, client_id, now],
    )
    .await?;
    Ok(find_client(tx, provider, customer).await? == Some(client_id))
}

/// The mail address that a customer had when he ordered last.
pub(crate) async fn find_email(
    mut from: impl Query,
    customer: CustomerId,
) -> Result<Option<String>, Error> {
    let sql = "SELECT email FROM customer_contact WHERE customer_id = $1";
    let row: Option<(String,)> = from.fetch_optional(sql, args![customer.0]).await?;
    Ok(row.map(|(email,)| email))
}

/// Notes the mail address of a customer who orders; an empty one is none.
pub(crate) fn set_email(tx: &mut Tx, customer: CustomerId, email: &str, now: OffsetDateTime) {
    if email.is_empty() {
        return;
    }
    tx.defer(
        "INSERT INTO customer_contact (customer_id, email, update_time) VALUES ($1, $2, $3) \
         ON CONFLICT (customer_id) DO UPDATE SET email = excluded.email, \
         update_time = excluded.update_time",
        args![customer.0, email, now],
    );
}

/// A link, and since when it is there.
pub(crate) async fn find(
    mut from: impl Query,
    provider: &str,
    customer: CustomerId,
) -> Result<Option<(i64, OffsetDateTime)>, Error> {
    let sql = "SELECT client_id, link_time FROM customer_link \
               WHERE provider = $1 AND customer_id = $2";
    from.fetch_optional(sql, args![provider, customer.0]).await
}

/// Links by customer, those behind one.
pub(crate) async fn list(
    mut from: impl Query,
    provider: &str,
    (after, max): (i64, i64),
) -> Result<Vec<(CustomerId, i64)>, Error> {
    let rows: Vec<(i64, i64)> = from
        .fetch_all(
            "SELECT customer_id, client_id FROM customer_link \
             WHERE provider = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3",
            args![provider, after, max],
        )
        .await?;
    Ok(rows.into_iter().map(|(customer, client)| (CustomerId(customer), client)).collect())
}

/// Takes a customer's link away; false if there is none.
pub(crate) async fn delete(
    tx: &mut Tx,
    provider: &str,
    customer: CustomerId,
) -> Result<bool, Error> {
    const SQL: &str = "DELETE FROM customer_link WHERE provider = $1 AND customer_id = $2";
    Ok(tx.execute(SQL, args![provider, customer.0]).await? == 1)
}
