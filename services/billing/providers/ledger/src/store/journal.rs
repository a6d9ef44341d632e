//! The journal: every entry's postings sum to zero, and nothing of it is ever changed.

use stowage_db::{Error, Query, Tx, Value, args};
use stowage_types::Currency;
use time::OffsetDateTime;

/// Money that a customer owes.
pub(crate) fn receivable(customer_id: i64) -> String {
    format!("receivable/{customer_id}")
}

/// Money that a customer has paid in and may use: below zero, as all that is owed to others.
pub(crate) fn credit(customer_id: i64) -> String {
    format!("credit/{customer_id}")
}

/// The part of it that is kept for his orders.
pub(crate) fn held(customer_id: i64) -> String {
    format!("held/{customer_id}")
}

/// What was sold.
pub(crate) const REVENUE: &str = "revenue";
/// What has come in.
pub(crate) const CASH: &str = "cash";

/// Something that happened, once for ever.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) customer_id: i64,
    pub(crate) invoice_id: Option<i64>,
    /// For people: why.
    pub(crate) text: String,
    pub(crate) actor: String,
    pub(crate) currency: Currency,
    /// Account that gains, and account that gives.
    pub(crate) debit: String,
    pub(crate) credit: String,
    /// Above zero.
    pub(crate) amount_nanos: i64,
}

/// What kinds of things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An invoice is issued.
    Issue,
    /// Money has come in for an invoice.
    Payment,
    /// An invoice is withdrawn.
    Void,
    /// Money has come in that is for no invoice.
    Credit,
    /// Credit is given for what was charged too much.
    Grant,
    /// A part of an invoice is taken back.
    Note,
    /// Credit pays an invoice.
    Apply,
    /// What was paid for an invoice that is taken back becomes credit.
    Return,
    /// Credit is kept for an order.
    Hold,
    /// What was kept pays the invoice of the order.
    Post,
    /// What was kept may be used again.
    Release,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Payment => "payment",
            Self::Void => "void",
            Self::Credit => "credit",
            Self::Grant => "grant",
            Self::Note => "note",
            Self::Apply => "apply",
            Self::Return => "return",
            Self::Hold => "hold",
            Self::Post => "post",
            Self::Release => "release",
        }
    }
}

/// Writes entries. Their keys must be new.
pub(crate) async fn write(
    tx: &mut Tx,
    entries: Vec<Entry>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    const ENTRIES: &str = "INSERT INTO ledger_entry (entry_key, kind, customer_id, invoice_id, \
        text, actor, time)";
    const POSTINGS: &str =
        "INSERT INTO ledger_posting (entry_key, account, currency, amount_nanos)";
    let entry_row = |entry: &Entry| -> Vec<Value> {
        vec![
            entry.key.as_str().into(),
            entry.kind.text().into(),
            entry.customer_id.into(),
            entry.invoice_id.into(),
            entry.text.as_str().into(),
            entry.actor.as_str().into(),
            now.into(),
        ]
    };
    tx.put_rows(ENTRIES, entries.iter().map(entry_row).collect::<Vec<_>>(), "").await?;
    let posting = |entry: &Entry, account: &str, amount_nanos: i64| -> Vec<Value> {
        let currency = entry.currency.as_str();
        vec![entry.key.as_str().into(), account.into(), currency.into(), amount_nanos.into()]
    };
    let postings = entries.iter().flat_map(|entry| {
        [
            posting(entry, &entry.debit, entry.amount_nanos),
            posting(entry, &entry.credit, -entry.amount_nanos),
        ]
    });
    tx.put_rows(POSTINGS, postings.collect::<Vec<_>>(), "").await
}

/// What was booked under a key.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Booked {
    pub(crate) customer_id: i64,
    /// 0: none.
    pub(crate) invoice_id: i64,
    pub(crate) amount_nanos: i64,
    pub(crate) currency: String,
}

/// What was booked under a key.
pub(crate) async fn find(mut from: impl Query, key: &str) -> Result<Option<Booked>, Error> {
    from.fetch_optional(
        "SELECT e.customer_id, coalesce(e.invoice_id, 0) AS invoice_id, p.amount_nanos, \
         p.currency FROM ledger_entry e \
         JOIN ledger_posting p ON p.entry_key = e.entry_key AND p.amount_nanos > 0 \
         WHERE e.entry_key = $1",
        args![key],
    )
    .await
}
