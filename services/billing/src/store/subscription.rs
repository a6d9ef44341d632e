//! Subscriptions, and the keys of their orders.

use stowage_auth::Scope;
use stowage_db::{Args, Error, Query, Tx, args};
use stowage_provider::{OrderKey, PlacedOrder};
use stowage_types::{CustomerId, Money, PlanId, S3uid};
use time::OffsetDateTime;

use super::amount::{currency, damaged, from_nanos, period, small};
use crate::domain::closing::PlanChange;
use crate::domain::subscription::{OrderRequest, State, Subscription};

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    order_key: String,
    provider: String,
    installation: String,
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
    mirrored_version: i64,
    plan_changes: i64,
    plan_changes_told: i64,
    period_number: Option<i64>,
    close_time: Option<OffsetDateTime>,
    create_time: OffsetDateTime,
    title: String,
    period: String,
    base_price_nanos: i64,
    period_nanos: i64,
}

/// All that a [`Row`] has.
macro_rules! select {
    ($filter:literal) => {
        concat!(select!(), " ", $filter)
    };
    () => {
        concat!(
            "SELECT s.order_key, s.provider, s.installation, s.customer_id, s.s3uid, s.plan_id, \
         s.plan_version, s.currency, s.location, s.state, s.service_id, s.order_id, s.invoice_id, \
         s.anchor_time, s.end_time, s.cancel_time, s.schedule_version, s.mirrored_version, \
         s.plan_changes, s.plan_changes_told, s.period_number, s.close_time, s.create_time, \
         v.title, v.period, v.base_price_nanos, r.period_nanos ",
            $crate::store::subscription::sold!()
        )
    };
}
pub(crate) use select;

/// A subscription `s` with the version `v` and the price `r` it was sold with.
macro_rules! sold {
    () => {
        "FROM subscription s \
         JOIN plan_version v ON v.plan_id = s.plan_id AND v.version = s.plan_version \
         JOIN plan_price r ON r.plan_id = s.plan_id AND r.version = s.plan_version \
         AND r.currency = s.currency"
    };
}
pub(crate) use sold;

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

/// Whether a key is spent.
pub(crate) async fn is_spent(mut from: impl Query, key: &OrderKey) -> Result<bool, Error> {
    let sql = "SELECT undone FROM order_key WHERE order_key = $1";
    let row: Option<(bool,)> = from.fetch_optional(sql, args![key.as_str()]).await?;
    Ok(row.is_some_and(|(undone,)| undone))
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

/// Counts a customer's open subscriptions at a provider, reservations included.
pub(crate) async fn count_open_of(
    mut from: impl Query,
    provider: &str,
    customer: CustomerId,
) -> Result<i64, Error> {
    let (count,): (i64,) = from
        .fetch_one(
            "SELECT count(*) FROM subscription WHERE provider = $1 AND customer_id = $2 \
             AND state IN ('ordering', 'pending', 'active')",
            args![provider, customer.0],
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

/// The subscription of an order, by what the provider calls the order.
pub(crate) async fn find_by_order(
    mut from: impl Query,
    provider: &str,
    order_id: i64,
) -> Result<Option<Subscription>, Error> {
    let sql = select!("WHERE s.provider = $1 AND s.order_id = $2 ORDER BY s.service_id LIMIT 1");
    let row: Option<Row> = from.fetch_optional(sql, args![provider, order_id]).await?;
    row.map(subscription_of).transpose()
}

/// Whether billing has ever met a customer: he has ordered, or asked what an order would cost.
pub(crate) async fn knows(mut from: impl Query, customer: CustomerId) -> Result<bool, Error> {
    let row: Option<(i64,)> = from
        .fetch_optional(
            "SELECT customer_id FROM customer_contact WHERE customer_id = $1 \
             UNION SELECT customer_id FROM subscription WHERE customer_id = $1 LIMIT 1",
            args![customer.0],
        )
        .await?;
    Ok(row.is_some())
}

/// Returns those within the scope among the ids, in their order. The caller bounds the ids.
pub(crate) async fn list(
    mut from: impl Query,
    provider: &str,
    scope: Scope,
    service_ids: &[i64],
) -> Result<Vec<Subscription>, Error> {
    if service_ids.is_empty() {
        return Ok(Vec::new());
    }
    let (filter, args) = named(provider, scope, service_ids);
    let sql = format!("{} {filter}", select!());
    from.fetch_all_built(sql, args).await?.into_iter().map(subscription_of).collect()
}

/// The condition on those within the scope among the ids, and their order.
pub(super) fn named(provider: &str, scope: Scope, service_ids: &[i64]) -> (String, Args) {
    let customer = match scope {
        Scope::Everything => None,
        Scope::Customer(CustomerId(id)) => Some(id),
    };
    let mut args: Args = args![provider, customer.is_none(), customer.unwrap_or(0)];
    let numbers = args.push_all(service_ids.iter().copied());
    let filter = format!(
        "WHERE s.provider = $1 AND ($2 OR s.customer_id = $3) AND s.service_id IN ({numbers}) \
         ORDER BY s.service_id"
    );
    (filter, args)
}

/// Reserves an order.
pub(crate) fn insert(
    tx: &mut Tx,
    order: &OrderRequest,
    (provider, installation): (&str, &str),
    now: OffsetDateTime,
) {
    tx.defer(
        "INSERT INTO subscription (order_key, provider, customer_id, s3uid, plan_id, \
         plan_version, currency, location, state, create_time, installation) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'ordering', $9, $10)",
        args![
            order.key.as_str(),
            provider,
            order.buyer.customer.0,
            order.s3uid.as_str(),
            order.buyer.plan.0,
            order.plan_version,
            order.buyer.currency.as_str(),
            order.buyer.location.as_str(),
            now,
            installation
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

/// Accepts a pending order; its first period starts at `now` and ends at `close_time`.
pub(crate) async fn activate(
    tx: &mut Tx,
    key: &OrderKey,
    (now, close_time): (OffsetDateTime, OffsetDateTime),
) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = 'active', anchor_time = $2, period_number = 1, \
         close_time = $3, limits_version = limits_version + 1 \
         WHERE order_key = $1 AND state = 'pending'",
        args![key.as_str(), now, close_time],
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
    const SQL: &str = "UPDATE subscription SET plan_id = $2, plan_version = $3, \
         plan_changes = plan_changes + 1, limits_version = limits_version + 1 \
         WHERE order_key = $1";
    tx.execute(SQL, args![key.as_str(), plan.0, version]).await.map(|_| ())
}

/// The move that was made under a key: from where, to where.
pub(crate) async fn find_change(
    tx: &mut Tx,
    key: &OrderKey,
    change_key: &str,
) -> Result<Option<PlanChange>, Error> {
    let row: Option<(i64, i64, i64, i64, OffsetDateTime)> = tx
        .fetch_optional(
            "SELECT from_plan_id, from_version, to_plan_id, to_version, time FROM plan_change \
             WHERE order_key = $1 AND change_key = $2",
            args![key.as_str(), change_key],
        )
        .await?;
    let read = |(from, from_version, to, to_version, time)| {
        Ok(PlanChange {
            from: (PlanId(from), small(from_version)?),
            to: (PlanId(to), small(to_version)?),
            time,
        })
    };
    row.map(read).transpose()
}

/// Notes a move under a key.
pub(crate) fn insert_change(tx: &mut Tx, key: &OrderKey, change_key: &str, change: &PlanChange) {
    let PlanChange { from, to, time } = change;
    tx.defer(
        "INSERT INTO plan_change (order_key, change_key, from_plan_id, from_version, \
         to_plan_id, to_version, time) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![key.as_str(), change_key, from.0.0, from.1, to.0.0, to.1, *time],
    );
}

/// Forgets a move that was taken back.
pub(crate) fn delete_change(tx: &mut Tx, key: &OrderKey, change_key: &str) {
    const SQL: &str = "DELETE FROM plan_change WHERE order_key = $1 AND change_key = $2";
    tx.defer(SQL, args![key.as_str(), change_key]);
}

/// Ends a subscription at `end_time`, unless it has ended or was undone; what is left of its open
/// period is due at `close_time`.
pub(crate) async fn terminate(
    tx: &mut Tx,
    key: &OrderKey,
    (end_time, close_time): (OffsetDateTime, Option<OffsetDateTime>),
) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = 'terminated', cancel_time = NULL, end_time = $2, \
         close_time = $3, limits_version = limits_version + 1 \
         WHERE order_key = $1 AND state NOT IN ('cancelled', 'terminated')",
        args![key.as_str(), end_time, close_time],
    )
    .await?;
    Ok(())
}

/// Notes that an order was undone, which takes even one that has ended. Nothing of it is due.
pub(crate) async fn cancel(tx: &mut Tx, key: &OrderKey, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET state = 'cancelled', cancel_time = NULL, \
         end_time = COALESCE(end_time, $2), period_number = NULL, close_time = NULL, \
         limits_version = limits_version + 1 \
         WHERE order_key = $1 AND state <> 'cancelled'",
        args![key.as_str(), now],
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

/// Returns subscriptions whose scheduled end or plan the provider was not told of, by key, those
/// after one.
pub(crate) async fn list_unmirrored(
    mut from: impl Query,
    provider: &str,
    (after, max): (&str, i64),
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.provider = $1 AND (s.schedule_version > s.mirrored_version \
         OR s.plan_changes > s.plan_changes_told) \
         AND s.order_key > $2 ORDER BY s.order_key LIMIT $3"
    );
    from.fetch_all(sql, args![provider, after, max])
        .await?
        .into_iter()
        .map(subscription_of)
        .collect()
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

/// Notes that the provider was told of so many changes of the plan.
pub(crate) async fn set_plan_told(tx: &mut Tx, key: &OrderKey, changes: i64) -> Result<(), Error> {
    tx.execute(
        "UPDATE subscription SET plan_changes_told = $2 \
         WHERE order_key = $1 AND plan_changes_told < $2",
        args![key.as_str(), changes],
    )
    .await?;
    Ok(())
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

pub(super) fn state(text: &str) -> Result<State, Error> {
    let known = State::ALL.into_iter().find(|state| state.text() == text);
    known.ok_or_else(|| damaged(format!("{text:?} is no state")))
}

pub(super) fn price(nanos: i64, code: &str) -> Result<Money, Error> {
    Ok(Money::from_nanos(from_nanos(nanos).nanos(), currency(code)?))
}

pub(crate) fn subscription_of(row: Row) -> Result<Subscription, Error> {
    let placed = match (row.order_id, row.invoice_id, row.service_id) {
        (Some(order_id), Some(invoice_id), Some(service_id)) => {
            Some(PlacedOrder { order_id, invoice_id, service_id })
        }
        _ => None,
    };
    Ok(Subscription {
        key: OrderKey::parse(&row.order_key).map_err(damaged)?,
        provider: row.provider,
        installation: row.installation,
        customer: CustomerId(row.customer_id),
        s3uid: S3uid::parse(&row.s3uid).map_err(damaged)?,
        plan: PlanId(row.plan_id),
        plan_version: small(row.plan_version)?,
        title: row.title,
        location: row.location,
        state: state(&row.state)?,
        placed,
        period: period(&row.period)?,
        period_price: price(row.period_nanos, &row.currency)?,
        base_price: from_nanos(row.base_price_nanos),
        anchor_time: row.anchor_time,
        end_time: row.end_time,
        cancel_time: row.cancel_time,
        schedule_version: row.schedule_version,
        is_mirrored: row.mirrored_version >= row.schedule_version,
        plan_changes: row.plan_changes,
        is_plan_told: row.plan_changes_told >= row.plan_changes,
        period_number: row.period_number,
        close_time: row.close_time,
        create_time: row.create_time,
    })
}
