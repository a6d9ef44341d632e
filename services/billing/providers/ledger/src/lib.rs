//! The built-in billing provider, `ledger`: orders and the numbers of their first invoices, in
//! billing's own database.
//!
//! Invariants:
//! - its tables are `ledger_*`, written by this crate only; the migrations that make them are in
//!   billing's folder, since a database has one history of migrations;
//! - a state is only left by statements that name it, so that calls which race cannot undo each
//!   other's work; an undone key keeps a row and is refused for ever;
//! - the invoice of an order is a draft: its number and the agreed amount. Nothing is issued,
//!   posted or collected from it by this version, and an undo voids it.
//!
//! Rejected: taking part in billing's own transaction. It would be one commit less, but a trait
//! that only the ledger could fulfil.

#![deny(clippy::float_arithmetic)]

mod store;

use std::sync::Arc;

use async_trait::async_trait;
use stowage_db::{Db, Tx, next_id, next_ids};
use stowage_provider::{Error, NewOrder, OrderRef, PlacedOrder, Provider};
use stowage_types::Clock;
use time::OffsetDateTime;

/// What subscriptions billed by the ledger say in `provider`.
pub const NAME: &str = "ledger";

/// The built-in billing provider.
#[derive(Debug, Clone)]
pub struct Ledger {
    db: Db,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    /// A ledger in `db`, the database of the billing role, with its migrations applied.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }
}

#[async_trait]
impl Provider for Ledger {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        let amount_nanos = amount_column(order)?;
        let mut tx = self.db.begin().await.map_err(away)?;
        if let Some(known) = store::find_order(&mut tx, &order.key).await.map_err(away)? {
            return known;
        }
        let placed = take_ids(&mut tx, amount_nanos > 0).await.map_err(away)?;
        let now = self.clock.now();
        if !store::insert_order(&mut tx, order, placed, now).await.map_err(away)? {
            // A twin was first; the ids taken here are given back with the transaction.
            drop(tx);
            let known = store::find_order(&self.db, &order.key).await.map_err(away)?;
            return known.unwrap_or_else(|| Err(Error::pending("a twin of the order is running")));
        }
        if amount_nanos > 0 {
            let invoice = store::Invoice { id: placed.invoice_id, amount_nanos };
            store::insert_invoice(&mut tx, order, &invoice, now);
        }
        tx.commit().await.map_err(away)?;
        Ok(placed)
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if store::activate(&mut tx, &order.key, self.clock.now()).await.map_err(away)? {
            return tx.commit().await.map_err(away);
        }
        match store::find_order(&mut tx, &order.key).await.map_err(away)? {
            None => Err(Error::NotFound),
            Some(_) => Err(Error::Undone),
        }
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        store::undo(&mut tx, order, self.clock.now()).await.map_err(away)?;
        tx.commit().await.map_err(away)
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if !store::terminate(&mut tx, &order.key, self.clock.now()).await.map_err(away)? {
            return Err(Error::NotFound);
        }
        tx.commit().await.map_err(away)
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        let mut tx = self.db.begin().await.map_err(away)?;
        if !store::set_end(&mut tx, &order.key, end).await.map_err(away)? {
            return Err(Error::NotFound);
        }
        tx.commit().await.map_err(away)
    }
}

/// The ids of a new order, and of its invoice if there is one.
async fn take_ids(tx: &mut Tx, has_invoice: bool) -> Result<PlacedOrder, stowage_db::Error> {
    let [order_id, service_id] = next_ids(tx, ["ledger_order", "ledger_service"]).await?;
    let invoice_id = if has_invoice { next_id(tx, "ledger_invoice").await? } else { 0 };
    Ok(PlacedOrder { order_id, service_id, invoice_id })
}

/// The price as the column holds it, in nano-units.
fn amount_column(order: &NewOrder) -> Result<i64, Error> {
    match i64::try_from(order.period_price.nanos()) {
        Ok(nanos) if nanos >= 0 => Ok(nanos),
        _ => Err(Error::Refused { why: "its price is out of range".to_owned() }),
    }
}

/// A transaction that failed has stored nothing, and says so, unless its commit had no answer.
fn away(error: stowage_db::Error) -> Error {
    match error {
        stowage_db::Error::Unclear { .. } => Error::pending(error),
        _ => Error::unavailable(error),
    }
}

#[cfg(test)]
mod tests;
