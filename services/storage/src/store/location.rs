//! Locations.

use std::collections::BTreeMap;

use sqlx::types::Json;
use stowage_db::{Db, Error, Query, Tx, args};
use time::OffsetDateTime;

use crate::config::LocationState;
use crate::domain::location::{Added, Location, Origin};
use crate::domain::location_change::{Occupants, Standing};

macro_rules! columns {
    () => {
        "code, engine, endpoint, region, storage_types, state, drained, origin, issues_keys"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    code: String,
    engine: String,
    endpoint: String,
    region: String,
    storage_types: Json<Vec<String>>,
    state: String,
    drained: bool,
    origin: String,
    issues_keys: bool,
}

#[derive(sqlx::FromRow)]
struct WholeRow {
    #[sqlx(flatten)]
    location: Row,
    settings: Option<Vec<u8>>,
    generation: i64,
    is_removed: bool,
}

impl From<Row> for Location {
    fn from(row: Row) -> Self {
        let is_open = row.state == "OPEN" && !row.drained;
        Self {
            code: row.code,
            engine: row.engine,
            endpoint: row.endpoint,
            region: row.region,
            storage_types: row.storage_types.0,
            state: if is_open { LocationState::Open } else { LocationState::Draining },
            origin: Origin::of(&row.origin),
            issues_keys: row.issues_keys,
        }
    }
}

impl From<WholeRow> for Added {
    fn from(row: WholeRow) -> Self {
        Self {
            location: row.location.into(),
            sealed: row.settings.unwrap_or_default(),
            generation: row.generation,
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
        "INSERT INTO location \
         (code, engine, endpoint, region, storage_types, state, update_time, issues_keys) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (code) DO UPDATE SET engine = $2, endpoint = $3, region = $4, \
         storage_types = $5, state = $6, update_time = $7, issues_keys = $8, \
         origin = 'CONFIGURED', remove_time = NULL, settings = NULL",
        args![
            &location.code,
            &location.engine,
            &location.endpoint,
            &location.region,
            serde_json::Value::from(location.storage_types.clone()),
            state_text(location.state),
            now,
            location.issues_keys,
        ],
    )
    .await?;
    insert_cursor(tx, &location.code, now).await
}

async fn insert_cursor(tx: &mut Tx, code: &str, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO usage_cursor (location, cursor, update_time) VALUES ($1, '', $2) \
         ON CONFLICT (location) DO NOTHING",
        args![code, now],
    )
    .await?;
    Ok(())
}

/// Writes a location that is added; one that was removed comes back as this one.
pub(crate) async fn insert_added(
    tx: &mut Tx,
    location: &Location,
    sealed: &[u8],
    now: OffsetDateTime,
) -> Result<i64, Error> {
    let (generation,): (i64,) = tx
        .fetch_one(
            "INSERT INTO location (code, engine, endpoint, region, storage_types, state, \
             update_time, origin, settings, generation, issues_keys) \
             VALUES ($1, $2, $3, $4, $5, 'OPEN', $6, 'ADDED', $7, 1, $8) \
             ON CONFLICT (code) DO UPDATE SET engine = $2, endpoint = $3, region = $4, \
             storage_types = $5, state = 'OPEN', update_time = $6, origin = 'ADDED', \
             remove_time = NULL, settings = $7, generation = location.generation + 1, \
             issues_keys = $8 RETURNING generation",
            args![
                &location.code,
                &location.engine,
                &location.endpoint,
                &location.region,
                serde_json::Value::from(location.storage_types.clone()),
                now,
                sealed,
                location.issues_keys,
            ],
        )
        .await?;
    insert_cursor(tx, &location.code, now).await?;
    Ok(generation)
}

/// Writes how the engine of an added location is reached from now on.
pub(crate) async fn set_settings(
    tx: &mut Tx,
    code: &str,
    sealed: &[u8],
    now: OffsetDateTime,
) -> Result<i64, Error> {
    let (generation,): (i64,) = tx
        .fetch_one(
            "UPDATE location SET settings = $2, generation = generation + 1, update_time = $3 \
             WHERE code = $1 RETURNING generation",
            args![code, sealed, now],
        )
        .await?;
    Ok(generation)
}

pub(crate) async fn set_drained(
    tx: &mut Tx,
    code: &str,
    is_drained: bool,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let sql = "UPDATE location SET drained = $2, update_time = $3 WHERE code = $1";
    tx.execute(sql, args![code, is_drained, now]).await?;
    Ok(())
}

/// Notes that a location is removed, and forgets how its engine is reached and how far its usage
/// was read: another one may come under its code.
pub(crate) async fn set_removed(tx: &mut Tx, code: &str, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "UPDATE location SET remove_time = $2, update_time = $2, state = 'DRAINING', \
         drained = $3, settings = NULL, generation = generation + 1 WHERE code = $1",
        args![code, now, false],
    )
    .await?;
    tx.execute("DELETE FROM usage_cursor WHERE location = $1", args![code]).await?;
    Ok(())
}

/// Holds the row of a location against every other change of it, and against whoever inserts an
/// account that refers to it; what is known of it then, also if it was removed.
pub(crate) async fn lock(tx: &mut Tx, code: &str) -> Result<Option<Standing>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        ", settings, generation, remove_time IS NOT NULL AS is_removed FROM location \
         WHERE code = $1 FOR UPDATE"
    );
    let row: Option<WholeRow> = tx.fetch_optional(SQL, args![code]).await?;
    Ok(row.map(|row| Standing {
        is_drained: row.location.drained,
        location: row.location.into(),
        sealed: row.settings,
        generation: row.generation,
        is_removed: row.is_removed,
    }))
}

/// Holds the row of a location that takes orders, so that it is neither drained nor removed before
/// the end of the transaction; `false`: it takes none.
pub(crate) async fn hold_open(tx: &mut Tx, code: &str) -> Result<bool, Error> {
    let sql = "UPDATE location SET state = state \
               WHERE code = $1 AND state = 'OPEN' AND NOT drained AND remove_time IS NULL";
    Ok(tx.execute(sql, args![code]).await? == 1)
}

/// What is at a location.
pub(crate) async fn occupants(mut from: impl Query, code: &str) -> Result<Occupants, Error> {
    const COUNTS: &str = "SELECT \
        (SELECT count(*) FROM account WHERE location = $1 AND state <> 'REMOVED'), \
        (SELECT count(*) FROM account_move WHERE (from_location = $1 OR to_location = $1) \
         AND state NOT IN ('CONFIRMED', 'CANCELLED')), \
        (SELECT count(*) FROM bucket_deletion WHERE location = $1 \
         AND (state IN ('RUNNING', 'PAUSED') OR batch_last IS NOT NULL)), \
        (SELECT count(*) FROM bucket_change c JOIN account a ON a.s3uid = c.s3uid \
         WHERE a.location = $1)";
    let counts: (i64, i64, i64, i64) = from.fetch_one(COUNTS, args![code]).await?;
    let (accounts, moves, deletions, changes) = counts;
    const LEFT: &str = "SELECT update_time FROM account WHERE location = $1 AND state = 'REMOVED' \
        UNION ALL SELECT end_time FROM account_move \
        WHERE (from_location = $1 OR to_location = $1) AND end_time IS NOT NULL \
        ORDER BY 1 DESC LIMIT 1";
    let left: Option<(OffsetDateTime,)> = from.fetch_optional(LEFT, args![code]).await?;
    let last_left_time = left.map(|(time,)| time);
    Ok(Occupants { accounts, moves, deletions, changes, last_left_time })
}

/// Closes every location of the configuration for new accounts; those configured are opened again
/// in the same transaction.
pub(crate) async fn close_all(tx: &mut Tx, now: OffsetDateTime) -> Result<(), Error> {
    tx.execute(
        "UPDATE location SET state = 'DRAINING', update_time = $1 \
         WHERE state = 'OPEN' AND origin = 'CONFIGURED'",
        args![now],
    )
    .await?;
    // A version of this program that knew of none has closed them.
    tx.execute(
        "UPDATE location SET state = 'OPEN', update_time = $1 \
         WHERE state <> 'OPEN' AND origin = 'ADDED' AND remove_time IS NULL",
        args![now],
    )
    .await?;
    Ok(())
}

/// A location that was not removed.
pub(crate) async fn find(mut from: impl Query, code: &str) -> Result<Option<Location>, Error> {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM location WHERE code = $1 AND remove_time IS NULL");
    let row: Option<Row> = from.fetch_optional(SQL, args![code]).await?;
    Ok(row.map(Location::from))
}

/// A location that was added, with how its engine is reached.
pub(crate) async fn find_added(mut from: impl Query, code: &str) -> Result<Option<Added>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        ", settings, generation, remove_time IS NOT NULL AS is_removed FROM location \
         WHERE code = $1 AND origin = 'ADDED' AND remove_time IS NULL"
    );
    let row: Option<WholeRow> = from.fetch_optional(SQL, args![code]).await?;
    Ok(row.map(Added::from))
}

/// All locations that were added, by code, with how their engines are reached. There are few:
/// `AddLocation` bounds them.
pub(crate) async fn list_all_added(mut from: impl Query) -> Result<Vec<Added>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        ", settings, generation, remove_time IS NOT NULL AS is_removed FROM location \
         WHERE origin = 'ADDED' AND remove_time IS NULL ORDER BY code"
    );
    let rows: Vec<WholeRow> = from.fetch_all(SQL, args![]).await?;
    Ok(rows.into_iter().map(Added::from).collect())
}

/// Codes of the locations that were added, each with the generation of its settings. There are
/// few: `AddLocation` bounds them.
pub(crate) async fn list_added(mut from: impl Query) -> Result<BTreeMap<String, i64>, Error> {
    let sql =
        "SELECT code, generation FROM location WHERE origin = 'ADDED' AND remove_time IS NULL";
    let rows: Vec<(String, i64)> = from.fetch_all(sql, args![]).await?;
    Ok(rows.into_iter().collect())
}

/// Locations by code, those after `after`; with `only_open` those that take orders.
pub(crate) async fn list(
    db: &Db,
    after: &str,
    only_open: bool,
    rows_max: i64,
) -> Result<Vec<Location>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM location WHERE code > $1 AND remove_time IS NULL \
         AND ((state = 'OPEN' AND NOT drained) OR $2 = false) ORDER BY code LIMIT $3"
    );
    let rows: Vec<Row> = db.fetch_all(SQL, args![after, only_open, rows_max]).await?;
    Ok(rows.into_iter().map(Location::from).collect())
}

/// How many sealed settings begin in which way.
pub(crate) async fn count_sealed(db: &Db) -> Result<Vec<(Vec<u8>, i64)>, Error> {
    const SQL: &str = "SELECT substr(settings, 1, 5), count(*) FROM location \
        WHERE settings IS NOT NULL GROUP BY substr(settings, 1, 5)";
    db.fetch_all(SQL, args![]).await
}

/// Sealed settings that do not begin with `header`, those after a code, in the order of codes.
pub(crate) async fn list_sealed(
    db: &Db,
    header: &[u8],
    after: &str,
    max: u32,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    const SQL: &str = "SELECT code, settings FROM location WHERE code > $1 \
        AND settings IS NOT NULL AND substr(settings, 1, 5) <> $2 ORDER BY code LIMIT $3";
    db.fetch_all(SQL, args![after, header, max]).await
}

/// Replaces sealed settings, if they are still those that were read.
pub(crate) async fn replace_sealed(
    tx: &mut Tx,
    code: &str,
    (old, new): (Vec<u8>, Vec<u8>),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE location SET settings = $1 WHERE code = $2 AND settings = $3";
    Ok(tx.execute(SQL, args![new, code, old]).await? == 1)
}
