//! History, as it is listed. It is written in `audit`.

use stowage_db::{Args, Error, Query};
use time::OffsetDateTime;

use crate::domain::history::{Cause, Entry, Filter, Recorded};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: i64,
    create_time: OffsetDateTime,
    event: String,
    actor: String,
    acted_for: i64,
    request_id: String,
    customer_id: i64,
    plan_id: i64,
    s3uid: String,
    old_json: String,
    new_json: String,
    minor: bool,
}

impl From<Row> for Recorded {
    fn from(row: Row) -> Self {
        let (actor, acted_for, request_id) = (row.actor, row.acted_for, row.request_id);
        let entry = Entry {
            event: row.event,
            cause: Cause { actor, acted_for, request_id },
            customer_id: row.customer_id,
            plan_id: row.plan_id,
            s3uid: row.s3uid,
            old_json: row.old_json,
            new_json: row.new_json,
            minor: row.minor,
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
        terms.push("NOT minor".to_owned());
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
        "SELECT id, create_time, event, actor, acted_for, request_id, customer_id, plan_id, s3uid, \
         old_json, new_json, minor FROM history WHERE {} ORDER BY id DESC LIMIT ${} OFFSET ${}",
        terms.join(" AND "),
        args.push(filter.size),
        args.push(filter.skip),
    );
    let rows = from.fetch_all_built::<Row>(sql, args).await?;
    Ok(rows.into_iter().map(Recorded::from).collect())
}
