//! Invoices, and the journal that says why each stands as it does.
//!
//! An invoice's state and sums are kept on its row; whoever changes them writes the entry of the
//! journal in the same transaction.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, Value, args};
use stowage_provider::{
    ById, Invoice, InvoiceListing, InvoiceState, KeyedInvoice, NewInvoice, NewOrder, OrderKey,
    OverdueListing,
};
use stowage_types::{Currency, CustomerId, Money};
use time::OffsetDateTime;

#[derive(sqlx::FromRow)]
struct Row {
    invoice_id: i64,
    customer_id: i64,
    service_id: Option<i64>,
    title: String,
    currency: String,
    amount_nanos: i64,
    paid_nanos: i64,
    state: String,
    create_time: OffsetDateTime,
    issue_time: Option<OffsetDateTime>,
    due_time: Option<OffsetDateTime>,
    settle_time: Option<OffsetDateTime>,
}

macro_rules! select {
    ($filter:literal) => {
        concat!(
            "SELECT i.invoice_id, i.customer_id, o.service_id, i.title, i.currency, \
             i.amount_nanos, i.paid_nanos, i.state, i.create_time, i.issue_time, i.due_time, \
             i.settle_time FROM ledger_invoice i JOIN ledger_order o ON o.order_key = i.order_key ",
            $filter
        )
    };
}

fn state_text(state: InvoiceState) -> &'static str {
    match state {
        InvoiceState::Draft => "draft",
        InvoiceState::Open => "open",
        InvoiceState::Paid => "paid",
        InvoiceState::Void => "void",
    }
}

impl TryFrom<Row> for Invoice {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let states =
            [InvoiceState::Draft, InvoiceState::Open, InvoiceState::Paid, InvoiceState::Void];
        let state = states.into_iter().find(|state| state_text(*state) == row.state);
        let currency = Currency::parse(&row.currency).map_err(|_| damaged())?;
        Ok(Self {
            id: row.invoice_id,
            customer: CustomerId(row.customer_id),
            service_id: row.service_id.ok_or_else(damaged)?,
            title: row.title,
            state: state.ok_or_else(damaged)?,
            total: Money::from_nanos(row.amount_nanos.into(), currency),
            paid: Money::from_nanos(row.paid_nanos.into(), currency),
            create_time: row.create_time,
            issue_time: row.issue_time,
            due_time: row.due_time,
            settle_time: row.settle_time,
        })
    }
}

/// Drafts the first invoice of an order.
pub(crate) fn insert(
    tx: &mut Tx,
    order: &NewOrder,
    (id, amount_nanos): (i64, i64),
    now: OffsetDateTime,
) {
    tx.defer(
        "INSERT INTO ledger_invoice (invoice_id, order_key, customer_id, title, currency, \
         amount_nanos, paid_nanos, state, create_time) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, 'draft', $7)",
        args![
            id,
            order.key.as_str(),
            order.customer.0,
            order.title.as_str(),
            order.period_price.currency().as_str(),
            amount_nanos,
            now
        ],
    );
}

/// An invoice that is issued as it is made.
pub(crate) struct Issuing<'a> {
    pub(crate) id: i64,
    pub(crate) new: &'a NewInvoice,
    pub(crate) amount_nanos: i64,
    pub(crate) due: OffsetDateTime,
}

/// Issues invoices under their keys, which must be new.
pub(crate) async fn insert_issued(
    tx: &mut Tx,
    invoices: &[Issuing<'_>],
    now: OffsetDateTime,
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO ledger_invoice (invoice_id, invoice_key, order_key, \
        customer_id, title, currency, amount_nanos, paid_nanos, state, create_time, issue_time, \
        due_time)";
    let row = |Issuing { id, new, amount_nanos, due }: &Issuing<'_>| -> Vec<Value> {
        vec![
            (*id).into(),
            new.key.as_str().into(),
            new.order.key.as_str().into(),
            new.order.customer.0.into(),
            new.title.as_str().into(),
            new.total.currency().as_str().into(),
            (*amount_nanos).into(),
            0_i64.into(),
            "open".into(),
            now.into(),
            now.into(),
            (*due).into(),
        ]
    };
    tx.put_rows(HEAD, invoices.iter().map(row).collect::<Vec<_>>(), "").await
}

/// The ids of invoices that were issued under keys.
pub(crate) async fn find_by_keys(
    mut from: impl Query,
    keys: &[&str],
) -> Result<BTreeMap<String, i64>, Error> {
    let mut args = Args::new();
    let places = args.push_all(keys.iter().copied());
    let sql = format!(
        "SELECT invoice_key, invoice_id FROM ledger_invoice WHERE invoice_key IN ({places})"
    );
    Ok(from.fetch_all_built::<(String, i64)>(sql, args).await?.into_iter().collect())
}

/// A customer's open invoices in a currency, the one due first first, locked until the end of the
/// transaction: their ids and what is left to pay.
pub(crate) async fn lock_open(
    tx: &mut Tx,
    (customer_id, currency): (i64, Currency),
    max: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    tx.fetch_all(
        "SELECT invoice_id, amount_nanos - paid_nanos FROM ledger_invoice \
         WHERE customer_id = $1 AND currency = $2 AND state = 'open' \
         ORDER BY due_time, invoice_id LIMIT $3 FOR UPDATE",
        args![customer_id, currency.as_str(), max],
    )
    .await
}

/// The currencies of an order's invoices.
pub(crate) async fn currencies(tx: &mut Tx, key: &OrderKey) -> Result<Vec<Currency>, Error> {
    let rows: Vec<(String,)> = tx
        .fetch_all(
            "SELECT DISTINCT currency FROM ledger_invoice WHERE order_key = $1 ORDER BY currency",
            args![key.as_str()],
        )
        .await?;
    rows.into_iter().map(|(text,)| Currency::parse(&text).map_err(|_| damaged())).collect()
}

/// Issues the draft of an order, if it has one still, and answers what was issued.
pub(crate) async fn issue(
    tx: &mut Tx,
    key: &OrderKey,
    (now, due): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<Issued>, Error> {
    let row: Option<IssuedRow> = tx
        .fetch_optional(
            "UPDATE ledger_invoice SET state = 'open', issue_time = $2, due_time = $3 \
             WHERE order_key = $1 AND state = 'draft' \
             RETURNING invoice_id, customer_id, currency, amount_nanos, paid_nanos, issue_time",
            args![key.as_str(), now, due],
        )
        .await?;
    row.map(Issued::try_from).transpose()
}

/// Withdraws the invoices of an order, and answers those that had been issued, with what credit
/// notes have left of them.
pub(crate) async fn withdraw(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<Vec<Issued>, Error> {
    let withdrawn: Vec<IssuedRow> = tx
        .fetch_all(
            "UPDATE ledger_invoice SET state = 'void', settle_time = $2 \
             WHERE order_key = $1 AND state <> 'void' \
             RETURNING invoice_id, customer_id, currency, issue_time, \
             amount_nanos - credited_nanos AS amount_nanos, \
             paid_nanos - credited_nanos AS paid_nanos",
            args![key.as_str(), now],
        )
        .await?;
    let was_issued = withdrawn.into_iter().filter(|row| row.issue_time.is_some());
    was_issued.map(Issued::try_from).collect()
}

/// An amount of an invoice that goes into the journal.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) invoice_id: i64,
    pub(crate) customer_id: i64,
    pub(crate) currency: Currency,
    pub(crate) amount_nanos: i64,
    pub(crate) paid_nanos: i64,
}

#[derive(sqlx::FromRow)]
struct IssuedRow {
    invoice_id: i64,
    customer_id: i64,
    currency: String,
    amount_nanos: i64,
    paid_nanos: i64,
    issue_time: Option<OffsetDateTime>,
}

impl TryFrom<IssuedRow> for Issued {
    type Error = Error;

    fn try_from(row: IssuedRow) -> Result<Self, Error> {
        let IssuedRow { invoice_id, customer_id, currency, amount_nanos, paid_nanos, .. } = row;
        let currency = Currency::parse(&currency).map_err(|_| damaged())?;
        Ok(Self { invoice_id, customer_id, currency, amount_nanos, paid_nanos })
    }
}

fn damaged() -> Error {
    Error::Other { source: "an invoice of the ledger is damaged".into() }
}

/// Books a payment on the row; it is paid when nothing is left. Of it, `credited_nanos` came by a
/// credit note.
pub(crate) async fn pay(
    tx: &mut Tx,
    invoice_id: i64,
    (amount_nanos, credited_nanos): (i64, i64),
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE ledger_invoice SET paid_nanos = paid_nanos + $2, \
         credited_nanos = credited_nanos + $4, \
         settle_time = CASE WHEN paid_nanos + $2 = amount_nanos THEN $3 ELSE settle_time END, \
         state = CASE WHEN paid_nanos + $2 = amount_nanos THEN 'paid' ELSE state END \
         WHERE invoice_id = $1",
        args![invoice_id, amount_nanos, now, credited_nanos],
    )
    .await?;
    Ok(())
}

/// Locks an invoice until the end of the transaction, so that its balance stays what it was read
/// as; false if it is not there.
pub(crate) async fn lock(tx: &mut Tx, id: i64) -> Result<bool, Error> {
    let rows = tx
        .execute("UPDATE ledger_invoice SET state = state WHERE invoice_id = $1", args![id])
        .await?;
    Ok(rows == 1)
}

/// How much of an invoice was taken back by credit notes.
pub(crate) async fn credited(tx: &mut Tx, id: i64) -> Result<i64, Error> {
    let sql = "SELECT credited_nanos FROM ledger_invoice WHERE invoice_id = $1";
    let (nanos,): (i64,) = tx.fetch_one(sql, args![id]).await?;
    Ok(nanos)
}

pub(crate) async fn find(mut from: impl Query, id: i64) -> Result<Option<Invoice>, Error> {
    let row: Option<Row> =
        from.fetch_optional(select!("WHERE i.invoice_id = $1"), args![id]).await?;
    row.map(Invoice::try_from).transpose()
}

pub(crate) async fn find_all(db: &Db, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let numbers = args.push_all(ids.iter().copied());
    let filter = format!("WHERE i.invoice_id IN ({numbers}) ORDER BY i.invoice_id");
    let rows: Vec<Row> = db.fetch_all_built(select!("").to_owned() + &filter, args).await?;
    rows.into_iter().map(Invoice::try_from).collect()
}

pub(crate) async fn list(db: &Db, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
    let mut args = Args::new();
    let mut sql = select!("WHERE i.invoice_id < ").to_owned();
    sql.push_str(&format!("${}", args.push(listing.before.unwrap_or(i64::MAX))));
    if let Some(customer) = listing.customer {
        sql.push_str(&format!(" AND i.customer_id = ${}", args.push(customer.0)));
    }
    if let Some(state) = listing.state {
        sql.push_str(&format!(" AND i.state = ${}", args.push(state_text(state))));
    }
    sql.push_str(&format!(" ORDER BY i.invoice_id DESC LIMIT ${}", args.push(listing.max)));
    let rows: Vec<Row> = db.fetch_all_built(sql, args).await?;
    rows.into_iter().map(Invoice::try_from).collect()
}

pub(crate) async fn list_overdue(db: &Db, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
    let rows: Vec<Row> = db
        .fetch_all(
            select!(
                "WHERE i.state = 'open' AND i.due_time < $1 AND i.invoice_id > $2 \
                 ORDER BY i.invoice_id LIMIT $3"
            ),
            args![listing.due_before, listing.after, listing.max],
        )
        .await?;
    rows.into_iter().map(Invoice::try_from).collect()
}

/// Invoices that were issued under keys, by id, those behind one.
pub(crate) async fn list_keyed(db: &Db, by: ById) -> Result<Vec<KeyedInvoice>, Error> {
    let rows: Vec<(i64, String, String, OffsetDateTime)> = db
        .fetch_all(
            "SELECT invoice_id, invoice_key, state, create_time FROM ledger_invoice \
             WHERE invoice_id > $1 AND invoice_key IS NOT NULL ORDER BY invoice_id LIMIT $2",
            args![by.after, by.max],
        )
        .await?;
    let read = |(id, key, state, create_time): (i64, String, String, OffsetDateTime)| {
        KeyedInvoice { id, key, is_void: state == "void", create_time }
    };
    Ok(rows.into_iter().map(read).collect())
}
