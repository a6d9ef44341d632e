//! History.

use stowage_db::{Args, Error, Query, Tx, args, next_id};
use time::OffsetDateTime;

use crate::domain::history::{Entry, Filter, Recorded};

pub(crate) async fn insert(tx: &mut Tx, entry: &Entry, now: OffsetDateTime) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO history (id, create_time, event, actor, customer_id, plan_id, \
        s3uid, old_json, new_json) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let id = next_id(tx, "history").await?;
    let args = args![
        id,
        now,
        &entry.event,
        &entry.actor,
        entry.customer_id,
        entry.plan_id,
        &entry.s3uid,
        &entry.old_json,
        &entry.new_json,
    ];
    tx.defer(SQL, args);
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    create_time: OffsetDateTime,
    event: String,
    actor: String,
    customer_id: i64,
    plan_id: i64,
    s3uid: String,
    old_json: String,
    new_json: String,
}

impl From<Row> for Recorded {
    fn from(row: Row) -> Self {
        let entry = Entry {
            event: row.event,
            actor: row.actor,
            customer_id: row.customer_id,
            plan_id: row.plan_id,
            s3uid: row.s3uid,
            old_json: row.old_json,
            new_json: row.new_json,
        };
        Self { id: row.id, create_time: row.create_time, entry }
    }
}

/// Newest first. The text is built of the filters given, so that each finds its index.
pub(crate) async fn list(mut from: impl Query, filter: &Filter) -> Result<Vec<Recorded>, Error> {
    let mut args = Args::new();
    let mut terms = vec!["id > 0".to_owned()];
    if !filter.with_reads {
        // Word for word as in the partial indexes.
        terms.push("event <> 'key.read'".to_owned());
    }
    if let Some(plan) = filter.plan {
        terms.push(format!("plan_id = ${}", args.push(plan.0)));
    }
    if let Some(account) = &filter.account {
        terms.push(format!("s3uid = ${}", args.push(account.as_str())));
    }
    if let Some(customer) = filter.seen_by {
        let own = args.push(customer.0);
        terms.push(format!("(customer_id = ${own} OR (customer_id = 0 AND plan_id > 0))"));
    }
    let sql = format!(
        "SELECT id, create_time, event, actor, customer_id, plan_id, s3uid, old_json, new_json \
         FROM history WHERE {} ORDER BY id DESC LIMIT ${} OFFSET ${}",
        terms.join(" AND "),
        args.push(filter.size),
        args.push(filter.skip),
    );
    let rows = from.fetch_all_built::<Row>(sql, args).await?;
    Ok(rows.into_iter().map(Recorded::from).collect())
}
