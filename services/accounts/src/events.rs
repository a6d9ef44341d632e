//! Events: those that accounts sends, and those of others that it takes into history.

use std::sync::Arc;

use async_trait::async_trait;
use prost::Message as _;
use stowage_bus::{BoxError, Handler, Outbox, Refused, first_time};
use stowage_db::{Db, Error, Tx};
use stowage_proto::{accounts, billing, metering, storage};
use stowage_types::{Clock, CustomerId, PlanId, S3uid, from_timestamp, name};

use crate::domain::drift::Drift;
use crate::domain::drift_rule::Row;
use crate::domain::history::{Cause, Entry};
use crate::store;

const ACTIVATED: &str = "stowage.accounts.account.activated.v1";
const DELETED: &str = "stowage.accounts.account.deleted.v1";
const DRIFT_FOUND: &str = "stowage.accounts.drift.found.v1";
const REVOKED: &str = "stowage.accounts.token.revoked.v1";

/// Type of billing's event of a booked payment.
pub(crate) const PAYMENT_RECORDED: &str = "stowage.billing.payment.recorded.v1";
/// Type of billing's event of credit, credit notes and terms of payment.
pub(crate) const STANDING_CHANGED: &str = "stowage.billing.standing.changed.v1";
/// Type of billing's event of a changed plan.
pub(crate) const PLAN_CHANGED: &str = "stowage.billing.plan.changed.v1";
/// Type of storage's event of what a caller has changed.
pub(crate) const CONTENT_CHANGED: &str = "stowage.storage.content.changed.v1";
/// Type of storage's event of what was done to a location.
pub(crate) const LOCATION_CHANGED: &str = "stowage.storage.location.changed.v1";
/// Type of metering's event of facts that were booked whatever their time.
pub(crate) const USAGE_CORRECTED: &str = "stowage.metering.usage.corrected.v1";
/// What storage calls the deletion of a file.
const FILE_DELETED: &str = "file.deleted";
/// Names the consumer of history in the inbox.
pub(crate) const HISTORY_CONSUMER: &str = "accounts.history";

/// Most hashes in one event.
const HASHES_MAX: usize = 1000;

pub(crate) async fn push_activated(
    outbox: &Outbox,
    tx: &mut Tx,
    s3uid: &S3uid,
    (customer, plan): (CustomerId, PlanId),
) -> Result<(), Error> {
    let (customer_id, plan_id) = (customer.0, plan.0);
    let message = accounts::AccountActivated { s3uid: s3uid.to_string(), customer_id, plan_id };
    outbox.push(tx, ACTIVATED, &name::account(s3uid), &message).await
}

pub(crate) async fn push_deleted(
    outbox: &Outbox,
    tx: &mut Tx,
    s3uid: &S3uid,
    customer: CustomerId,
) -> Result<(), Error> {
    let message = accounts::AccountDeleted { s3uid: s3uid.to_string(), customer_id: customer.0 };
    outbox.push(tx, DELETED, &name::account(s3uid), &message).await
}

pub(crate) async fn push_drift_found(
    outbox: &Outbox,
    tx: &mut Tx,
    drift: &Drift,
) -> Result<(), Error> {
    let measure = |row: &Row| accounts::DriftedMeasure {
        measure: accounts::DriftMeasure::from(row.measure).into(),
        engine: row.engine.map(|figure| figure.value),
        meter: row.meter.value,
        billed: row.billed.map(|figure| figure.value),
        difference: row.difference(),
    };
    let message = accounts::DriftFound {
        s3uid: drift.account.s3uid.to_string(),
        customer_id: drift.account.customer.0,
        measures: drift.rows.iter().filter(|row| row.is_drifting).map(measure).collect(),
    };
    outbox.push(tx, DRIFT_FOUND, &name::account(&drift.account.s3uid), &message).await
}

pub(crate) async fn push_tokens_revoked(
    outbox: &Outbox,
    tx: &mut Tx,
    hashes: &[Vec<u8>],
) -> Result<(), Error> {
    for part in hashes.chunks(HASHES_MAX) {
        let message =
            accounts::TokenRevoked { token_hashes: part.iter().map(hex::encode).collect() };
        outbox.push(tx, REVOKED, "tokens", &message).await?;
    }
    Ok(())
}

/// Writes what other roles tell into history: billing's changes of plans and payments,
/// storage's changes of contents and locations, metering's corrections.
pub(crate) struct History {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Handler for History {
    async fn handle(&self, event: &stowage_bus::Event) -> Result<(), BoxError> {
        let entry = match event.kind.as_str() {
            CONTENT_CHANGED => self.of_content(event.data.as_slice()).await?,
            LOCATION_CHANGED => of_location(event.data.as_slice())?,
            USAGE_CORRECTED => of_usage(event.data.as_slice())?,
            PAYMENT_RECORDED => of_payment(event.data.as_slice())?,
            STANDING_CHANGED => of_standing(event.data.as_slice())?,
            _ => of_plan(event.data.as_slice())?,
        };
        let mut tx = self.db.begin().await?;
        if first_time(&mut tx, HISTORY_CONSUMER, event, &*self.clock).await? {
            entry.write(&mut tx, event.time).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

impl History {
    async fn of_content(&self, data: &[u8]) -> Result<Entry, BoxError> {
        let storage::ContentChanged { s3uid, event, actor, bucket, key, request_id } =
            storage::ContentChanged::decode(data)?;
        let s3uid = S3uid::parse(&s3uid).map_err(|fault| Refused { why: fault.to_string() })?;
        // Accounts are never forgotten, only marked as deleted.
        let account = store::account::find(&self.db, &s3uid, None).await?;
        let account =
            account.ok_or_else(|| Refused { why: format!("there is no account {s3uid}") })?;
        let mut what = serde_json::json!({ "bucket": bucket });
        if !key.is_empty() {
            what["key"] = key.into();
        }
        let (old_json, new_json) = match event.ends_with(".deleted") {
            true => (what.to_string(), String::new()),
            false => (String::new(), what.to_string()),
        };
        // What operators do to sagas is not for customers to read.
        let is_operation = event.starts_with("saga.");
        let customer_id = if is_operation { 0 } else { account.customer.0 };
        let plan_id = account.plan.0;
        let s3uid = s3uid.to_string();
        let cause = Cause::told(&actor, &request_id);
        // Who empties a bucket of his would fill page after page of his history.
        let minor = event == FILE_DELETED && cause.actor == name::customer(account.customer);
        Ok(Entry { event, cause, customer_id, plan_id, s3uid, old_json, new_json, minor })
    }
}

fn of_payment(data: &[u8]) -> Result<Entry, BoxError> {
    let recorded = billing::PaymentRecorded::decode(data)?;
    Ok(Entry {
        event: "payment.recorded".to_owned(),
        cause: Cause::told(&recorded.actor, &recorded.request_id),
        customer_id: recorded.customer_id,
        plan_id: 0,
        s3uid: recorded.s3uid,
        old_json: String::new(),
        new_json: recorded.new_json,
        minor: false,
    })
}

fn of_standing(data: &[u8]) -> Result<Entry, BoxError> {
    let changed = billing::StandingChanged::decode(data)?;
    Ok(Entry {
        event: changed.event,
        cause: Cause::told(&changed.actor, &changed.request_id),
        customer_id: changed.customer_id,
        s3uid: changed.s3uid,
        new_json: changed.new_json,
        ..Entry::default()
    })
}

fn of_location(data: &[u8]) -> Result<Entry, BoxError> {
    let changed = storage::LocationChanged::decode(data)?;
    Ok(Entry {
        event: changed.event,
        cause: Cause::told(&changed.actor, &changed.request_id),
        old_json: changed.old_json,
        new_json: changed.new_json,
        ..Entry::default()
    })
}

/// Of the installation, whoever's usage it is: facts may be of many accounts.
fn of_usage(data: &[u8]) -> Result<Entry, BoxError> {
    let corrected = metering::UsageCorrected::decode(data)?;
    let time = |wire: Option<prost_types::Timestamp>| {
        wire.and_then(|wire| from_timestamp(&wire).ok()).map(|time| time.to_string())
    };
    let new = serde_json::json!({
        "source": corrected.source,
        "reason": corrected.reason,
        "facts": corrected.fact_count,
        "accounts": corrected.account_count,
        "from": time(corrected.from_time),
        "to": time(corrected.to_time),
    });
    Ok(Entry {
        event: "usage.corrected".to_owned(),
        cause: Cause::told(&corrected.actor, &corrected.request_id),
        s3uid: corrected.s3uid,
        new_json: new.to_string(),
        ..Entry::default()
    })
}

fn of_plan(data: &[u8]) -> Result<Entry, BoxError> {
    let changed = billing::PlanChanged::decode(data)?;
    Ok(Entry {
        event: changed.event,
        cause: Cause::told(&changed.actor, &changed.request_id),
        customer_id: 0,
        plan_id: changed.plan_id,
        s3uid: String::new(),
        old_json: changed.old_json,
        new_json: changed.new_json,
        minor: false,
    })
}
