//! Limits of subscriptions that metering was not told of.

use stowage_db::{Db, Error, Tx, args};
use stowage_provider::OrderKey;
use stowage_types::{CustomerId, S3uid};
use time::OffsetDateTime;

use super::amount::{damaged, period};
use crate::domain::limits::Limits;
use crate::domain::period::months_in;

#[derive(sqlx::FromRow)]
struct Row {
    order_key: String,
    s3uid: String,
    customer_id: i64,
    state: String,
    anchor_time: Option<OffsetDateTime>,
    limits_version: i64,
    limits_told: i64,
    period: String,
    quota_bytes: i64,
    gb_bytes: i64,
    included_storage_gb: i64,
    included_traffic_gb: i64,
    storage_cap_gb: i64,
    traffic_cap_gb: i64,
}

/// Limits that have changed since metering was told of them, by the keys of their orders.
pub(crate) async fn list_untold(db: &Db, max: i64) -> Result<Vec<Limits>, Error> {
    const SQL: &str = "SELECT s.order_key, s.s3uid, s.customer_id, s.state, s.anchor_time, \
        s.limits_version, s.limits_told, v.period, v.quota_bytes, v.gb_bytes, \
        v.included_storage_gb, v.included_traffic_gb, v.storage_cap_gb, v.traffic_cap_gb \
        FROM subscription s \
        JOIN plan_version v ON v.plan_id = s.plan_id AND v.version = s.plan_version \
        WHERE s.limits_version > s.limits_told ORDER BY s.order_key LIMIT $1";
    let rows: Vec<Row> = db.fetch_all(SQL, args![max]).await?;
    rows.into_iter().map(limits_of).collect()
}

fn limits_of(row: Row) -> Result<Limits, Error> {
    // Terms whose bytes pass 64 bits are refused.
    let bytes = |gb: i64| gb.saturating_mul(row.gb_bytes);
    Ok(Limits {
        key: OrderKey::parse(&row.order_key).map_err(damaged)?,
        s3uid: S3uid::parse(&row.s3uid).map_err(damaged)?,
        customer: CustomerId(row.customer_id),
        version: row.limits_version,
        told: row.limits_told,
        // What is not active was never begun, or has ended.
        anchor_time: row.anchor_time.filter(|_| row.state == "active"),
        period_months: months_in(period(&row.period)?),
        quota_bytes: row.quota_bytes,
        included_storage_bytes: bytes(row.included_storage_gb),
        included_traffic_bytes: bytes(row.included_traffic_gb),
        storage_cap_bytes: bytes(row.storage_cap_gb),
        traffic_cap_bytes: bytes(row.traffic_cap_gb),
    })
}

/// Notes that metering was told of a subscription's limits up to a version.
pub(crate) fn set_told(tx: &mut Tx, key: &OrderKey, version: i64) {
    const SQL: &str = "UPDATE subscription SET limits_told = $2 \
        WHERE order_key = $1 AND limits_told < $2";
    tx.defer(SQL, args![key.as_str(), version]);
}
