//! Bills and their lines.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, Query, Tx, Value, args};
use stowage_provider::{OrderKey, PlacedOrder};
use stowage_types::{CustomerId, Money, PlanId};
use time::OffsetDateTime;

use super::amount::{currency, damaged, small};
use crate::domain::bill::{Bill, Unissued};
use crate::domain::period::Span;
use crate::rating::{Charge, ChargeKind};

/// Stores bills with their lines.
pub(crate) async fn insert(tx: &mut Tx, bills: &[&Bill]) -> Result<(), Error> {
    const BILLS: &str = "INSERT INTO bill (bill_key, order_key, provider, customer_id, currency, \
        total_nanos, create_time, invoice_id)";
    const LINES: &str = "INSERT INTO charge (bill_key, line, kind, plan_id, version, from_time, \
        to_time, aggregate_bytes, included_bytes, quantity_bytes, price_nanos, gb_bytes, hours, \
        period_hours, prior_nanos, amount_nanos)";
    let rows = bills.iter().map(|bill| bill_row(bill)).collect::<Result<Vec<_>, Error>>()?;
    tx.put_rows(BILLS, rows, "").await?;
    let lines = bills.iter().flat_map(|bill| (1_i64..).zip(&bill.charges).map(|of| (*bill, of)));
    let rows = lines.map(|(bill, (line, charge))| charge_row(&bill.key, line, charge));
    tx.put_rows(LINES, rows.collect::<Result<Vec<_>, Error>>()?, "").await
}

fn bill_row(bill: &Bill) -> Result<Vec<Value>, Error> {
    Ok(vec![
        bill.key.as_str().into(),
        bill.order.as_str().into(),
        bill.provider.as_str().into(),
        bill.customer.0.into(),
        bill.currency.as_str().into(),
        column(bill.total.nanos())?.into(),
        bill.create_time.into(),
        bill.invoice_id.into(),
    ])
}

fn charge_row(key: &str, line: i64, charge: &Charge) -> Result<Vec<Value>, Error> {
    Ok(vec![
        key.into(),
        line.into(),
        charge.kind.text().into(),
        charge.plan.0.into(),
        charge.version.into(),
        charge.from.into(),
        charge.to.into(),
        charge.aggregate_bytes.into(),
        charge.included_bytes.into(),
        charge.quantity_bytes.into(),
        column(charge.price_nanos)?.into(),
        charge.gb_bytes.into(),
        column(charge.hours)?.into(),
        column(charge.period_hours)?.into(),
        column(charge.prior_nanos)?.into(),
        column(charge.amount_nanos)?.into(),
    ])
}

/// A number as a column holds it: refused above 64 bits, never cut.
fn column(number: i128) -> Result<i64, Error> {
    i64::try_from(number).map_err(damaged)
}

#[derive(sqlx::FromRow)]
struct BillRow {
    bill_key: String,
    order_key: String,
    provider: String,
    customer_id: i64,
    currency: String,
    total_nanos: i64,
    create_time: OffsetDateTime,
    invoice_id: Option<i64>,
}

/// The head of every query for [`BillRow`].
const BILLS: &str = "SELECT b.bill_key, b.order_key, b.provider, b.customer_id, b.currency, \
    b.total_nanos, b.create_time, b.invoice_id FROM bill b";

/// The bills that an installation has not got, with what it calls their orders, those behind a key.
pub(crate) async fn list_drafts(
    db: &Db,
    (provider, installation): (&str, &str),
    (after, max): (&str, i64),
) -> Result<Vec<Unissued>, Error> {
    let sql = format!(
        "{BILLS} JOIN subscription s ON s.order_key = b.order_key \
         WHERE b.invoice_id IS NULL AND b.provider = $1 AND s.installation = $2 \
         AND b.bill_key > $3 ORDER BY b.bill_key LIMIT $4"
    );
    let args = args![provider, installation, after, max];
    let rows: Vec<BillRow> = db.fetch_all_built(sql, args).await?;
    let orders: Vec<String> = rows.iter().map(|row| row.order_key.clone()).collect();
    let placed = placed(db, &orders).await?;
    let draft = |bill: Bill| {
        let (placed, title) = placed.get(bill.order.as_str()).cloned().ok_or_else(|| {
            damaged(format!("bill {} is of an order that was not placed", bill.key))
        })?;
        Ok(Unissued { bill, placed, installation: installation.to_owned(), title })
    };
    with_charges(db, rows).await?.into_iter().map(draft).collect()
}

/// The bill of an invoice.
pub(crate) async fn find_by_invoice(
    db: &Db,
    provider: &str,
    invoice_ids: &[i64],
) -> Result<Vec<Bill>, Error> {
    if invoice_ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = args![provider];
    let places = args.push_all(invoice_ids.iter().copied());
    let sql = format!(
        "{BILLS} WHERE b.provider = $1 AND b.invoice_id > 0 AND b.invoice_id IN ({places}) \
         ORDER BY b.invoice_id"
    );
    with_charges(db, db.fetch_all_built(sql, args).await?).await
}

/// Issued bills by the ids of their invoices, those behind an id.
pub(crate) async fn list_issued(
    db: &Db,
    provider: &str,
    (after, max): (i64, i64),
) -> Result<Vec<Bill>, Error> {
    let sql = format!(
        "{BILLS} WHERE b.provider = $1 AND b.invoice_id > 0 AND b.invoice_id > $2 \
         ORDER BY b.invoice_id LIMIT $3"
    );
    with_charges(db, db.fetch_all_built(sql, args![provider, after, max]).await?).await
}

/// Which bills are listed.
pub(crate) struct Filter {
    /// Those of one customer only.
    pub(crate) customer: Option<CustomerId>,
    /// When they were made.
    pub(crate) span: Span,
    /// Those behind this one.
    pub(crate) after: Option<(OffsetDateTime, String)>,
}

/// A bill, and what it is for.
pub(crate) struct Billed {
    pub(crate) bill: Bill,
    pub(crate) s3uid: String,
    pub(crate) service_id: i64,
    pub(crate) location: String,
    pub(crate) storage_type: String,
}

#[derive(sqlx::FromRow)]
struct OfRow {
    order_key: String,
    s3uid: String,
    service_id: Option<i64>,
    location: String,
    storage_type: String,
}

/// Bills in the order in which they were made.
pub(crate) async fn list(db: &Db, filter: &Filter, max: i64) -> Result<Vec<Billed>, Error> {
    let mut args = args![filter.span.start, filter.span.end];
    let mut sql = format!("{BILLS} WHERE b.create_time >= $1 AND b.create_time < $2");
    if let Some(customer) = filter.customer {
        sql.push_str(&format!(" AND b.customer_id = ${}", args.push(customer.0)));
    }
    if let Some((time, key)) = &filter.after {
        let places: [Value; 2] = [(*time).into(), key.into()];
        sql.push_str(&format!(" AND (b.create_time, b.bill_key) > ({})", args.push_row(places)));
    }
    let limit = args.push(max);
    sql.push_str(&format!(" ORDER BY b.create_time, b.bill_key LIMIT ${limit}"));
    let rows: Vec<BillRow> = db.fetch_all_built(sql, args).await?;
    let bills = with_charges(db, rows).await?;
    if bills.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let places = args.push_all(bills.iter().map(|bill| bill.order.as_str()));
    let sql = format!(
        "SELECT s.order_key, s.s3uid, s.service_id, s.location, v.storage_type \
         FROM subscription s JOIN plan_version v ON v.plan_id = s.plan_id \
         AND v.version = s.plan_version WHERE s.order_key IN ({places})"
    );
    let of: Vec<OfRow> = db.fetch_all_built(sql, args).await?;
    let of: BTreeMap<String, OfRow> =
        of.into_iter().map(|row| (row.order_key.clone(), row)).collect();
    let billed = |bill: Bill| {
        let of = of.get(bill.order.as_str());
        let of = of.ok_or_else(|| damaged(format!("bill {} is of no order", bill.key)))?;
        Ok(Billed {
            s3uid: of.s3uid.clone(),
            service_id: of.service_id.unwrap_or(0),
            location: of.location.clone(),
            storage_type: of.storage_type.clone(),
            bill,
        })
    };
    bills.into_iter().map(billed).collect()
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    order_key: String,
    order_id: i64,
    invoice_id: i64,
    service_id: i64,
    title: String,
}

async fn placed(
    db: &Db,
    orders: &[String],
) -> Result<BTreeMap<String, (PlacedOrder, String)>, Error> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args = Args::new();
    let places = args.push_all(orders);
    let sql = format!(
        "SELECT s.order_key, s.order_id, s.invoice_id, s.service_id, v.title \
         FROM subscription s JOIN plan_version v ON v.plan_id = s.plan_id \
         AND v.version = s.plan_version \
         WHERE s.order_key IN ({places}) AND s.service_id IS NOT NULL"
    );
    let rows: Vec<PlacedRow> = db.fetch_all_built(sql, args).await?;
    let read = |PlacedRow { order_key, order_id, invoice_id, service_id, title }| {
        (order_key, (PlacedOrder { order_id, invoice_id, service_id }, title))
    };
    Ok(rows.into_iter().map(read).collect())
}

#[derive(sqlx::FromRow)]
struct ChargeRow {
    bill_key: String,
    kind: String,
    plan_id: i64,
    version: i64,
    from_time: OffsetDateTime,
    to_time: OffsetDateTime,
    aggregate_bytes: i64,
    included_bytes: i64,
    quantity_bytes: i64,
    price_nanos: i64,
    gb_bytes: i64,
    hours: i64,
    period_hours: i64,
    prior_nanos: i64,
    amount_nanos: i64,
}

impl ChargeRow {
    fn read(self) -> Result<(String, Charge), Error> {
        let kind = ChargeKind::ALL.into_iter().find(|kind| kind.text() == self.kind);
        let charge = Charge {
            kind: kind.ok_or_else(|| damaged(format!("{:?} is no kind of charge", self.kind)))?,
            plan: PlanId(self.plan_id),
            version: small(self.version)?,
            from: self.from_time,
            to: self.to_time,
            aggregate_bytes: self.aggregate_bytes,
            included_bytes: self.included_bytes,
            quantity_bytes: self.quantity_bytes,
            price_nanos: self.price_nanos.into(),
            gb_bytes: self.gb_bytes,
            hours: self.hours.into(),
            period_hours: self.period_hours.into(),
            prior_nanos: self.prior_nanos.into(),
            amount_nanos: self.amount_nanos.into(),
        };
        Ok((self.bill_key, charge))
    }
}

async fn with_charges(mut from: impl Query, rows: Vec<BillRow>) -> Result<Vec<Bill>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let places = args.push_all(rows.iter().map(|row| row.bill_key.as_str()));
    let sql = format!(
        "SELECT bill_key, kind, plan_id, version, from_time, to_time, aggregate_bytes, \
         included_bytes, quantity_bytes, price_nanos, gb_bytes, hours, period_hours, \
         prior_nanos, amount_nanos FROM charge WHERE bill_key IN ({places}) \
         ORDER BY bill_key, line"
    );
    let lines: Vec<ChargeRow> = from.fetch_all_built(sql, args).await?;
    let mut charges: BTreeMap<String, Vec<Charge>> = BTreeMap::new();
    for line in lines {
        let (key, charge) = line.read()?;
        charges.entry(key).or_default().push(charge);
    }
    let bill = |row: BillRow| {
        Ok(Bill {
            charges: charges.remove(&row.bill_key).unwrap_or_default(),
            key: row.bill_key,
            order: OrderKey::parse(&row.order_key).map_err(damaged)?,
            provider: row.provider,
            customer: CustomerId(row.customer_id),
            currency: currency(&row.currency)?,
            total: Money::from_nanos(row.total_nanos.into(), currency(&row.currency)?),
            create_time: row.create_time,
            invoice_id: row.invoice_id,
        })
    };
    rows.into_iter().map(bill).collect()
}

/// Notes which invoice each bill became; 0: none. One that was noted keeps its own.
pub(crate) async fn set_issued(
    tx: &mut Tx,
    issued: &[(String, i64)],
    now: OffsetDateTime,
) -> Result<(), Error> {
    if issued.is_empty() {
        return Ok(());
    }
    let mut args = args![now];
    let row = |(key, invoice_id): &(String, i64)| {
        let places: [Value; 2] = [key.into(), (*invoice_id).into()];
        format!("({})", args.push_row(places))
    };
    let rows = issued.iter().map(row).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "WITH issued (bill_key, invoice_id) AS (VALUES {rows}) \
         UPDATE bill SET invoice_id = issued.invoice_id, issue_time = $1 FROM issued \
         WHERE bill.bill_key = issued.bill_key AND bill.invoice_id IS NULL"
    );
    tx.execute_built(sql, args).await?;
    Ok(())
}
