//! Orders.

use std::collections::BTreeSet;

use stowage_db::{Args, Error, Query, Tx, args};
use stowage_provider::{
    ById, NewOrder, OrderKey, OrderRef, PlacedOrder, PlannedEnd, Service, ServiceState,
};
use stowage_types::CustomerId;
use time::OffsetDateTime;

#[derive(sqlx::FromRow)]
struct OrderRow {
    state: String,
    order_id: Option<i64>,
    invoice_id: Option<i64>,
    service_id: Option<i64>,
}

/// What is known of a key: its ids, or that it is spent.
pub(crate) async fn find(
    mut from: impl Query,
    key: &OrderKey,
) -> Result<Option<Result<PlacedOrder, stowage_provider::Error>>, Error> {
    let row: Option<OrderRow> = from
        .fetch_optional(
            "SELECT state, order_id, invoice_id, service_id FROM ledger_order \
             WHERE order_key = $1",
            args![key.as_str()],
        )
        .await?;
    Ok(row.map(|row| match (row.state.as_str(), row.order_id, row.invoice_id, row.service_id) {
        ("undone", ..) => Err(stowage_provider::Error::Undone),
        (_, Some(order_id), Some(invoice_id), Some(service_id)) => {
            Ok(PlacedOrder { order_id, invoice_id, service_id })
        }
        _ => Err(stowage_provider::Error::unavailable("an order of the ledger lacks its ids")),
    }))
}

/// Whose order it is. The order must be there.
pub(crate) async fn customer(tx: &mut Tx, key: &OrderKey) -> Result<i64, Error> {
    let sql = "SELECT customer_id FROM ledger_order WHERE order_key = $1";
    let (customer_id,): (i64,) = tx.fetch_one(sql, args![key.as_str()]).await?;
    Ok(customer_id)
}

/// Which of the orders were placed.
pub(crate) async fn find_placed(
    mut from: impl Query,
    keys: &[&str],
) -> Result<BTreeSet<String>, Error> {
    let mut args = Args::new();
    let places = args.push_all(keys.iter().copied());
    let sql = format!(
        "SELECT order_key FROM ledger_order WHERE order_id IS NOT NULL AND order_key IN ({places})"
    );
    let rows: Vec<(String,)> = from.fetch_all_built(sql, args).await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Stores an order; false if its key is there already.
pub(crate) async fn insert(
    tx: &mut Tx,
    order: &NewOrder,
    placed: PlacedOrder,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO ledger_order (order_key, customer_id, state, order_id, service_id, \
             invoice_id, s3uid, plan_id, plan_version, create_time) \
             VALUES ($1, $2, 'placed', $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (order_key) DO NOTHING",
            args![
                order.key.as_str(),
                order.customer.0,
                placed.order_id,
                placed.service_id,
                placed.invoice_id,
                order.s3uid.as_str(),
                order.plan.0,
                order.plan_version,
                now
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Accepts an order; false if it is not there, or was undone, or has ended.
pub(crate) async fn activate(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE ledger_order SET state = 'active', \
             activate_time = COALESCE(activate_time, $2) \
             WHERE order_key = $1 AND state IN ('placed', 'active')",
            args![key.as_str(), now],
        )
        .await?;
    Ok(rows == 1)
}

/// Spends the key, whether its order came or not.
pub(crate) async fn undo(tx: &mut Tx, order: &OrderRef, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO ledger_order (order_key, customer_id, state, create_time, close_time) \
         VALUES ($1, $2, 'undone', $3, $3) ON CONFLICT (order_key) DO UPDATE SET \
         state = 'undone', close_time = COALESCE(ledger_order.close_time, excluded.close_time)",
        args![order.key.as_str(), order.customer.0, now],
    )
    .await?;
    Ok(())
}

/// Ends an order, unless it has ended or was undone; false if it is not there.
pub(crate) async fn terminate(
    tx: &mut Tx,
    key: &OrderKey,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE ledger_order SET \
             state = CASE WHEN state = 'undone' THEN 'undone' ELSE 'terminated' END, \
             close_time = COALESCE(close_time, $2) WHERE order_key = $1",
            args![key.as_str(), now],
        )
        .await?;
    Ok(rows == 1)
}

/// Notes the planned end; false if the order is not there.
pub(crate) async fn set_end(
    tx: &mut Tx,
    key: &OrderKey,
    end: Option<OffsetDateTime>,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "UPDATE ledger_order SET end_time = $2 WHERE order_key = $1",
            args![key.as_str(), end],
        )
        .await?;
    Ok(rows == 1)
}

#[derive(sqlx::FromRow)]
struct ServiceRow {
    order_key: String,
    customer_id: i64,
    state: String,
    order_id: i64,
    service_id: i64,
    end_time: Option<OffsetDateTime>,
    create_time: OffsetDateTime,
}

impl TryFrom<ServiceRow> for Service {
    type Error = Error;

    fn try_from(row: ServiceRow) -> Result<Self, Error> {
        let damaged = |why: String| Error::Other { source: why.into() };
        let state = match row.state.as_str() {
            "placed" => ServiceState::Pending,
            "active" => ServiceState::Active,
            "terminated" | "undone" => ServiceState::Ended,
            other => return Err(damaged(format!("{other:?} is no state of an order"))),
        };
        let key = OrderKey::parse(&row.order_key).map_err(|bad| damaged(bad.why))?;
        Ok(Self {
            service_id: row.service_id,
            order_id: row.order_id,
            key: Some(key),
            customer: Some(CustomerId(row.customer_id)),
            state,
            // Billing knows what is sold, and at what price: it is told no changes.
            plans: None,
            period_nanos: None,
            end: row.end_time.map_or(PlannedEnd::Never, PlannedEnd::At),
            create_time: row.create_time,
        })
    }
}

/// What there is of an order; nothing of one that was undone before it came.
pub(crate) async fn find_service(
    mut from: impl Query,
    key: &OrderKey,
) -> Result<Option<Service>, Error> {
    let row: Option<ServiceRow> = from
        .fetch_optional(
            "SELECT order_key, customer_id, state, order_id, service_id, end_time, create_time \
             FROM ledger_order WHERE order_key = $1 AND service_id IS NOT NULL",
            args![key.as_str()],
        )
        .await?;
    row.map(Service::try_from).transpose()
}

/// Services by id, those behind one.
pub(crate) async fn list_services(mut from: impl Query, by: ById) -> Result<Vec<Service>, Error> {
    let rows: Vec<ServiceRow> = from
        .fetch_all(
            "SELECT order_key, customer_id, state, order_id, service_id, end_time, create_time \
             FROM ledger_order WHERE service_id > $1 ORDER BY service_id LIMIT $2",
            args![by.after, by.max],
        )
        .await?;
    rows.into_iter().map(Service::try_from).collect()
}
