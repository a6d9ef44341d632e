//! What customers have paid in and not used.

use std::collections::BTreeSet;

use stowage_db::{Args, Db, Error, Tx, Value, args};
use stowage_types::Currency;

/// A customer's credit in one currency, in nano-units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Balance {
    /// He may use it.
    pub(crate) credit_nanos: i64,
    /// It is kept for orders that are not accepted yet.
    pub(crate) held_nanos: i64,
}

/// Whose credit, in which currency.
pub(crate) type Whose = (i64, Currency);

/// Locks the balance until the end of the transaction; one that was not there is empty.
pub(crate) async fn lock(tx: &mut Tx, (customer_id, currency): Whose) -> Result<Balance, Error> {
    tx.fetch_one(
        "INSERT INTO ledger_balance (customer_id, currency, credit_nanos, held_nanos) \
         VALUES ($1, $2, 0, 0) ON CONFLICT (customer_id, currency) \
         DO UPDATE SET credit_nanos = ledger_balance.credit_nanos \
         RETURNING credit_nanos, held_nanos",
        args![customer_id, currency.as_str()],
    )
    .await
}

/// Adds to a balance that is locked; what is taken is below zero.
pub(crate) fn add(
    tx: &mut Tx,
    (customer_id, currency): Whose,
    (credit_nanos, held_nanos): (i64, i64),
) {
    tx.defer(
        "UPDATE ledger_balance SET credit_nanos = credit_nanos + $3, \
         held_nanos = held_nanos + $4 WHERE customer_id = $1 AND currency = $2",
        args![customer_id, currency.as_str(), credit_nanos, held_nanos],
    );
}

#[derive(sqlx::FromRow)]
struct BalanceRow {
    currency: String,
    credit_nanos: i64,
    held_nanos: i64,
}

/// A customer's balances, by currency.
pub(crate) async fn list(db: &Db, customer_id: i64) -> Result<Vec<(String, Balance)>, Error> {
    let rows: Vec<BalanceRow> = db
        .fetch_all(
            "SELECT currency, credit_nanos, held_nanos FROM ledger_balance \
             WHERE customer_id = $1 ORDER BY currency",
            args![customer_id],
        )
        .await?;
    let read = |BalanceRow { currency, credit_nanos, held_nanos }| {
        (currency, Balance { credit_nanos, held_nanos })
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Locks balances until the end of the transaction, in one order, whoever asks. Answers those that
/// may be used.
pub(crate) async fn lock_all(tx: &mut Tx, of: &BTreeSet<Whose>) -> Result<Vec<Whose>, Error> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let row = |(customer_id, currency): &Whose| {
        let places: [Value; 2] = [(*customer_id).into(), currency.as_str().into()];
        format!("({}, 0, 0)", args.push_row(places))
    };
    let rows = of.iter().map(row).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO ledger_balance (customer_id, currency, credit_nanos, held_nanos) \
         VALUES {rows} ON CONFLICT (customer_id, currency) \
         DO UPDATE SET credit_nanos = ledger_balance.credit_nanos \
         RETURNING customer_id, currency, credit_nanos"
    );
    let locked: Vec<(i64, String, i64)> = tx.fetch_all_built(sql, args).await?;
    let usable: BTreeSet<(i64, String)> = locked
        .into_iter()
        .filter(|(_, _, credit_nanos)| *credit_nanos > 0)
        .map(|(customer_id, currency, _)| (customer_id, currency))
        .collect();
    let is_usable = |whose: &&Whose| usable.contains(&(whose.0, whose.1.as_str().to_owned()));
    Ok(of.iter().filter(is_usable).copied().collect())
}
