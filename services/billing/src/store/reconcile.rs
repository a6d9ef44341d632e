//! What is compared with the provider, in parts.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error, args};
use stowage_types::CustomerId;
use time::OffsetDateTime;

use super::subscription::{Row, select, subscription_of};
use crate::domain::subscription::Subscription;

/// Pending and active subscriptions of an installation, of the services between two ids, the latter
/// included.
pub(crate) async fn list_open_between(
    db: &Db,
    (provider, installation): (&str, &str),
    (after, through, max): (i64, i64, i64),
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.service_id > $2 AND s.service_id <= $3 \
         AND s.state IN ('pending', 'active') AND s.installation = $5 \
         ORDER BY s.service_id LIMIT $4"
    );
    let args = args![provider, after, through, max, installation];
    let rows: Vec<Row> = db.fetch_all(sql, args).await?;
    rows.into_iter().map(subscription_of).collect()
}

/// Reservations by key, those behind a key: the provider's answer is not known.
pub(crate) async fn list_ordering(
    db: &Db,
    provider: &str,
    (after, max): (&str, i64),
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.state = 'ordering' AND s.order_key > $2 \
         ORDER BY s.order_key LIMIT $3"
    );
    let rows: Vec<Row> = db.fetch_all(sql, args![provider, after, max]).await?;
    rows.into_iter().map(subscription_of).collect()
}

/// A bill, as far as its invoice is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillNote {
    pub(crate) key: String,
    pub(crate) customer: CustomerId,
    pub(crate) service_id: i64,
    pub(crate) s3uid: String,
    /// 0: it became none. Absent: the provider has not got it.
    pub(crate) invoice_id: Option<i64>,
    pub(crate) create_time: OffsetDateTime,
}

#[derive(sqlx::FromRow)]
struct BillRow {
    bill_key: String,
    customer_id: i64,
    service_id: Option<i64>,
    s3uid: String,
    invoice_id: Option<i64>,
    create_time: OffsetDateTime,
}

impl From<BillRow> for BillNote {
    fn from(row: BillRow) -> Self {
        Self {
            key: row.bill_key,
            customer: CustomerId(row.customer_id),
            service_id: row.service_id.unwrap_or(0),
            s3uid: row.s3uid,
            invoice_id: row.invoice_id,
            create_time: row.create_time,
        }
    }
}

/// The head of every query for [`BillRow`].
const BILLS: &str = "SELECT b.bill_key, b.customer_id, s.service_id, s.s3uid, b.invoice_id, \
    b.create_time FROM bill b JOIN subscription s ON s.order_key = b.order_key";

/// Bills by their keys.
pub(crate) async fn bills_of(
    db: &Db,
    provider: &str,
    keys: &[&str],
) -> Result<BTreeMap<String, BillNote>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut args: Args = args![provider];
    let places = args.push_all(keys.iter().copied());
    let sql = format!("{BILLS} WHERE b.provider = $1 AND b.bill_key IN ({places})");
    let rows: Vec<BillRow> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|row| (row.bill_key.clone(), row.into())).collect())
}

/// Bills whose invoices are between two ids, the latter included.
pub(crate) async fn list_noted_between(
    db: &Db,
    provider: &str,
    (after, through, max): (i64, i64, i64),
) -> Result<Vec<BillNote>, Error> {
    let sql = format!(
        "{BILLS} WHERE b.provider = $1 AND b.invoice_id > 0 AND b.invoice_id > $2 \
         AND b.invoice_id <= $3 ORDER BY b.invoice_id LIMIT $4"
    );
    let args = args![provider, after, through, max];
    let rows: Vec<BillRow> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Bills from before a time that the provider has not got, those behind a key.
pub(crate) async fn list_drafts_before(
    db: &Db,
    provider: &str,
    (before, after, max): (OffsetDateTime, &str, i64),
) -> Result<Vec<BillNote>, Error> {
    let sql = format!(
        "{BILLS} WHERE b.invoice_id IS NULL AND b.provider = $1 AND b.create_time < $2 \
         AND b.bill_key > $3 ORDER BY b.bill_key LIMIT $4"
    );
    let args = args![provider, before, after, max];
    let rows: Vec<BillRow> = db.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}
