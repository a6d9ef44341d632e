//! What the journal comes to, beside the rows that it explains.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, args};

/// An entry, and what its postings come to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct EntrySum {
    pub(crate) entry_key: String,
    /// How many there are.
    pub(crate) postings: i64,
    pub(crate) sum_nanos: i64,
}

/// Entries by key, those behind one.
pub(crate) async fn entry_sums(db: &Db, (after, max): (&str, i64)) -> Result<Vec<EntrySum>, Error> {
    db.fetch_all(
        "SELECT e.entry_key, count(p.account) AS postings, \
         CAST(coalesce(sum(p.amount_nanos), 0) AS bigint) AS sum_nanos \
         FROM (SELECT entry_key FROM ledger_entry WHERE entry_key > $1 \
         ORDER BY entry_key LIMIT $2) e \
         LEFT JOIN ledger_posting p ON p.entry_key = e.entry_key \
         GROUP BY e.entry_key ORDER BY e.entry_key",
        args![after, max],
    )
    .await
}

/// An invoice, and what is left to receive of it by the journal.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct InvoiceSum {
    pub(crate) invoice_id: i64,
    pub(crate) state: String,
    pub(crate) amount_nanos: i64,
    pub(crate) paid_nanos: i64,
    pub(crate) receivable_nanos: i64,
}

/// Invoices by id, those behind one.
pub(crate) async fn invoice_sums(
    db: &Db,
    (after, max): (i64, i64),
) -> Result<Vec<InvoiceSum>, Error> {
    db.fetch_all(
        "SELECT i.invoice_id, i.state, i.amount_nanos, i.paid_nanos, \
         CAST(coalesce(sum(p.amount_nanos), 0) AS bigint) AS receivable_nanos \
         FROM (SELECT invoice_id, state, amount_nanos, paid_nanos FROM ledger_invoice \
         WHERE invoice_id > $1 ORDER BY invoice_id LIMIT $2) i \
         LEFT JOIN ledger_entry e ON e.invoice_id = i.invoice_id \
         LEFT JOIN ledger_posting p ON p.entry_key = e.entry_key \
         AND p.account LIKE 'receivable/%' \
         GROUP BY i.invoice_id, i.state, i.amount_nanos, i.paid_nanos ORDER BY i.invoice_id",
        args![after, max],
    )
    .await
}

/// A customer's credit in one currency: what may be used, and what is kept for orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// As the row of the balance has it.
    pub(crate) row: (i64, i64),
    /// As the journal has it.
    pub(crate) journal: (i64, i64),
    /// What pending holds come to.
    pub(crate) holds: i64,
}

/// Customers with balances or entries, by id, those behind one.
pub(crate) async fn customers(db: &Db, (after, max): (i64, i64)) -> Result<Vec<i64>, Error> {
    let rows: Vec<(i64,)> = db
        .fetch_all(
            "SELECT customer_id FROM ledger_balance WHERE customer_id > $1 \
             UNION SELECT customer_id FROM ledger_entry WHERE customer_id > $1 \
             ORDER BY customer_id LIMIT $2",
            args![after, max],
        )
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What is known of the credit of customers, by customer and currency.
pub(crate) async fn standings(
    db: &Db,
    customers: &[i64],
) -> Result<BTreeMap<(i64, String), Standing>, Error> {
    let mut all: BTreeMap<(i64, String), Standing> = BTreeMap::new();
    if customers.is_empty() {
        return Ok(all);
    }
    let mut args = Args::new();
    let places = args.push_all(customers.iter().copied());
    let rows: Vec<(i64, String, i64, i64)> = db
        .fetch_all_built(
            format!(
                "SELECT customer_id, currency, credit_nanos, held_nanos FROM ledger_balance \
                 WHERE customer_id IN ({places})"
            ),
            args.clone(),
        )
        .await?;
    for (customer, currency, credit, held) in rows {
        all.entry((customer, currency)).or_default().row = (credit, held);
    }
    // Credit is owed, so it stands in the journal below zero.
    let rows: Vec<(i64, String, i64, i64)> = db
        .fetch_all_built(
            format!(
                "SELECT e.customer_id, p.currency, \
                 CAST(-sum(CASE WHEN p.account LIKE 'credit/%' THEN p.amount_nanos ELSE 0 END) \
                 AS bigint), \
                 CAST(-sum(CASE WHEN p.account LIKE 'held/%' THEN p.amount_nanos ELSE 0 END) \
                 AS bigint) \
                 FROM ledger_entry e JOIN ledger_posting p ON p.entry_key = e.entry_key \
                 WHERE e.customer_id IN ({places}) GROUP BY e.customer_id, p.currency"
            ),
            args.clone(),
        )
        .await?;
    for (customer, currency, credit, held) in rows {
        all.entry((customer, currency)).or_default().journal = (credit, held);
    }
    let rows: Vec<(i64, String, i64)> = db
        .fetch_all_built(
            format!(
                "SELECT customer_id, currency, CAST(sum(amount_nanos) AS bigint) \
                 FROM ledger_hold WHERE state = 'pending' AND customer_id IN ({places}) \
                 GROUP BY customer_id, currency"
            ),
            args,
        )
        .await?;
    for (customer, currency, nanos) in rows {
        all.entry((customer, currency)).or_default().holds = nanos;
    }
    Ok(all)
}
