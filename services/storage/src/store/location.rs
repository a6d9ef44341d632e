//! Locations.

use sqlx::types::Json;
use stowage_db::{Db, Error, Query, Tx, args};
use time::OffsetDateTime;

use crate::config::LocationState;
use crate::domain::location::Location;

#[derive(sqlx::FromRow)]
struct Row {
    code: String,
    engine: String,
    endpoint: String,
    region: String,
    storage_types: Json<Vec<String>>,
    state: String,
}

impl From<Row> for Location {
    fn from(row: Row) -> Self {
        Self {
            code: row.code,
            engine: row.engine,
            endpoint: row.endpoint,
            region: row.region,
            storage_types: row.storage_types.0,
            state: if row.state == "OPEN" { LocationState::Open } else { LocationState::Draining },
        }
    }
}

fn state_text(state: LocationState) -> &'static str {
    match state {
        LocationState::Open => "OPEN",
        LocationState::Draining => "DRAINING",
    }
}

/// Writes a location as it is configured now, and makes sure that it has a cursor.
pub(crate) async fn upsert(
    tx: &mut Tx,
    location: &Location,
    now: OffsetDateTime,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO location (code, engine, endpoint, region, storage_types, state, update_time) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (code) DO UPDATE SET engine = $2, endpoint = $3, region = $4, \
         storage_types = $5, state = $6, update_time = $7",
        args![
            &location.code,
            &location.engine,
            &location.endpoint,
            &location.region,
            serde_json::Value::from(location.storage_types.clone()),
            state_text(location.state),
            now,
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO usage_cursor (location, cursor, update_time) VALUES ($1, '', $2) \
         ON CONFLICT (location) DO NOTHING",
        args![&location.code, now],
    )
    .await?;
    Ok(())
}

/// Closes every location for new accounts; those configured are opened again in the same
/// transaction.
pub(crate) async fn close_all(tx: &mut Tx, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "UPDATE location SET state = 'DRAINING', update_time = $1 WHERE state = 'OPEN'",
        args![now],
    )
    .await?;
    Ok(())
}

pub(crate) async fn find(mut from: impl Query, code: &str) -> Result<Option<Location>, Error> {
    let row: Option<Row> = from
        .fetch_optional(
            "SELECT code, engine, endpoint, region, storage_types, state FROM location \
             WHERE code = $1",
            args![code],
        )
        .await?;
    Ok(row.map(Location::from))
}

/// Locations by code, those after `after`; with `only_open` those that take orders.
pub(crate) async fn list(
    db: &Db,
    after: &str,
    only_open: bool,
    rows_max: i64,
) -> Result<Vec<Location>, Error> {
    let rows: Vec<Row> = db
        .fetch_all(
            "SELECT code, engine, endpoint, region, storage_types, state FROM location \
             WHERE code > $1 AND (state = 'OPEN' OR $2 = false) ORDER BY code LIMIT $3",
            args![after, only_open, rows_max],
        )
        .await?;
    Ok(rows.into_iter().map(Location::from).collect())
}
