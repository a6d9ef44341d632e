//! Subscriptions, and the keys of their orders.

use stowage_auth::Scope;
use stowage_db::{Args, Error, Query, Tx, args};
use stowage_provider::{OrderKey, PlacedOrder};
use stowage_types::{CustomerId, Money, PlanId, S3uid};
use time::OffsetDateTime;

use super::amount::{currency, damaged, from_nanos, period, small};
use crate::domain::subscription::{OrderRequest, State, Subscription};

#[derive(sqlx::FromRow)]
struct Row {
    order_key: String,
    provider: String,
    customer_id: i64,
    s3uid: String,
    plan_id: i64,
    plan_version: i64,
    currency: String,
    location: String,
    state: String,
    service_id: Option<i64>,
    order_id: Option<i64>,
    invoice_id: Option<i64>,
    anchor_time: Option<OffsetDateTime>,
    end_time: Option<OffsetDateTime>,
    cancel_time: Option<OffsetDateTime>,
    schedule_version: i64,
    create_time: OffsetDateTime,
    title: String,
    period: String,
    base_price_nanos: i64,
    period_nanos: i64,
}

/// A subscription `s` with the version `v` and the price `r` it was sold with.
macro_rules! select {
    ($filter:literal) => {
        concat!(select!(), " ", $filter)
    };
    () => {
        "SELECT s.order_key, s.provider, s.customer_id, s.s3uid, s.plan_id, s.plan_version, \
         s.currency, s.location, s.state, s.service_id, s.order_id, s.invoice_id, \
         s.anchor_time, s.end_time, s.cancel_time, s.schedule_version, s.create_time, \
         v.title, v.period, v.base_price_nanos, r.period_nanos \
         FROM subscription s \
         JOIN plan_version v ON v.plan_id = s.plan_id AND v.version = s.plan_version \
         JOIN plan_price r ON r.plan_id = s.plan_id AND r.version = s.plan_version \
         AND r.currency = s.currency"
    };
}

/// Locks the key's row until the end of the transaction; true: the key is spent.
pub(crate) async fn lock_key(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let (undone,): (bool,) = tx
        .fetch_one(
            "INSERT INTO order_key (order_key, undone, create_time) VALUES ($1, false, $2) \
             ON CONFLICT (order_key) DO UPDATE SET undone = order_key.undone RETURNING undone",
            args![key.as_str(), now],
        )
        .await?;
    Ok(undone)
}

/// Spends a key, whether an order came with it or not.
pub(crate) async fn spend_key(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO order_key (order_key, undone, create_time) VALUES ($1, true, $2) \
         ON CONFLICT (order_key) DO UPDATE SET undone = true",
        args![key.as_str(), now],
    )
    .await?;
    Ok(())
}

/// Locks the customer's row of a plan, so that what he holds can be counted and added to.
pub(crate) fn lock_holder(tx: &mut Tx, plan: PlanId, customer: CustomerId) {
    tx.defer(
        "INSERT INTO plan_holder (plan_id, customer_id) VALUES ($1, $2) \
         ON CONFLICT (plan_id, customer_id) DO UPDATE SET customer_id = excluded.customer_id",
        args![plan.0, customer.0],
    );
}

/// Counts a customer's open subscriptions of a plan, reservations included.
pub(crate) async fn count_open(
    mut from: impl Query,
    plan: PlanId,
    customer: CustomerId,
) -> Result<i64, Error> {
    let (count,): (i64,) = from
        .fetch_one(
            "SELECT count(*) FROM subscription WHERE plan_id = $1 AND customer_id = $2 \
             AND state IN ('ordering', 'pending', 'active')",
            args![plan.0, customer.0],
        )
        .await?;
    Ok(count)
}

pub(crate) async fn find_by_key(
    mut from: impl Query,
    key: &OrderKey,
) -> Result<Option<Subscription>, Error> {
    let row: Option<Row> =
        from.fetch_optional(select!("WHERE s.order_key = $1"), args![key.as_str()]).await?;
    row.map(subscription_of).transpose()
}

pub(crate) async fn find(
    mut from: impl Query,
    provider: &str,
    service_id: i64,
) -> Result<Option<Subscription>, Error> {
    let sql = select!("WHERE s.provider = $1 AND s.service_id = $2");
    let row: Option<Row> = from.fetch_optional(sql, args![provider, service_id]).await?;
    row.map(subscription_of).transpose()
}

/// Returns those within the scope among the ids, in their order. The caller bounds the ids.
pub(crate) async fn list(
    mut from: impl Query,
    provider: &str,
    scope: Scope,
    service_ids: &[i64],
) -> Result<Vec<Subscription>, Error> {
    let customer = match scope {
        Scope::Everything => None,
        Scope::Customer(CustomerId(id)) => Some(id),
    };
    if service_ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args: Args = args![provider, customer.is_none(), customer.unwrap_or(0)];
    let numbers = args.push_all(service_ids.iter().copied());
    let sql = format!(
        "{} WHERE s.provider = $1 AND ($2 OR s.customer_id = $3) AND s.service_id IN ({numbers}) \
         ORDER BY s.service_id",
        select!(),
    );
    from.fetch_all_built(sql, args).await?.into_iter().map(subscription_of).collect()
}

/// Reserves an order.
pub(crate) fn insert(tx: &mut Tx, order: &OrderRequest, provider: &str, now: OffsetDateTime) {
    tx.defer(
        "INSERT INTO subscription (order_key, provider, customer_id, s3uid, plan_id, \
         plan_version, currency, location, state, create_time) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'ordering', $9)",
        args![
            order.key.as_str(),
            provider,
            order.buyer.customer.0,
            order.s3uid.as_str(),
            order.buyer.plan.0,
            order.plan_version,
            order.buyer.currency.as_str(),
            order.buyer.location.as_str(),
            now
        ],
    );
}

/// Records what the provider calls a reserved order.
pub(crate) async fn record(tx: &mut Tx, key: &OrderKey, placed: PlacedOrder) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = 'pending', order_id = $2, invoice_id = $3, \
         service_id = $4 WHERE order_key = $1 AND state = 'ordering'",
        args![key.as_str(), placed.order_id, placed.invoice_id, placed.service_id],
    )
    .await?;
    Ok(())
}

/// Accepts a pending order; its periods start at `now`.
pub(crate) async fn activate(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = 'active', anchor_time = $2 \
         WHERE order_key = $1 AND state = 'pending'",
        args![key.as_str(), now],
    )
    .await?;
    Ok(())
}

/// Moves a subscription to a plan and version.
pub(crate) async fn set_plan(
    tx: &mut Tx,
    key: &OrderKey,
    (plan, version): (PlanId, i32),
) -> Result<(), Error> {
    const SQL: &str =
        "UPDATE subscription SET plan_id = $2, plan_version = $3 WHERE order_key = $1";
    tx.execute(SQL, args![key.as_str(), plan.0, version]).await.map(|_| ())
}

/// Ends a subscription as `state`, unless it was undone. An undo takes even an ended one. One
/// whose scheduled end is past ended then, however late this comes.
pub(crate) async fn close(
    tx: &mut Tx,
    key: &OrderKey,
    state: State,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = $2, cancel_time = NULL, end_time = COALESCE(end_time, \
         CASE WHEN cancel_time < $3 THEN cancel_time ELSE $3 END) \
         WHERE order_key = $1 AND state <> 'cancelled'",
        args![key.as_str(), state.text(), now],
    )
    .await?;
    Ok(())
}

/// Sets or withdraws the scheduled end.
pub(crate) async fn set_cancel_time(
    tx: &mut Tx,
    key: &OrderKey,
    end: Option<OffsetDateTime>,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET cancel_time = $2, schedule_version = schedule_version + 1 \
         WHERE order_key = $1",
        args![key.as_str(), end],
    )
    .await?;
    Ok(())
}

/// Returns subscriptions whose scheduled end the provider was not told of.
pub(crate) async fn list_unmirrored(
    mut from: impl Query,
    provider: &str,
    limit: i64,
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.schedule_version > s.mirrored_version \
         ORDER BY s.order_key LIMIT $2"
    );
    from.fetch_all(sql, args![provider, limit]).await?.into_iter().map(subscription_of).collect()
}

/// Reserved, pending and active ones by key, those after a key.
pub(crate) async fn list_open(
    mut from: impl Query,
    provider: &str,
    (after, max): (&str, i64),
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND s.state IN ('ordering', 'pending', 'active') \
         AND s.order_key > $2 ORDER BY s.order_key LIMIT $3"
    );
    let rows = from.fetch_all(sql, args![provider, after, max]).await?;
    rows.into_iter().map(subscription_of).collect()
}

/// Notes that the provider was told of the schedule up to a version.
pub(crate) async fn set_mirrored(tx: &mut Tx, key: &OrderKey, version: i64) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET mirrored_version = $2 \
         WHERE order_key = $1 AND mirrored_version < $2",
        args![key.as_str(), version],
    )
    .await?;
    Ok(())
}

fn subscription_of(row: Row) -> Result<Subscription, Error> {
    let state = State::ALL.into_iter().find(|state| state.text() == row.state);
    let placed = match (row.order_id, row.invoice_id, row.service_id) {
        (Some(order_id), Some(invoice_id), Some(service_id)) => {
            Some(PlacedOrder { order_id, invoice_id, service_id })
        }
        _ => None,
    };
    let price = from_nanos(row.period_nanos);
    Ok(Subscription {
        key: OrderKey::parse(&row.order_key).map_err(damaged)?,
        provider: row.provider,
        customer: CustomerId(row.customer_id),
        s3uid: S3uid::parse(&row.s3uid).map_err(damaged)?,
        plan: PlanId(row.plan_id),
        plan_version: small(row.plan_version)?,
        title: row.title,
        location: row.location,
        state: state.ok_or_else(|| damaged(format!("{:?} is no state", row.state)))?,
        placed,
        period: period(&row.period)?,
        period_price: Money::from_nanos(price.nanos(), currency(&row.currency)?),
        base_price: from_nanos(row.base_price_nanos),
        anchor_time: row.anchor_time,
        end_time: row.end_time,
        cancel_time: row.cancel_time,
        schedule_version: row.schedule_version,
        create_time: row.create_time,
    })
}
