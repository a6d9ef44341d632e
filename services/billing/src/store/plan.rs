//! Plans, their versions and their prices.

use stowage_db::{Error, Query, Tx, args};
use stowage_types::{Currency, PlanId};
use time::OffsetDateTime;

use super::amount::{
    currency, free_parts, free_parts_text, from_nanos, period, period_text, small, storage_mode,
    to_nanos,
};
use crate::domain::plan::Plan;
use crate::domain::terms::{Price, Terms};

/// A price with its version and plan. A plan has as many rows as it has prices.
#[derive(sqlx::FromRow)]
struct Row {
    plan_id: i64,
    version: i64,
    active: bool,
    title: String,
    storage_type: String,
    location: String,
    base_price_nanos: i64,
    quota_bytes: i64,
    bucket_max: i64,
    gb_bytes: i64,
    included_storage_gb: i64,
    included_traffic_gb: i64,
    storage_mode: String,
    period: String,
    free: bool,
    free_parts: String,
    key_max: i64,
    storage_cap_gb: i64,
    traffic_cap_gb: i64,
    account_max_per_customer: i64,
    effective_time: OffsetDateTime,
    create_time: OffsetDateTime,
    currency: String,
    period_nanos: i64,
    storage_overage_nanos: i64,
    traffic_overage_nanos: i64,
}

/// Columns of [`Row`] but for the price's: `p` is the plan, `v` the version.
macro_rules! version_columns {
    () => {
        "p.plan_id, v.version, p.active, v.title, v.storage_type, v.location, \
         v.base_price_nanos, v.quota_bytes, v.bucket_max, v.gb_bytes, v.included_storage_gb, \
         v.included_traffic_gb, v.storage_mode, v.period, v.free, v.free_parts, v.key_max, \
         v.storage_cap_gb, v.traffic_cap_gb, \
         v.account_max_per_customer, v.effective_time, v.create_time"
    };
}

/// Columns of [`Row`] that are the price's.
macro_rules! price_columns {
    () => {
        "r.currency, r.period_nanos, r.storage_overage_nanos, r.traffic_overage_nanos"
    };
}

/// Which version of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that holds at a moment.
    At(OffsetDateTime),
    /// The last one that was made, whether it holds yet or not.
    Latest,
    /// That one.
    Version(i32),
}

/// Which plans to list.
pub(crate) struct Filter<'a> {
    /// In the versions that hold then. A plan that nobody can buy yet is listed, if at all, in the
    /// version that comes.
    pub(crate) now: OffsetDateTime,
    /// Those with a greater id.
    pub(crate) after: i64,
    /// Those offered at the location; empty: at any.
    pub(crate) location: &'a str,
    /// Active ones priced in the currency, with that price only; `None`: all with all prices.
    pub(crate) currency: Option<Currency>,
}

/// Returns a plan in a version.
pub(crate) async fn find(
    mut from: impl Query,
    id: PlanId,
    which: Which,
) -> Result<Option<Plan>, Error> {
    let (at, version) = match which {
        Which::At(now) => (now, -1),
        Which::Latest => (OffsetDateTime::UNIX_EPOCH, 0),
        Which::Version(version) => (OffsetDateTime::UNIX_EPOCH, version),
    };
    let rows = from
        .fetch_all(
            concat!(
                "SELECT ",
                version_columns!(),
                ", ",
                price_columns!(),
                " FROM plan p \
                 JOIN plan_version v ON v.plan_id = p.plan_id \
                 AND v.version = CASE WHEN $2 = 0 THEN p.version WHEN $2 > 0 THEN $2 \
                 ELSE (SELECT max(x.version) FROM plan_version x \
                 WHERE x.plan_id = p.plan_id AND x.effective_time <= $3) END \
                 JOIN plan_price r ON r.plan_id = v.plan_id AND r.version = v.version \
                 WHERE p.plan_id = $1 ORDER BY r.position",
            ),
            args![id.0, i64::from(version), at],
        )
        .await?;
    Ok(plans_of(rows)?.pop())
}

/// Returns up to `limit` plans in their current versions, by id.
pub(crate) async fn list(
    mut from: impl Query,
    filter: &Filter<'_>,
    limit: i64,
) -> Result<Vec<Plan>, Error> {
    let currency = filter.currency.map(String::from).unwrap_or_default();
    let rows = from
        .fetch_all(
            concat!(
                "WITH page AS (SELECT ",
                version_columns!(),
                " FROM plan p \
                 JOIN plan_version v ON v.plan_id = p.plan_id AND v.version = coalesce(\
                 (SELECT max(x.version) FROM plan_version x WHERE x.plan_id = p.plan_id \
                 AND x.effective_time <= $5), p.version) \
                 WHERE p.plan_id > $1 AND ($2 = '' OR v.location = $2) \
                 AND ($3 = '' OR (p.active AND v.effective_time <= $5 \
                 AND EXISTS (SELECT 1 FROM plan_price x WHERE x.plan_id = p.plan_id \
                 AND x.version = v.version AND x.currency = $3))) \
                 ORDER BY p.plan_id LIMIT $4) \
                 SELECT page.*, ",
                price_columns!(),
                " FROM page \
                 JOIN plan_price r ON r.plan_id = page.plan_id AND r.version = page.version \
                 WHERE $3 = '' OR r.currency = $3 ORDER BY page.plan_id, r.position",
            ),
            args![filter.after, filter.location, currency, limit, filter.now],
        )
        .await?;
    plans_of(rows)
}

/// Stores a new plan in its first version. A violation of `plan.title`: an active one has it.
pub(crate) async fn insert(tx: &mut Tx, plan: &Plan, actor: &str) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO plan (plan_id, version, title, active, create_time) \
         VALUES ($1, $2, $3, $4, $5)",
        args![plan.id.0, plan.version, plan.terms.title.as_str(), plan.active, plan.update_time],
    )
    .await?;
    insert_version(tx, plan, actor).await
}

/// Stores the next version of a plan; false if the version before it is not the current one.
pub(crate) async fn update(tx: &mut Tx, plan: &Plan, actor: &str) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE plan SET version = $2, title = $3 WHERE plan_id = $1 AND version = $2 - 1",
            args![plan.id.0, plan.version, plan.terms.title.as_str()],
        )
        .await?;
    if rows == 0 {
        return Ok(false);
    }
    insert_version(tx, plan, actor).await?;
    Ok(true)
}

/// Archives a plan; false if it is not there or was archived before.
pub(crate) async fn archive(tx: &mut Tx, id: PlanId) -> Result<bool, Error> {
    let sql = "UPDATE plan SET active = false WHERE plan_id = $1 AND active";
    Ok(tx.execute(sql, args![id.0]).await? == 1)
}

async fn insert_version(tx: &mut Tx, plan: &Plan, actor: &str) -> Result<(), Error> {
    let terms = &plan.terms;
    tx.execute(
        "INSERT INTO plan_version (plan_id, version, title, storage_type, location, \
         base_price_nanos, quota_bytes, bucket_max, gb_bytes, included_storage_gb, \
         included_traffic_gb, storage_mode, period, free, account_max_per_customer, actor, \
         create_time, effective_time, free_parts, key_max, storage_cap_gb, traffic_cap_gb) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22)",
        args![
            plan.id.0,
            plan.version,
            terms.title.as_str(),
            terms.storage_type.as_str(),
            terms.location.as_str(),
            to_nanos(terms.base_price)?,
            terms.quota_bytes,
            terms.bucket_max,
            terms.gb_bytes,
            terms.included_storage_gb,
            terms.included_traffic_gb,
            terms.storage_mode.text(),
            period_text(terms.period),
            terms.free,
            terms.account_max_per_customer,
            actor,
            plan.update_time,
            plan.effective_time,
            free_parts_text(&terms.free_parts),
            terms.key_max,
            terms.storage_cap_gb,
            terms.traffic_cap_gb
        ],
    )
    .await?;
    for (position, price) in (1_i64..).zip(&terms.prices) {
        insert_price(tx, plan, position, price).await?;
    }
    Ok(())
}

async fn insert_price(tx: &mut Tx, plan: &Plan, position: i64, price: &Price) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO plan_price (plan_id, version, currency, position, period_nanos, \
         storage_overage_nanos, traffic_overage_nanos) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![
            plan.id.0,
            plan.version,
            price.currency.as_str(),
            position,
            to_nanos(price.period)?,
            to_nanos(price.storage_overage)?,
            to_nanos(price.traffic_overage)?
        ],
    )
    .await?;
    Ok(())
}

/// Gathers rows, ordered by plan, into plans with their prices.
fn plans_of(rows: Vec<Row>) -> Result<Vec<Plan>, Error> {
    let mut plans: Vec<Plan> = Vec::new();
    for row in rows {
        let price = Price {
            currency: currency(&row.currency)?,
            period: from_nanos(row.period_nanos),
            storage_overage: from_nanos(row.storage_overage_nanos),
            traffic_overage: from_nanos(row.traffic_overage_nanos),
        };
        match plans.last_mut() {
            Some(plan) if plan.id.0 == row.plan_id => plan.terms.prices.push(price),
            _ => plans.push(plan_of(row, price)?),
        }
    }
    Ok(plans)
}

fn plan_of(row: Row, first: Price) -> Result<Plan, Error> {
    Ok(Plan {
        id: PlanId(row.plan_id),
        version: small(row.version)?,
        active: row.active,
        effective_time: row.effective_time,
        update_time: row.create_time,
        terms: Terms {
            title: row.title,
            storage_type: row.storage_type,
            location: row.location,
            base_price: from_nanos(row.base_price_nanos),
            prices: vec![first],
            quota_bytes: row.quota_bytes,
            bucket_max: small(row.bucket_max)?,
            gb_bytes: row.gb_bytes,
            included_storage_gb: row.included_storage_gb,
            included_traffic_gb: row.included_traffic_gb,
            storage_mode: storage_mode(&row.storage_mode)?,
            period: period(&row.period)?,
            free: row.free,
            free_parts: free_parts(&row.free_parts)?,
            key_max: small(row.key_max)?,
            storage_cap_gb: row.storage_cap_gb,
            traffic_cap_gb: row.traffic_cap_gb,
            account_max_per_customer: small(row.account_max_per_customer)?,
        },
    })
}
