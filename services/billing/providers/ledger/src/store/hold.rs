//! Credit that is kept for orders.

use stowage_db::{Error, Tx, args};
use stowage_provider::OrderKey;
use stowage_types::Currency;
use time::OffsetDateTime;

/// Credit that is kept for an order.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) customer_id: i64,
    pub(crate) currency: Currency,
    pub(crate) amount_nanos: i64,
}

/// Keeps credit for an order.
pub(crate) fn insert(tx: &mut Tx, key: &OrderKey, hold: &Hold, now: OffsetDateTime) {
    tx.defer(
        "INSERT INTO ledger_hold (order_key, customer_id, currency, amount_nanos, state, \
         create_time) VALUES ($1, $2, $3, $4, 'pending', $5)",
        args![key.as_str(), hold.customer_id, hold.currency.as_str(), hold.amount_nanos, now],
    );
}

#[derive(sqlx::FromRow)]
struct HoldRow {
    customer_id: i64,
    currency: String,
    amount_nanos: i64,
}

/// Ends the hold of an order as `posted` or `voided`, and answers it; `None` if none is pending.
pub(crate) async fn settle(
    tx: &mut Tx,
    key: &OrderKey,
    (state, now): (&'static str, OffsetDateTime),
) -> Result<Option<Hold>, Error> {
    let row: Option<HoldRow> = tx
        .fetch_optional(
            "UPDATE ledger_hold SET state = $2, settle_time = $3 \
             WHERE order_key = $1 AND state = 'pending' \
             RETURNING customer_id, currency, amount_nanos",
            args![key.as_str(), state, now],
        )
        .await?;
    let read = |HoldRow { customer_id, currency, amount_nanos }| {
        let currency = Currency::parse(&currency)
            .map_err(|bad| Error::Other { source: bad.to_string().into() })?;
        Ok(Hold { customer_id, currency, amount_nanos })
    };
    row.map(read).transpose()
}
