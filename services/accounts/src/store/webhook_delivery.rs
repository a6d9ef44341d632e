//! Deliveries of webhooks.

use std::collections::BTreeMap;

use stowage_db::{Args, Error, Query, Tx, args};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::webhook::{Delivery, DeliveryFilter, DeliveryState};

/// The columns of [`Row`].
const COLUMNS: &str = "delivery_id, webhook, event_id, event_type, subject, body, state, attempts, \
    last_status, last_error, create_time, next_attempt_time, give_up_time, last_attempt_time, \
    end_time";

#[derive(sqlx::FromRow)]
struct Row {
    delivery_id: Uuid,
    webhook: String,
    event_id: Uuid,
    event_type: String,
    subject: String,
    body: String,
    state: String,
    attempts: i64,
    last_status: i64,
    last_error: String,
    create_time: OffsetDateTime,
    next_attempt_time: OffsetDateTime,
    give_up_time: OffsetDateTime,
    last_attempt_time: Option<OffsetDateTime>,
    end_time: Option<OffsetDateTime>,
}

impl Row {
    fn read(self) -> Result<Delivery, Error> {
        let damaged = |what: &str| Error::Other { source: format!("delivery: {what}").into() };
        let state = DeliveryState::ALL.into_iter().find(|state| state.text() == self.state);
        Ok(Delivery {
            id: self.delivery_id,
            webhook: self.webhook,
            event_id: self.event_id,
            event_type: self.event_type,
            subject: self.subject,
            body: self.body,
            state: state.ok_or_else(|| damaged("state"))?,
            attempts: i32::try_from(self.attempts).map_err(|_| damaged("attempts"))?,
            last_status: i32::try_from(self.last_status).map_err(|_| damaged("last_status"))?,
            last_error: self.last_error,
            create_time: self.create_time,
            next_attempt_time: self.next_attempt_time,
            give_up_time: self.give_up_time,
            last_attempt_time: self.last_attempt_time,
            end_time: self.end_time,
        })
    }
}

pub(crate) async fn insert(tx: &mut Tx, delivery: &Delivery) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO webhook_delivery (delivery_id, webhook, event_id, event_type, \
        subject, body, state, create_time, next_attempt_time, give_up_time) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let args = args![
        delivery.id,
        &delivery.webhook,
        delivery.event_id,
        &delivery.event_type,
        &delivery.subject,
        &delivery.body,
        delivery.state.text(),
        delivery.create_time,
        delivery.next_attempt_time,
        delivery.give_up_time,
    ];
    tx.execute(SQL, args).await.map(|_| ())
}

pub(crate) async fn find(mut from: impl Query, id: Uuid) -> Result<Option<Delivery>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM webhook_delivery WHERE delivery_id = $1");
    let rows: Vec<Row> = from.fetch_all_built(sql, args![id]).await?;
    rows.into_iter().next().map(Row::read).transpose()
}

/// Deliveries, newest first.
pub(crate) async fn list(
    mut from: impl Query,
    filter: &DeliveryFilter,
    max: i64,
) -> Result<Vec<Delivery>, Error> {
    let mut args = Args::new();
    let mut wanted = Vec::new();
    if let Some(webhook) = &filter.webhook {
        wanted.push(format!("webhook = ${}", args.push(webhook.as_str())));
    }
    if let Some(state) = filter.state {
        wanted.push(format!("state = ${}", args.push(state.text())));
    }
    if let Some(before) = filter.before {
        wanted.push(format!("delivery_id < ${}", args.push(before)));
    }
    let wanted = if wanted.is_empty() { "true".to_owned() } else { wanted.join(" AND ") };
    let limit = args.push(max);
    let sql = format!(
        "SELECT {COLUMNS} FROM webhook_delivery WHERE {wanted} \
         ORDER BY delivery_id DESC LIMIT ${limit}"
    );
    let rows: Vec<Row> = from.fetch_all_built(sql, args).await?;
    rows.into_iter().map(Row::read).collect()
}

/// What is due to a receiver, the one that waits longest first.
pub(crate) async fn list_due(
    mut from: impl Query,
    webhook: &str,
    (now, max): (OffsetDateTime, i64),
) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM webhook_delivery WHERE webhook = $1 AND state = 'waiting' \
         AND next_attempt_time <= $2 ORDER BY next_attempt_time, delivery_id LIMIT $3"
    );
    let rows: Vec<Row> = from.fetch_all_built(sql, args![webhook, now, max]).await?;
    rows.into_iter().map(Row::read).collect()
}

/// How many deliveries each receiver has in each state.
pub(crate) async fn count(mut from: impl Query) -> Result<BTreeMap<(String, String), i64>, Error> {
    const SQL: &str = "SELECT webhook, state, count(*) FROM webhook_delivery \
        GROUP BY webhook, state";
    let rows: Vec<(String, String, i64)> = from.fetch_all(SQL, args![]).await?;
    Ok(rows.into_iter().map(|(webhook, state, count)| ((webhook, state), count)).collect())
}

/// Notes what an attempt came to, unless the delivery is sent anew meanwhile. The moment until
/// which it is tried tells.
pub(crate) async fn note(tx: &mut Tx, noted: &Delivery) -> Result<(), Error> {
    const SQL: &str = "UPDATE webhook_delivery SET state = $2, attempts = $3, last_status = $4, \
        last_error = $5, next_attempt_time = $6, last_attempt_time = $7, end_time = $8 \
        WHERE delivery_id = $1 AND give_up_time = $9 AND state = 'waiting'";
    let args = args![
        noted.id,
        noted.state.text(),
        noted.attempts,
        noted.last_status,
        &noted.last_error,
        noted.next_attempt_time,
        noted.last_attempt_time,
        noted.end_time,
        noted.give_up_time,
    ];
    tx.execute(SQL, args).await.map(|_| ())
}

/// Has a delivery sent anew, from one moment until another.
pub(crate) async fn renew(
    tx: &mut Tx,
    id: Uuid,
    (from, until): (OffsetDateTime, OffsetDateTime),
) -> Result<(), Error> {
    const SQL: &str = "UPDATE webhook_delivery SET state = 'waiting', next_attempt_time = $2, \
        give_up_time = $3, end_time = NULL WHERE delivery_id = $1";
    tx.execute(SQL, args![id, from, until]).await.map(|_| ())
}

/// Ends what waits for receivers that are not configured any more.
pub(crate) async fn fail_others(
    tx: &mut Tx,
    names: &[&str],
    now: OffsetDateTime,
) -> Result<(), Error> {
    let mut args = args![now];
    let others = match names {
        [] => "true".to_owned(),
        names => format!("webhook NOT IN ({})", args.push_all(names.iter().copied())),
    };
    let sql = format!(
        "UPDATE webhook_delivery SET state = 'failed', end_time = $1, \
         last_error = 'the webhook is not configured any more' \
         WHERE state = 'waiting' AND {others}"
    );
    tx.execute_built(sql, args).await.map(|_| ())
}

/// Forgets some that ended before a moment.
pub(crate) async fn forget(tx: &mut Tx, before: OffsetDateTime, max: i64) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM webhook_delivery WHERE delivery_id IN (\
        SELECT delivery_id FROM webhook_delivery WHERE state <> 'waiting' AND end_time < $1 \
        ORDER BY end_time LIMIT $2)";
    tx.execute(SQL, args![before, max]).await.map(|_| ())
}
