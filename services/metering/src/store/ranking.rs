//! The ranking: open meters with their figures in a period of whole days, read as they are.

use std::collections::HashMap;

use stowage_db::{Args, Db, Error, Row, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{meter, month};
use crate::domain::{Dimensions, Meter, Period, Ranked, Ranking, Span, key_of};

#[derive(sqlx::FromRow)]
struct Ranks {
    #[sqlx(flatten)]
    latest: LatestRow,
    traffic_bytes: i64,
    peak_bytes: i64,
}

#[derive(sqlx::FromRow)]
struct LatestRow {
    #[sqlx(flatten)]
    meter: meter::Row,
    stored_bytes: i64,
    as_of_time: Option<OffsetDateTime>,
}

/// What is known of an account whatever the period.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    pub(crate) dimensions: Dimensions,
    pub(crate) stored_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl LatestRow {
    fn read(self) -> Result<Latest, Error> {
        let dimensions = self.meter.read()?.dimensions;
        Ok(Latest { dimensions, stored_bytes: self.stored_bytes, as_of: self.as_of_time })
    }
}

/// Columns of a meter and of its latest figures.
const LATEST: &str = "s3uid, account_id, customer_id, email, plan_id, location, storage_type, \
    billing, gb_bytes, closed_time, stored_bytes, as_of_time";

/// A figure of which there is no part.
const NOTHING: &str = "CAST(0 AS bigint)";

/// Accounts that are looked at: all that the ranking is of, or those of them named here.
pub(crate) type Among<'a> = Option<&'a [S3uid]>;

/// What the database holds now of the accounts that match, in no order; none if they are more than
/// `few`. `span` is the period.
pub(crate) async fn list(
    db: &Db,
    ranking: &Ranking,
    span: &Span,
    (among, few): (Among<'_>, i64),
) -> Result<Vec<Ranked>, Error> {
    let mut args = Args::new();
    let (traffic, peak) = (traffic(span, &mut args), peak(span, &mut args));
    let carried = span.carried_at.map_or(NOTHING.to_owned(), |from| carried(args.push(from)));
    let filter = filter(ranking, among, &mut args);
    // In the text, where a planner sees how few they are, and keeps its plan.
    let more = few.saturating_add(1);
    let sql = format!(
        "WITH few AS MATERIALIZED (SELECT m.* FROM meter m WHERE {filter} LIMIT {more}), \
         figures AS MATERIALIZED (SELECT m.*, {traffic} AS traffic_bytes, \
         {peak} AS days_bytes, {carried} AS carried_bytes, \
         coalesce(a.stored_bytes, 0) AS stored_bytes, a.as_of_time \
         FROM few m LEFT JOIN account a ON a.s3uid = m.s3uid \
         WHERE (SELECT count(*) FROM few) <= {few}) \
         SELECT {LATEST}, traffic_bytes, CASE WHEN days_bytes > carried_bytes THEN days_bytes \
         ELSE carried_bytes END AS peak_bytes FROM figures"
    );
    let rows: Vec<Ranks> = fetch(db, sql, args).await?;
    let read = |row: Ranks| {
        let Latest { dimensions, stored_bytes, as_of } = row.latest.read()?;
        let (traffic_bytes, stored_bytes_peak) = (row.traffic_bytes, row.peak_bytes);
        Ok(Ranked { dimensions, traffic_bytes, stored_bytes_peak, stored_bytes, as_of })
    };
    rows.into_iter().map(read).collect()
}

/// Bytes that moved in the months and days of a period.
fn traffic(span: &Span, args: &mut Args) -> String {
    let of_months = "SELECT sum(r.traffic_bytes) FROM account_month r";
    let of_days = "SELECT sum(t.received_bytes + t.sent_bytes) FROM traffic t";
    let parts = parts(span, [of_months, of_days], "t", args);
    let sums = parts.into_iter().map(|part| format!("coalesce(({part}), 0)"));
    let sum = sums.collect::<Vec<_>>().join(" + ");
    if sum.is_empty() { NOTHING.to_owned() } else { format!("CAST({sum} AS bigint)") }
}

/// Peak of the months and days that have a row.
fn peak(span: &Span, args: &mut Args) -> String {
    let of_months = "SELECT max(r.peak_bytes) AS bytes FROM account_month r";
    let of_days = "SELECT max(p.peak_bytes) AS bytes FROM stored p";
    let parts = parts(span, [of_months, of_days], "p", args).join(" UNION ALL ");
    if parts.is_empty() {
        return NOTHING.to_owned();
    }
    format!("coalesce((SELECT max(bytes) FROM ({parts}) peaks), 0)")
}

/// Queries of the account `m.s3uid`: one of all months, and one of each stretch of days.
fn parts(span: &Span, [of_months, of_days]: [&str; 2], day: &str, args: &mut Args) -> Vec<String> {
    let mut parts = Vec::new();
    if let (Some(first), Some(last)) = (span.months.first(), span.months.last()) {
        let (first, last) = (args.push(month::code(*first)), args.push(month::code(*last)));
        parts.push(format!(
            "{of_months} WHERE r.s3uid = m.s3uid AND r.month >= ${first} AND r.month <= ${last}"
        ));
    }
    for Period { from, to } in &span.days {
        let (from, to) = (args.push(*from), args.push(*to));
        parts.push(format!("{of_days} WHERE {}", days_of(day, (from, to))));
    }
    parts
}

/// The condition on the days of the account `m.s3uid`, between two arguments.
fn days_of(day: &str, (from, to): (usize, usize)) -> String {
    format!(
        "{day}.s3uid = m.s3uid AND {day}.bucket = '' AND {day}.step = 1 \
         AND {day}.start_time >= ${from} AND {day}.start_time < ${to}"
    )
}

/// What the days before the argument left. It counts unless that day has a row, which then knows
/// how long it stayed.
fn carried(from: usize) -> String {
    format!(
        "coalesce((SELECT CASE WHEN c.start_time = ${from} THEN 0 ELSE c.last_bytes END \
         FROM stored c WHERE c.s3uid = m.s3uid AND c.bucket = '' AND c.step = 1 \
         AND c.start_time <= ${from} ORDER BY c.start_time DESC LIMIT 1), 0)"
    )
}

async fn fetch<T: Row>(db: &Db, sql: String, args: Args) -> Result<Vec<T>, Error> {
    db.fetch_all_built(sql, args).await
}

/// How many accounts match, at most `max`.
pub(crate) async fn count(db: &Db, ranking: &Ranking, max: i64) -> Result<i64, Error> {
    let mut args = Args::new();
    let filter = filter(ranking, None, &mut args);
    let max = args.push(max);
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM meter m WHERE {filter} LIMIT ${max}) matching"
    );
    let rows: Vec<(i64,)> = fetch(db, sql, args).await?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}

/// How many meters are open, at most `max`.
pub(crate) async fn count_open(db: &Db, max: i64) -> Result<i64, Error> {
    const SQL: &str = "SELECT count(*) FROM (SELECT 1 FROM meter WHERE closed_time IS NULL \
        LIMIT $1) open";
    let (count,): (i64,) = db.fetch_one(SQL, args![max]).await?;
    Ok(count)
}

/// What is known now of those accounts that match still.
pub(crate) async fn latest(
    db: &Db,
    ranking: &Ranking,
    among: &[S3uid],
) -> Result<HashMap<S3uid, Latest>, Error> {
    if among.is_empty() {
        return Ok(HashMap::new());
    }
    let (sql, args) = select_latest(ranking, among);
    let rows: Vec<LatestRow> = fetch(db, sql, args).await?;
    let by_uid = |row: LatestRow| {
        let latest = row.read()?;
        Ok((latest.dimensions.s3uid.clone(), latest))
    };
    rows.into_iter().map(by_uid).collect()
}

fn select_latest(ranking: &Ranking, among: &[S3uid]) -> (String, Args) {
    let mut args = Args::new();
    let filter = filter(ranking, Some(among), &mut args);
    let sql = format!(
        "WITH figures AS (SELECT m.*, coalesce(a.stored_bytes, 0) AS stored_bytes, a.as_of_time \
         FROM meter m LEFT JOIN account a ON a.s3uid = m.s3uid WHERE {filter}) \
         SELECT {LATEST} FROM figures"
    );
    (sql, args)
}

/// Accounts that have a bucket of this name.
pub(crate) async fn with_bucket(db: &Db, bucket: &str) -> Result<Vec<(String,)>, Error> {
    const SQL: &str = "SELECT s3uid FROM bucket WHERE bucket = $1 AND sample_time IS NOT NULL \
        AND NOT is_deleted";
    db.fetch_all(SQL, args![bucket]).await
}

/// A page of meters behind a name, in order: the open ones, or all that have changed since a time.
pub(crate) async fn meters(
    db: &Db,
    since: Option<OffsetDateTime>,
    after: &str,
    max: i64,
) -> Result<Vec<Meter>, Error> {
    const OPEN: &str = "SELECT s3uid, account_id, customer_id, email, plan_id, location, \
        storage_type, billing, gb_bytes, closed_time FROM meter \
        WHERE closed_time IS NULL AND s3uid > $1 ORDER BY s3uid LIMIT $2";
    const CHANGED: &str = "SELECT s3uid, account_id, customer_id, email, plan_id, location, \
        storage_type, billing, gb_bytes, closed_time FROM meter \
        WHERE change_time >= $3 AND s3uid > $1 ORDER BY s3uid LIMIT $2";
    let rows: Vec<meter::Row> = match since {
        None => db.fetch_all(OPEN, args![after, max]).await?,
        Some(since) => db.fetch_all(CHANGED, args![after, max, since]).await?,
    };
    rows.into_iter().map(meter::Row::read).collect()
}

/// Traffic and peak in a stretch of days, of a page of open meters behind a name, in order.
pub(crate) async fn days(db: &Db, days: Period, after: &str, max: i64) -> Result<Page, Error> {
    let span = Span { carried_at: None, months: Vec::new(), days: vec![days] };
    let mut args = Args::new();
    let (traffic, peak) = (traffic(&span, &mut args), peak(&span, &mut args));
    page(db, [traffic, peak], args, (after, max)).await
}

/// What was left when a day began, where that counts, of a page of open meters; as [`days`].
pub(crate) async fn left(
    db: &Db,
    from: OffsetDateTime,
    after: &str,
    max: i64,
) -> Result<Page, Error> {
    let mut args = Args::new();
    let carried = carried(args.push(from));
    page(db, [NOTHING.to_owned(), carried], args, (after, max)).await
}

async fn page(
    db: &Db,
    [traffic, peak]: [String; 2],
    mut args: Args,
    (after, max): (&str, i64),
) -> Result<Page, Error> {
    let (after, max) = (args.push(after), args.push(max));
    let sql = format!(
        "SELECT m.s3uid, {traffic} AS traffic_bytes, {peak} AS peak_bytes FROM meter m \
         WHERE m.closed_time IS NULL AND m.s3uid > ${after} ORDER BY m.s3uid LIMIT ${max}"
    );
    packed(db, &sql, args).await
}

/// Traffic and peak of accounts, in the order of their s3uids.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<(u128, i64, i64)>,
    /// The last s3uid; `None`: there is no row.
    pub(crate) last: Option<String>,
}

/// Runs a query of accounts with their traffic and peak. Its rows come as one text: many rows cost
/// the driver several times what they cost the database.
pub(super) async fn packed(db: &Db, rows: &str, args: Args) -> Result<Page, Error> {
    let join = if db.is_postgres() { "string_agg" } else { "group_concat" };
    let sql = format!(
        "SELECT max(s3uid), {join}(s3uid || ' ' || traffic_bytes || ' ' || peak_bytes, ',') \
         FROM ({rows}) of_accounts"
    );
    let found: Vec<(Option<String>, Option<String>)> = fetch(db, sql, args).await?;
    let (last, text) = found.into_iter().next().ok_or(Error::RowNotFound)?;
    let text = text.unwrap_or_default();
    let rows = text.split(',').filter(|row| !row.is_empty()).map(|row| {
        let mut fields = row.split(' ');
        let mut next = || fields.next().ok_or_else(|| damaged(row));
        let key = key_of(next()?);
        let mut number = || next()?.parse().map_err(|_| damaged(row));
        Ok((key, number()?, number()?))
    });
    let mut rows = rows.collect::<Result<Vec<_>, Error>>()?;
    // No database promises in which order it joins texts.
    rows.sort_by_key(|(key, ..)| *key);
    Ok(Page { rows, last })
}

fn damaged(row: &str) -> Error {
    Error::Other { source: format!("figures {row:?}").into() }
}

/// The condition on meters; its arguments go behind those that are there.
fn filter(ranking: &Ranking, among: Among<'_>, args: &mut Args) -> String {
    let mut text = "m.closed_time IS NULL".to_owned();
    let mut add = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            let number = args.push(value);
            text.push_str(&format!(" AND {condition} ${number}"));
        }
    };
    let by = &ranking.by;
    add("m.customer_id =", ranking.visible_to.map(|id| id.0.into()));
    add("m.s3uid =", by.s3uid.as_ref().map(|uid| uid.as_str().into()));
    add("m.customer_id =", by.customer.map(|id| id.0.into()));
    add("m.email_lower =", by.email.as_ref().map(|email| email.to_lowercase().into()));
    add("m.plan_id =", by.plan.map(|id| id.0.into()));
    add("m.location =", by.location.as_ref().map(Value::from));
    add("m.storage_type =", by.storage_type.as_ref().map(Value::from));
    add("m.billing =", by.billing.as_ref().map(Value::from));
    add("m.account_id =", by.account_id.map(Value::from));
    if let Some(bucket) = &by.bucket {
        let number = args.push(bucket);
        text.push_str(&format!(
            " AND m.s3uid IN (SELECT b.s3uid FROM bucket b WHERE b.bucket = ${number} \
             AND b.sample_time IS NOT NULL AND NOT b.is_deleted)"
        ));
    }
    if let Some(among) = among {
        let uids = args.push_all(among.iter().map(S3uid::as_str));
        text.push_str(&format!(" AND m.s3uid IN ({uids})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use stowage_db::testing::plan_of;
    use stowage_types::PlanId;
    use time::macros::datetime;

    use super::*;
    use crate::domain::RankBy;
    use crate::store::tests::{Store, uid};

    #[tokio::test]
    async fn of_what_is_shown_of_an_account_one_page_of_each_kind_is_read() {
        let store = Store::start().await;
        if store.db.is_postgres() {
            return;
        }
        let start = datetime!(2026-11-01 0:00 UTC);
        for plan in [None, Some(PlanId(1))] {
            let ranking = Ranking {
                by: RankBy { plan, ..RankBy::default() },
                days: Period { from: start, to: start },
                visible_to: None,
                skip: 0,
                max: 50,
            };
            let (sql, args) = select_latest(&ranking, &[uid(1), uid(2)]);
            let plan = plan_of(&store.db, &sql, args).await;
            // A table without a number for each row is in the order of its key.
            for step in [
                "SEARCH m USING COVERING INDEX meter_shown (s3uid=? AND",
                "SEARCH a USING PRIMARY KEY (s3uid=?)",
            ] {
                assert!(plan.iter().any(|found| found.starts_with(step)), "{step}: {plan:?}");
            }
        }
    }
}
