//! Which payments were told of.

use stowage_db::{Error, Tx, args};
use time::OffsetDateTime;

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
