//! What references of payments stand for, and which payments were told of.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::Money;
use time::OffsetDateTime;

use super::amount::{currency, damaged, to_nanos};
use crate::domain::payment::{Bound, Target};

/// Notes that a payment is told of; false if it was before.
pub(crate) async fn insert(
    tx: &mut Tx,
    (provider, reference): (&str, &str),
    invoice_id: i64,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO payment (provider, reference, invoice_id, time) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (provider, reference) DO NOTHING",
            args![provider, reference, invoice_id, now],
        )
        .await?;
    Ok(rows == 1)
}

/// Binds a reference to what it is for, unless it is bound.
pub(crate) async fn bind(
    tx: &mut Tx,
    reference: &str,
    bound: &Bound,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let nanos = bound.amount.map(|amount| to_nanos(amount.amount())).transpose()?;
    let code = bound.amount.map(|amount| amount.currency().as_str().to_owned());
    tx.execute(
        "INSERT INTO payment_reference (reference, target, amount_nanos, currency, is_booked, \
         create_time) VALUES ($1, $2, $3, $4, false, $5) ON CONFLICT (reference) DO NOTHING",
        args![reference, bound.target.text(), nanos, code, now],
    )
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    target: String,
    amount_nanos: Option<i64>,
    currency: Option<String>,
    is_booked: bool,
}

/// What a reference is bound to.
pub(crate) async fn find(mut from: impl Query, reference: &str) -> Result<Option<Bound>, Error> {
    let row: Option<Row> = from
        .fetch_optional(
            "SELECT target, amount_nanos, currency, is_booked FROM payment_reference \
             WHERE reference = $1",
            args![reference],
        )
        .await?;
    let read = |row: Row| {
        let amount = match (row.amount_nanos, row.currency) {
            (Some(nanos), Some(code)) => Some(Money::from_nanos(nanos.into(), currency(&code)?)),
            _ => None,
        };
        let target = Target::parse(&row.target);
        let target = target.ok_or_else(|| damaged("a payment is for nothing that we know"))?;
        Ok(Bound { target, amount, is_booked: row.is_booked })
    };
    row.map(read).transpose()
}

/// Lets go of a reference that was not booked.
pub(crate) async fn unbind(tx: &mut Tx, reference: &str) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM payment_reference WHERE reference = $1 AND NOT is_booked";
    tx.execute(SQL, args![reference]).await?;
    Ok(())
}

/// Notes that a payment was booked.
pub(crate) fn set_booked(tx: &mut Tx, reference: &str) {
    const SQL: &str = "UPDATE payment_reference SET is_booked = true WHERE reference = $1";
    tx.defer(SQL, args![reference]);
}
