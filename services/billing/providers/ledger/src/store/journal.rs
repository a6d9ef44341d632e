//! The journal: every entry's postings sum to zero, and nothing of it is ever changed.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::Currency;
use time::OffsetDateTime;

/// Money that customers owe, or, below zero, have paid too much.
pub(crate) fn receivable(customer_id: i64) -> String {
    format!("receivable/{customer_id}")
}

/// What was sold.
pub(crate) const REVENUE: &str = "revenue";
/// What has come in.
pub(crate) const CASH: &str = "cash";

/// Something that happened, once for ever.
pub(crate) struct Entry<'a> {
    pub(crate) key: String,
    pub(crate) kind: &'static str,
    pub(crate) invoice_id: i64,
    pub(crate) actor: &'a str,
    pub(crate) currency: Currency,
    /// Account that gains, and account that gives.
    pub(crate) debit: String,
    pub(crate) credit: String,
    /// Above zero.
    pub(crate) amount_nanos: i64,
}

/// Writes an entry with the transaction's next statement, or its commit. Its key must be new.
pub(crate) fn write(tx: &mut Tx, entry: &Entry<'_>, now: OffsetDateTime) {
    let key = entry.key.as_str();
    tx.defer(
        "INSERT INTO ledger_entry (entry_key, kind, invoice_id, actor, time) \
         VALUES ($1, $2, $3, $4, $5)",
        args![key, entry.kind, entry.invoice_id, entry.actor, now],
    );
    for (account, amount_nanos) in
        [(&entry.debit, entry.amount_nanos), (&entry.credit, -entry.amount_nanos)]
    {
        tx.defer(
            "INSERT INTO ledger_posting (entry_key, account, currency, amount_nanos) \
             VALUES ($1, $2, $3, $4)",
            args![key, account.as_str(), entry.currency.as_str(), amount_nanos],
        );
    }
}

/// What was booked under a key: the invoice, and how much.
pub(crate) async fn find(
    mut from: impl Query,
    key: &str,
) -> Result<Option<(i64, i64, String)>, Error> {
    from.fetch_optional(
        "SELECT e.invoice_id, p.amount_nanos, p.currency FROM ledger_entry e \
         JOIN ledger_posting p ON p.entry_key = e.entry_key AND p.amount_nanos > 0 \
         WHERE e.entry_key = $1",
        args![key],
    )
    .await
}
