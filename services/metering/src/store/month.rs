//! Table `account_month`: what the days of a month come to, of whole accounts.

use stowage_db::{Db, Error, Tx, args};
use stowage_types::S3uid;

use super::ranking::{Page, packed};
use crate::domain::Month;

const HEAD: &str = "INSERT INTO account_month (month, s3uid, traffic_bytes, peak_bytes)";

/// What the days come to: traffic and peak.
const DAYS: [&str; 2] = [
    "coalesce((SELECT CAST(sum(t.received_bytes + t.sent_bytes) AS bigint) FROM traffic t \
     WHERE t.s3uid = $2 AND t.bucket = '' AND t.step = 1 \
     AND t.start_time >= $3 AND t.start_time < $4), 0)",
    "coalesce((SELECT max(p.peak_bytes) FROM stored p WHERE p.s3uid = $2 \
     AND p.bucket = '' AND p.step = 1 AND p.start_time >= $3 AND p.start_time < $4), 0)",
];

/// A month as it is stored.
pub(super) fn code(month: Month) -> String {
    let date = month.start().date();
    format!("{:04}-{:02}", date.year(), u8::from(date.month()))
}

/// The contrary of [`code`].
fn read(code: &str) -> Result<Month, Error> {
    let (year, month) = code.split_once('-').unwrap_or_default();
    let date = year.parse().ok().zip(month.parse::<u8>().ok()).and_then(|(year, month)| {
        time::Date::from_calendar_date(year, month.try_into().ok()?, 1).ok()
    });
    let date = date.ok_or_else(|| Error::Other { source: format!("a month {code:?}").into() })?;
    Ok(Month::of(date.midnight().assume_utc()))
}

/// Adds bytes that moved. No month of an account comes twice.
pub(crate) async fn add(
    tx: &mut Tx,
    moved: impl Iterator<Item = ((Month, &S3uid), i64)>,
) -> Result<(), Error> {
    const TAIL: &str = " ON CONFLICT (month, s3uid) DO UPDATE SET \
        traffic_bytes = account_month.traffic_bytes + excluded.traffic_bytes";
    let rows: Vec<_> = moved
        .map(|((month, s3uid), bytes)| {
            vec![code(month).into(), s3uid.as_str().into(), bytes.into(), 0_i64.into()]
        })
        .collect();
    tx.put_rows(HEAD, rows, TAIL).await
}

/// Works a month out from its days.
pub(crate) async fn work_out(tx: &mut Tx, s3uid: &S3uid, month: Month) -> Result<(), Error> {
    let [traffic, peak] = DAYS;
    let sql = format!(
        "{HEAD} VALUES ($1, $2, {traffic}, {peak}) ON CONFLICT (month, s3uid) DO UPDATE SET \
         traffic_bytes = excluded.traffic_bytes, peak_bytes = excluded.peak_bytes"
    );
    let args = args![code(month), s3uid.as_str(), month.start(), month.end()];
    tx.execute_built(sql, args).await?;
    Ok(())
}

/// A figure as it is stored, and as it follows from the days.
pub(crate) type Both = (i64, i64);

/// Traffic and peak of a month. Where there is no row, nothing is stored.
pub(crate) async fn both(tx: &mut Tx, s3uid: &S3uid, month: Month) -> Result<[Both; 2], Error> {
    let [traffic, peak] = DAYS;
    let of = |column: &str| {
        format!("coalesce((SELECT {column} FROM account_month WHERE month = $1 AND s3uid = $2), 0)")
    };
    let (stored_traffic, stored_peak) = (of("traffic_bytes"), of("peak_bytes"));
    let sql = format!("SELECT {stored_traffic}, {traffic}, {stored_peak}, {peak}");
    let args = args![code(month), s3uid.as_str(), month.start(), month.end()];
    let rows: Vec<(i64, i64, i64, i64)> = tx.fetch_all_built(sql, args).await?;
    let (stored_traffic, traffic, stored_peak, peak) =
        rows.into_iter().next().ok_or(Error::RowNotFound)?;
    Ok([(stored_traffic, traffic), (stored_peak, peak)])
}

/// The first and the last month in which there is anything.
pub(crate) async fn known(db: &Db) -> Result<Option<(Month, Month)>, Error> {
    const SQL: &str = "SELECT (SELECT min(month) FROM account_month), \
        (SELECT max(month) FROM account_month)";
    let ends: (Option<String>, Option<String>) = db.fetch_one(SQL, args![]).await?;
    match ends {
        (Some(first), Some(last)) => Ok(Some((read(&first)?, read(&last)?))),
        _ => Ok(None),
    }
}

/// Accounts in which something was in a month, in order, behind a name.
pub(crate) async fn page(db: &Db, month: Month, after: &str, max: i64) -> Result<Page, Error> {
    const SQL: &str = "SELECT s3uid, traffic_bytes, peak_bytes FROM account_month \
        WHERE month = $1 AND s3uid > $2 ORDER BY s3uid LIMIT $3";
    packed(db, SQL, args![code(month), after, max]).await
}
