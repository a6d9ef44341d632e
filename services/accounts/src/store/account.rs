//! S3 accounts.

use stowage_db::{Args, Error, Query, Tx, args};
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;
use uuid::Uuid;

use super::customer::read_currency;
use crate::domain::account::Account;
use crate::domain::cap::{Cap, Capped};
use crate::domain::change_saga::Shape;
use crate::domain::dunning::{Dunned, Stage};
use crate::domain::life::{Hold, State};
use crate::domain::order_saga::OrderState;

/// The beginning of every query for accounts, with the rest after it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.s3uid, a.account_id, a.customer_id, c.email, c.currency, a.plan_id, ",
            "a.plan_version, a.location, a.storage_type, a.state, a.endpoint, a.quota_bytes, ",
            "a.bucket_max, a.gb_bytes, a.service_id, a.order_id, a.invoice_id, a.hold, ",
            "a.billing, a.create_time, a.cancel_time, a.order_saga, a.deletion_saga, ",
            "a.delete_time, a.change_saga, a.move_id, a.move_to, a.frozen, a.read_only, ",
            "a.unpaid_end_time, a.dunning_stage, a.dunning_sequence, a.key_max, ",
            "a.cap, a.cap_sequence ",
            "FROM account a JOIN customer c ON c.customer_id = a.customer_id ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    s3uid: String,
    account_id: i64,
    customer_id: i64,
    email: String,
    currency: String,
    plan_id: i64,
    plan_version: i64,
    location: String,
    storage_type: String,
    state: String,
    endpoint: String,
    quota_bytes: i64,
    bucket_max: i64,
    gb_bytes: i64,
    service_id: i64,
    order_id: i64,
    invoice_id: i64,
    billing: String,
    create_time: OffsetDateTime,
    cancel_time: Option<OffsetDateTime>,
    order_saga: Option<Uuid>,
    deletion_saga: Option<Uuid>,
    hold: String,
    delete_time: Option<OffsetDateTime>,
    change_saga: Option<Uuid>,
    move_id: Option<Uuid>,
    move_to: Option<String>,
    frozen: bool,
    read_only: bool,
    unpaid_end_time: Option<OffsetDateTime>,
    dunning_stage: String,
    dunning_sequence: i64,
    key_max: i64,
    cap: String,
    cap_sequence: i64,
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let damaged = |what: &str| Error::Other { source: format!("account: {what}").into() };
        let hold = Hold::parse(&row.hold, row.read_only).ok_or_else(|| damaged("hold"))?;
        let cap = Cap::parse(&row.cap).ok_or_else(|| damaged("cap"))?;
        let stage = Stage::parse(&row.dunning_stage).ok_or_else(|| damaged("stage"))?;
        Ok(Self {
            s3uid: S3uid::parse(&row.s3uid).map_err(|_| damaged("s3uid"))?,
            account_id: row.account_id,
            customer: CustomerId(row.customer_id),
            email: row.email,
            currency: read_currency(&row.currency)?,
            plan: PlanId(row.plan_id),
            plan_version: i32::try_from(row.plan_version).map_err(|_| damaged("version"))?,
            location: row.location,
            storage_type: row.storage_type,
            hold,
            state: State::parse(&row.state, hold).ok_or_else(|| damaged("state"))?,
            endpoint: row.endpoint,
            quota_bytes: row.quota_bytes,
            bucket_max: i32::try_from(row.bucket_max).map_err(|_| damaged("bucket_max"))?,
            key_max: i32::try_from(row.key_max).map_err(|_| damaged("key_max"))?,
            gb_bytes: row.gb_bytes,
            service_id: row.service_id,
            order_id: row.order_id,
            invoice_id: row.invoice_id,
            billing: row.billing,
            create_time: row.create_time,
            cancel_time: row.cancel_time,
            order_saga: row.order_saga,
            deletion_saga: row.deletion_saga,
            delete_time: row.delete_time,
            change_saga: row.change_saga,
            move_id: row.move_id,
            move_to: row.move_to,
            is_frozen: row.frozen,
            unpaid_end_time: row.unpaid_end_time,
            dunned: Dunned { stage, sequence: row.dunning_sequence },
            capped: Capped { cap, sequence: row.cap_sequence },
        })
    }
}

fn read(rows: Vec<Row>) -> Result<Vec<Account>, Error> {
    rows.into_iter().map(Account::try_from).collect()
}

/// Writes an ordered account, `PENDING`. A clash of its keys shows with the next statement.
pub(crate) fn insert(tx: &mut Tx, state: &OrderState, account_id: i64, now: OffsetDateTime) {
    const SQL: &str = "INSERT INTO account (s3uid, account_id, customer_id, plan_id, \
        plan_version, location, storage_type, state, endpoint, quota_bytes, bucket_max, gb_bytes, \
        bucket, service_id, order_id, invoice_id, billing, create_time, guard_key, key_max, \
        currency) VALUES ($1, $2, $3, $4, $5, $6, $7, 'PENDING', $8, $9, $10, $11, $12, 0, 0, 0, \
        $13, $14, $15, $16, $17)";
    let args = args![
        state.s3uid.as_str(),
        account_id,
        state.customer.0,
        state.plan.0,
        state.plan_version,
        &state.location,
        &state.storage_type,
        &state.endpoint,
        state.quota_bytes,
        state.bucket_max,
        state.gb_bytes,
        &state.bucket,
        &state.billing,
        now,
        state.guard_key.as_deref(),
        state.key_max,
        state.currency.as_str(),
    ];
    tx.defer(SQL, args);
}

/// Notes who became the account. A clash with another account shows with the next statement.
pub(crate) fn set_adopted_from(tx: &mut Tx, s3uid: &S3uid, from: &str) {
    const SQL: &str = "UPDATE account SET adopted_from = $2 WHERE s3uid = $1";
    tx.defer(SQL, args![s3uid.as_str(), from]);
}

/// The account that somebody has become.
pub(crate) async fn find_adopted(
    mut from: impl Query,
    adopted_from: &str,
) -> Result<Option<Account>, Error> {
    const SQL: &str = select!("WHERE a.adopted_from = $1 AND a.state NOT IN ('FAILED', 'DELETED')");
    from.fetch_optional::<Row>(SQL, args![adopted_from]).await?.map(Account::try_from).transpose()
}

/// Writes the bounds of an account that is not active yet, as they were found.
pub(crate) fn set_bounds(tx: &mut Tx, s3uid: &S3uid, (quota_bytes, bucket_max): (i64, i32)) {
    const SQL: &str = "UPDATE account SET quota_bytes = $2, bucket_max = $3 WHERE s3uid = $1";
    tx.defer(SQL, args![s3uid.as_str(), quota_bytes, bucket_max]);
}

/// Notes which saga an order runs as.
pub(crate) fn set_order_saga(tx: &mut Tx, s3uid: &S3uid, saga: Uuid) {
    const SQL: &str = "UPDATE account SET order_saga = $2 WHERE s3uid = $1";
    tx.defer(SQL, args![s3uid.as_str(), saga]);
}

/// Notes which saga a deletion runs as.
pub(crate) async fn set_deletion_saga(tx: &mut Tx, s3uid: &S3uid, saga: Uuid) -> Result<(), Error> {
    const SQL: &str = "UPDATE account SET deletion_saga = $2 WHERE s3uid = $1";
    tx.execute(SQL, args![s3uid.as_str(), saga]).await.map(|_| ())
}

/// `PENDING` to `ACTIVE`, with what the order came to; `false` if it is not pending.
pub(crate) async fn activate(
    tx: &mut Tx,
    state: &OrderState,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET state = 'ACTIVE', active_time = $2, service_id = $3, \
        order_id = $4, invoice_id = $5, billing = $6, endpoint = $7 \
        WHERE s3uid = $1 AND state = 'PENDING'";
    let args = args![
        state.s3uid.as_str(),
        now,
        state.service_id,
        state.order_id,
        state.invoice_id,
        &state.billing,
        &state.endpoint,
    ];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// Moves an account on; `false` if it is not in state `from`.
pub(crate) async fn set_state(
    tx: &mut Tx,
    s3uid: &S3uid,
    from: State,
    to: State,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET state = $3, guard_key = NULL \
        WHERE s3uid = $1 AND state = $2";
    Ok(tx.execute(SQL, args![s3uid.as_str(), from.stored(), to.stored()]).await? == 1)
}

/// Notes the change of an account that begins; `false`: another one is under way, or the account
/// is not active.
pub(crate) async fn begin_change(tx: &mut Tx, s3uid: &S3uid, saga: Uuid) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET change_saga = $2 \
        WHERE s3uid = $1 AND state = 'ACTIVE' AND change_saga IS NULL";
    Ok(tx.execute(SQL, args![s3uid.as_str(), saga]).await? == 1)
}

/// Notes that no change is under way.
pub(crate) async fn end_change(tx: &mut Tx, s3uid: &S3uid) -> Result<(), Error> {
    const SQL: &str = "UPDATE account SET change_saga = NULL WHERE s3uid = $1";
    tx.execute(SQL, args![s3uid.as_str()]).await.map(|_| ())
}

/// Writes what a change made of an account, and ends it; `false` if the account is not active.
pub(crate) async fn change(
    tx: &mut Tx,
    s3uid: &S3uid,
    shape: &Shape,
    delete_time: Option<OffsetDateTime>,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET plan_id = $2, plan_version = $3, quota_bytes = $4, \
        bucket_max = $5, gb_bytes = $6, hold = $7, \
        delete_time = COALESCE($8, delete_time), change_saga = NULL, \
        guard_key = NULL, read_only = $9, unpaid_end_time = $10, dunning_stage = $11, \
        dunning_sequence = CASE WHEN dunning_sequence < $12 THEN $12 ELSE dunning_sequence END, \
        key_max = $13, cap = $14, \
        cap_sequence = CASE WHEN cap_sequence < $15 THEN $15 ELSE cap_sequence END \
        WHERE s3uid = $1 AND state = 'ACTIVE'";
    let (hold, is_read_only) = shape.hold.stored();
    let args = args![
        s3uid.as_str(),
        shape.plan.0,
        shape.plan_version,
        shape.quota_bytes,
        shape.bucket_max,
        shape.gb_bytes,
        hold,
        delete_time,
        is_read_only,
        shape.unpaid_end_time,
        shape.dunned.stage.text(),
        shape.dunned.sequence,
        shape.key_max,
        Cap::text(shape.capped.cap),
        shape.capped.sequence,
    ];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// Notes what billing said of an account that is held by it no more and no less than before;
/// `false`: a change of it is under way, or a later word was noted.
pub(crate) async fn set_dunned(
    tx: &mut Tx,
    s3uid: &S3uid,
    (before, after): (Dunned, Dunned),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET dunning_stage = $2, dunning_sequence = $3 \
        WHERE s3uid = $1 AND dunning_sequence = $4 AND state = 'ACTIVE' AND change_saga IS NULL";
    let args = args![s3uid.as_str(), after.stage.text(), after.sequence, before.sequence];
    Ok(tx.execute(SQL, args).await? == 1)
}

/// `ACTIVE`, held or not, to `DELETING`; `false` if it is not active, or a change is under way.
pub(crate) async fn begin_deletion(tx: &mut Tx, s3uid: &S3uid) -> Result<bool, Error> {
    const SQL: &str = "UPDATE account SET state = 'DELETING', guard_key = NULL \
        WHERE s3uid = $1 AND state = 'ACTIVE' AND change_saga IS NULL AND move_to IS NULL";
    Ok(tx.execute(SQL, args![s3uid.as_str()]).await? == 1)
}

/// Accounts of a location in whatever state, by s3uid, those after one and up to another.
pub(crate) async fn list_range(
    mut from: impl Query,
    location: &str,
    (after, until): (&str, Option<&str>),
    max: i64,
) -> Result<Vec<Account>, Error> {
    const SQL: &str = select!(
        "WHERE a.location = $1 AND a.s3uid > $2 AND ($3 OR a.s3uid <= $4) \
         ORDER BY a.s3uid LIMIT $5"
    );
    let args = args![location, after, until.is_none(), until.unwrap_or_default(), max];
    read(from.fetch_all(SQL, args).await?)
}

/// Accounts whose subscription has ended, and whose data has been kept long enough.
pub(crate) async fn list_kept(
    mut from: impl Query,
    now: OffsetDateTime,
    max: i64,
) -> Result<Vec<Account>, Error> {
    const SQL: &str = select!(
        "WHERE a.state = 'ACTIVE' AND a.hold = 'ENDED' AND a.delete_time <= $1 \
         ORDER BY a.delete_time LIMIT $2"
    );
    read(from.fetch_all(SQL, args![now, max]).await?)
}

/// Notes when a scheduled cancellation falls due; `false` if that is noted already, or the account
/// is not active.
pub(crate) async fn set_cancel_time(
    tx: &mut Tx,
    s3uid: &S3uid,
    time: Option<OffsetDateTime>,
) -> Result<bool, Error> {
    const SET: &str = "UPDATE account SET cancel_time = $2 WHERE s3uid = $1 \
        AND state = 'ACTIVE' AND (cancel_time IS NULL OR cancel_time <> $2)";
    const CLEAR: &str = "UPDATE account SET cancel_time = NULL WHERE s3uid = $1 \
        AND state = 'ACTIVE' AND cancel_time IS NOT NULL";
    let changed = match time {
        Some(time) => tx.execute(SET, args![s3uid.as_str(), time]).await?,
        None => tx.execute(CLEAR, args![s3uid.as_str()]).await?,
    };
    Ok(changed == 1)
}

/// Frees a guard whose order ended before a time.
pub(crate) fn free_guard(tx: &mut Tx, guard_key: &str, before: OffsetDateTime) {
    const SQL: &str = "UPDATE account SET guard_key = NULL WHERE guard_key = $1 \
        AND state <> 'PENDING' AND (active_time IS NULL OR active_time < $2)";
    tx.defer(SQL, args![guard_key, before]);
}

/// An account, if it is the owner's; whosever it is, where none is given. Nobody's number is 0, and
/// is given as such: he owns nothing.
pub(crate) async fn find(
    mut from: impl Query,
    s3uid: &S3uid,
    owner: Option<CustomerId>,
) -> Result<Option<Account>, Error> {
    const SQL: &str = select!("WHERE a.s3uid = $1 AND ($2 IS NULL OR a.customer_id = $2)");
    let args = args![s3uid.as_str(), owner.map(|id| id.0)];
    from.fetch_optional::<Row>(SQL, args).await?.map(Account::try_from).transpose()
}

/// As [`find`], by the legacy integer.
pub(crate) async fn find_by_number(
    mut from: impl Query,
    account_id: i64,
    owner: Option<CustomerId>,
) -> Result<Option<Account>, Error> {
    const SQL: &str = select!("WHERE a.account_id = $1 AND ($2 IS NULL OR a.customer_id = $2)");
    let args = args![account_id, owner.map(|id| id.0)];
    from.fetch_optional::<Row>(SQL, args).await?.map(Account::try_from).transpose()
}

/// The newest order of a customer for a plan and bucket that is open, or ended well since a time.
pub(crate) async fn find_order(
    mut from: impl Query,
    (customer, plan): (CustomerId, PlanId),
    bucket: &str,
    since: OffsetDateTime,
) -> Result<Option<Account>, Error> {
    const SQL: &str = select!(
        "WHERE a.customer_id = $1 AND a.plan_id = $2 AND a.bucket = $3 AND (a.state = 'PENDING' \
         OR (a.state = 'ACTIVE' AND a.active_time >= $4)) ORDER BY a.account_id DESC LIMIT 1"
    );
    let args = args![customer.0, plan.0, bucket, since];
    from.fetch_optional::<Row>(SQL, args).await?.map(Account::try_from).transpose()
}

/// Accounts that are neither deleted nor failed, by integer id.
pub(crate) async fn list(
    mut from: impl Query,
    owner: Option<CustomerId>,
    after: i64,
    max: i64,
) -> Result<Vec<Account>, Error> {
    const ALL: &str = select!(
        "WHERE a.account_id > $1 AND a.state NOT IN ('FAILED', 'DELETED') \
         ORDER BY a.account_id LIMIT $2"
    );
    const OWN: &str = select!(
        "WHERE a.account_id > $1 AND a.state NOT IN ('FAILED', 'DELETED') \
         AND a.customer_id = $3 ORDER BY a.account_id LIMIT $2"
    );
    match owner {
        None => read(from.fetch_all(ALL, args![after, max]).await?),
        Some(owner) => read(from.fetch_all(OWN, args![after, max, owner.0]).await?),
    }
}

/// As [`list`], of these accounts only.
pub(crate) async fn list_of(
    mut from: impl Query,
    owner: Option<CustomerId>,
    s3uids: &[S3uid],
    (after, max): (i64, i64),
) -> Result<Vec<Account>, Error> {
    let mut args = Args::new();
    let wanted = args.push_all(s3uids.iter().map(S3uid::as_str));
    let found = format!(
        "{select}WHERE a.s3uid IN ({wanted}) AND a.state NOT IN ('FAILED', 'DELETED') \
         AND (${owner} IS NULL OR a.customer_id = ${owner}) AND a.account_id > ${after}",
        select = select!(""),
        owner = args.push(owner.map(|id| id.0)),
        after = args.push(after),
    );
    let sql = first_found(&found, args.push(max));
    read(from.fetch_all_built(sql, args).await?)
}

/// The first of the accounts that a query finds by their names. A planner that sees the limit looks
/// for them among all, in the order of their ids.
pub(super) fn first_found(found: &str, max: usize) -> String {
    format!(
        "WITH found AS MATERIALIZED ({found}) SELECT * FROM found ORDER BY account_id LIMIT ${max}"
    )
}

/// These accounts, in whatever state.
pub(crate) async fn list_whatever(
    mut from: impl Query,
    s3uids: &[&str],
) -> Result<Vec<Account>, Error> {
    if s3uids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    let wanted = args.push_all(s3uids.iter().copied());
    let sql = format!("{}WHERE a.s3uid IN ({wanted})", select!(""));
    read(from.fetch_all_built(sql, args).await?)
}

/// Accounts that are to end: their cancellation is due, or an invoice was unpaid to the last.
pub(crate) async fn list_due(
    mut from: impl Query,
    now: OffsetDateTime,
    max: i64,
) -> Result<Vec<Account>, Error> {
    const SQL: &str = select!(
        "WHERE a.state = 'ACTIVE' AND (a.cancel_time <= $1 OR a.unpaid_end_time <= $1) \
         AND a.hold <> 'ENDED' AND a.change_saga IS NULL \
         ORDER BY COALESCE(a.cancel_time, a.unpaid_end_time) LIMIT $2"
    );
    read(from.fetch_all(SQL, args![now, max]).await?)
}
