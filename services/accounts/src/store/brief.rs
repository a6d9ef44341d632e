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
    (after, max): (i64, i64),
) -> Result<Vec<Brief>, Error> {
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
        "SELECT a.s3uid, a.account_id, a.customer_id, c.currency, a.state, a.hold, a.read_only, \
         a.service_id FROM account a JOIN customer c ON c.customer_id = a.customer_id \
         WHERE {filter}"
    );
    let sql = match s3uids {
        [] => format!("{select} ORDER BY a.account_id LIMIT ${max}"),
        _ => first_found(&select, max),
    };
    let rows: Vec<Row> = from.fetch_all_built(sql, args).await?;
    rows.into_iter().map(Brief::try_from).collect()
}
