//! Customers.

use stowage_db::{Error, Query, Tx, args, next_id};
use stowage_types::{Currency, CustomerId};
use time::OffsetDateTime;

use crate::domain::customer::{Customer, NewCustomer};

#[derive(sqlx::FromRow)]
struct Row {
    customer_id: i64,
    email: String,
    currency: String,
    create_time: OffsetDateTime,
}

impl TryFrom<Row> for Customer {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let currency = read_currency(&row.currency)?;
        let (id, email, create_time) = (CustomerId(row.customer_id), row.email, row.create_time);
        Ok(Self { id, email, currency, create_time })
    }
}

/// Reads a column that only checked values were written to.
pub(crate) fn read_currency(text: &str) -> Result<Currency, Error> {
    Currency::parse(text).map_err(|error| Error::Other { source: error.into() })
}

pub(crate) async fn insert(
    tx: &mut Tx,
    new: &NewCustomer,
    now: OffsetDateTime,
) -> Result<Customer, Error> {
    const SQL: &str = "INSERT INTO customer (customer_id, email, email_key, currency, create_time) \
        VALUES ($1, $2, $3, $4, $5)";
    let id = next_id(tx, "customer").await?;
    let key = new.email.to_lowercase();
    tx.execute(SQL, args![id, &new.email, key, new.currency.as_str(), now]).await?;
    let (email, currency) = (new.email.clone(), new.currency);
    Ok(Customer { id: CustomerId(id), email, currency, create_time: now })
}

pub(crate) async fn find(mut from: impl Query, id: CustomerId) -> Result<Option<Customer>, Error> {
    const SQL: &str = "SELECT customer_id, email, currency, create_time FROM customer \
        WHERE customer_id = $1";
    from.fetch_optional::<Row>(SQL, args![id.0]).await?.map(Customer::try_from).transpose()
}

pub(crate) async fn list(
    mut from: impl Query,
    after: i64,
    max: i64,
) -> Result<Vec<Customer>, Error> {
    const SQL: &str = "SELECT customer_id, email, currency, create_time FROM customer \
        WHERE customer_id > $1 ORDER BY customer_id LIMIT $2";
    let rows = from.fetch_all::<Row>(SQL, args![after, max]).await?;
    rows.into_iter().map(Customer::try_from).collect()
}
