//! The ranking: open meters with their figures in a period of whole days.

use stowage_db::{Args, Db, Error, Row, Value, args};
use time::OffsetDateTime;

use super::meter;
use crate::domain::{RankField, Ranked, Ranking};

#[derive(sqlx::FromRow)]
struct Ranks {
    #[sqlx(flatten)]
    meter: meter::Row,
    traffic_bytes: i64,
    peak_bytes: i64,
    stored_bytes: i64,
    as_of_time: Option<OffsetDateTime>,
}

/// Bytes moved in the days of the period.
const TRAFFIC: &str = "coalesce((SELECT CAST(sum(t.received_bytes + t.sent_bytes) AS bigint) \
    FROM traffic t WHERE t.s3uid = m.s3uid AND t.bucket = '' AND t.step = 1 \
    AND t.start_time >= $1 AND t.start_time < $2), 0)";
/// Peak of the days that have a row.
const PEAK: &str = "coalesce((SELECT max(p.peak_bytes) FROM stored p WHERE p.s3uid = m.s3uid \
    AND p.bucket = '' AND p.step = 1 AND p.start_time >= $1 AND p.start_time < $2), 0)";
/// What the days before left. It counts unless the first day has a row, which then knows how long
/// it stayed, or the period has not begun (`$3`).
const CARRY: &str = "coalesce((SELECT CASE WHEN c.start_time = $1 OR $3 THEN 0 \
    ELSE c.last_bytes END FROM stored c WHERE c.s3uid = m.s3uid \
    AND c.bucket = '' AND c.step = 1 AND c.start_time <= $1 \
    ORDER BY c.start_time DESC LIMIT 1), 0)";

/// One page of the ranking.
pub(crate) async fn list(db: &Db, ranking: &Ranking) -> Result<Vec<Ranked>, Error> {
    let mut args = args![ranking.days.from, ranking.days.to, ranking.is_future];
    let filter = filter(ranking, &mut args);
    let field = match ranking.by.field {
        RankField::Traffic => "traffic_bytes",
        RankField::StoragePeak => "peak_bytes",
    };
    let order = if ranking.by.ascending { "ASC" } else { "DESC" };
    let limit = args.push(ranking.max);
    let offset = args.push(ranking.skip);
    let sql = format!(
        "WITH figures AS (SELECT m.*, {TRAFFIC} AS traffic_bytes, {PEAK} AS days_bytes, \
         {CARRY} AS carried_bytes, coalesce(a.stored_bytes, 0) AS stored_bytes, a.as_of_time \
         FROM meter m LEFT JOIN account a ON a.s3uid = m.s3uid WHERE {filter}), \
         ranked AS (SELECT figures.*, CASE WHEN days_bytes > carried_bytes THEN days_bytes \
         ELSE carried_bytes END AS peak_bytes FROM figures) \
         SELECT s3uid, account_id, customer_id, email, plan_id, location, storage_type, billing, \
         gb_bytes, closed_time, traffic_bytes, peak_bytes, stored_bytes, as_of_time FROM ranked \
         ORDER BY {field} {order}, account_id, s3uid LIMIT ${limit} OFFSET ${offset}"
    );
    fetch(db, sql, args).await?.into_iter().map(read).collect()
}

async fn fetch<T: Row>(db: &Db, sql: String, args: Args) -> Result<Vec<T>, Error> {
    db.fetch_all_built(sql, args).await
}

fn read(row: Ranks) -> Result<Ranked, Error> {
    Ok(Ranked {
        dimensions: row.meter.read()?.dimensions,
        traffic_bytes: row.traffic_bytes,
        stored_bytes_peak: row.peak_bytes,
        stored_bytes: row.stored_bytes,
        as_of: row.as_of_time,
    })
}

/// How many accounts match.
pub(crate) async fn count(db: &Db, ranking: &Ranking) -> Result<i64, Error> {
    let mut args = Args::new();
    let filter = filter(ranking, &mut args);
    let sql = format!("SELECT count(*) FROM meter m WHERE {filter}");
    let rows: Vec<(i64,)> = fetch(db, sql, args).await?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}

/// The condition on meters; its arguments go behind those that are there.
fn filter(ranking: &Ranking, args: &mut Args) -> String {
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
            " AND EXISTS (SELECT 1 FROM bucket b WHERE b.s3uid = m.s3uid AND b.bucket = ${number} \
             AND b.sample_time IS NOT NULL AND NOT b.is_deleted)"
        ));
    }
    text
}
