//! What a list shows of S3 accounts when little of them is asked for.

use stowage_db::{Args, Error, Query};
use stowage_types::{CustomerId, S3uid};

use super::account::first_found;
use super::customer::read_currency;
use crate::domain::brief::Brief;
use crate::domain::life::{Hold, State};

#[derive(sqlx::FromRow)]
struct Row {
    s3uid: String,
    account_id: i64,
    customer_id: i64,
    currency: String,
    state: String,
    hold: String,
    read_only: bool,
    service_id: i64,
}

impl TryFrom<Row> for Brief {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let damaged = |what: &str| Error::Other { source: format!("account: {what}").into() };
        let hold = Hold::parse(&row.hold, row.read_only).ok_or_else(|| damaged("hold"))?;
        Ok(Self {
            s3uid: S3uid::parse(&row.s3uid).map_err(|_| damaged("s3uid"))?,
            account_id: row.account_id,
            customer: CustomerId(row.customer_id),
            currency: read_currency(&row.currency)?,
            state: State::parse(&row.state, hold).ok_or_else(|| damaged("state"))?,
            service_id: row.service_id,
        })
    }
}

/// Accounts that are neither deleted nor failed, by integer id; if any are named, those of them.
pub(crate) async fn list(
    mut from: impl Query,
    owner: Option<CustomerId>,
    s3uids: &[S3uid],
    page: (i64, i64),
) -> Result<Vec<Brief>, Error> {
    let (sql, args) = select(owner, s3uids, page);
    let rows: Vec<Row> = from.fetch_all_built(sql, args).await?;
    rows.into_iter().map(Brief::try_from).collect()
}

fn select(owner: Option<CustomerId>, s3uids: &[S3uid], (after, max): (i64, i64)) -> (String, Args) {
    let mut args = Args::new();
    let (after, max) = (args.push(after), args.push(max));
    let mut filter = format!("a.account_id > ${after} AND a.state NOT IN ('FAILED', 'DELETED')");
    if let Some(owner) = owner {
        filter.push_str(&format!(" AND a.customer_id = ${}", args.push(owner.0)));
    }
    if !s3uids.is_empty() {
        let wanted = args.push_all(s3uids.iter().map(S3uid::as_str));
        filter.push_str(&format!(" AND a.s3uid IN ({wanted})"));
    }
    let select = format!(
        "SELECT a.s3uid, a.account_id, a.customer_id, a.currency, a.state, a.hold, a.read_only, \
         a.service_id FROM account a WHERE {filter}"
    );
    let sql = match s3uids {
        [] => format!("{select} ORDER BY a.account_id LIMIT ${max}"),
        _ => first_found(&select, max),
    };
    (sql, args)
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;
    use stowage_db::args;
    use stowage_db::testing::{Scratch, plan_of};
    use stowage_types::Currency;
    use time::macros::datetime;

    use super::*;
    use crate::MIGRATOR;

    #[tokio::test]
    async fn of_accounts_that_are_named_only_the_index_is_read() {
        let place = Scratch::on_files();
        let db = place.open("accounts", &MIGRATOR).await.unwrap();
        let uids = [1, 2].map(|n| S3uid::parse(&format!("{n:032x}")).unwrap());
        let (sql, args) = select(None, &uids, (0, 50));
        let plan = plan_of(&db, &sql, args).await;
        let step = "SEARCH a USING COVERING INDEX account_brief (s3uid=? AND";
        assert!(plan.iter().any(|found| found.starts_with(step)), "{plan:?}");
        db.close().await;
    }

    #[tokio::test]
    async fn an_account_of_before_has_the_currency_of_its_customer() {
        let place = Scratch::new().await;
        let before: Vec<_> = MIGRATOR.iter().filter(|one| one.version < 24).cloned().collect();
        let before: &'static Migrator = Box::leak(Box::new(Migrator::with_migrations(before)));
        let db = place.open("accounts", before).await.unwrap();
        let now = datetime!(2026-11-30 9:00 UTC);
        let mut tx = db.begin().await.unwrap();
        for (customer, currency) in [(1001, "USD"), (1002, "JPY")] {
            let sql = "INSERT INTO customer (customer_id, email, email_key, currency, \
                create_time) VALUES ($1, $2, $2, $3, $4)";
            let email = format!("{customer}@example.com");
            tx.execute(sql, args![i64::from(customer), email, currency, now]).await.unwrap();
            let sql = "INSERT INTO account (s3uid, account_id, customer_id, plan_id, \
                plan_version, location, storage_type, state, endpoint, quota_bytes, bucket_max, \
                gb_bytes, bucket, service_id, order_id, invoice_id, billing, create_time) \
                VALUES ($1, $2, $3, 1, 1, 'NL', 'standard', 'ACTIVE', '', 0, 1, 1, '', 1, 1, 0, \
                'ledger', $4)";
            let uid = format!("{customer:032}");
            let args = args![uid, i64::from(customer) * 10, i64::from(customer), now];
            tx.execute(sql, args).await.unwrap();
        }
        tx.commit().await.unwrap();
        db.close().await;
        let db = place.open("accounts", &MIGRATOR).await.unwrap();
        let found = list(&db, None, &[], (0, 50)).await.unwrap();
        let found: Vec<_> = found.iter().map(|of| (of.customer.0, of.currency)).collect();
        let currency = |text| Currency::parse(text).unwrap();
        assert_eq!(found, [(1001, currency("USD")), (1002, currency("JPY"))]);
        db.close().await;
    }
}
