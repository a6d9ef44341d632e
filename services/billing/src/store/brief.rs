//! What a list shows of subscriptions when little of them is asked for.

use stowage_auth::Scope;
use stowage_db::{Args, Error, Query};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::amount::{damaged, from_nanos, period};
use super::subscription::{named, price, sold, state};
use crate::domain::brief::Brief;

#[derive(sqlx::FromRow)]
struct Row {
    service_id: i64,
    s3uid: String,
    state: String,
    currency: String,
    anchor_time: Option<OffsetDateTime>,
    end_time: Option<OffsetDateTime>,
    cancel_time: Option<OffsetDateTime>,
    period: String,
    base_price_nanos: i64,
    period_nanos: i64,
}

impl TryFrom<Row> for Brief {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            service_id: row.service_id,
            s3uid: S3uid::parse(&row.s3uid).map_err(damaged)?,
            state: state(&row.state)?,
            period: period(&row.period)?,
            period_price: price(row.period_nanos, &row.currency)?,
            base_price: from_nanos(row.base_price_nanos),
            anchor_time: row.anchor_time,
            end_time: row.end_time,
            cancel_time: row.cancel_time,
        })
    }
}

/// Returns those within the scope among the ids, in their order. The caller bounds the ids.
pub(crate) async fn list(
    mut from: impl Query,
    provider: &str,
    scope: Scope,
    service_ids: &[i64],
) -> Result<Vec<Brief>, Error> {
    if service_ids.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, args) = select(provider, scope, service_ids);
    let rows: Vec<Row> = from.fetch_all_built(sql, args).await?;
    rows.into_iter().map(Brief::try_from).collect()
}

fn select(provider: &str, scope: Scope, service_ids: &[i64]) -> (String, Args) {
    const SELECT: &str = concat!(
        "SELECT s.service_id, s.s3uid, s.state, s.currency, s.anchor_time, s.end_time, \
         s.cancel_time, v.period, v.base_price_nanos, r.period_nanos ",
        sold!()
    );
    let (filter, args) = named(provider, scope, service_ids);
    (format!("{SELECT} {filter}"), args)
}

#[cfg(test)]
mod tests {
    use stowage_db::testing::{Scratch, plan_of};

    use super::*;
    use crate::MIGRATOR;

    #[tokio::test]
    async fn of_many_subscriptions_only_the_index_is_read() {
        let place = Scratch::on_files();
        let db = place.open("billing", &MIGRATOR).await.unwrap();
        let service_ids: Vec<i64> = (1..=50).collect();
        let (sql, args) = select("ledger", Scope::Everything, &service_ids);
        let plan = plan_of(&db, &sql, args).await;
        let step = "SEARCH s USING COVERING INDEX subscription_brief (provider=? AND service_id=?)";
        assert!(plan.iter().any(|found| found.starts_with(step)), "{plan:?}");
        db.close().await;
    }
}
