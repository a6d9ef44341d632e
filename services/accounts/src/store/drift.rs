//! What the last round of comparing engines, meter and bills has found.

use std::collections::BTreeMap;

use stowage_db::{Args, Error, Query, Tx, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

/// What was noted of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Noted {
    /// What drifts, as text; empty: nothing for certain.
    pub(crate) figures: String,
    /// When that was last told.
    pub(crate) told_time: Option<OffsetDateTime>,
    /// What an engine that tells changes late says it stores, and since when.
    pub(crate) suspected: Option<(i64, OffsetDateTime)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    s3uid: String,
    figures: String,
    told_time: Option<OffsetDateTime>,
    suspected_bytes: Option<i64>,
    suspected_since: Option<OffsetDateTime>,
}

/// What was noted of these accounts, by s3uid.
pub(crate) async fn list(
    mut from: impl Query,
    s3uids: &[S3uid],
) -> Result<BTreeMap<String, Noted>, Error> {
    let mut args = Args::new();
    let places = args.push_all(s3uids.iter().map(S3uid::as_str));
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT s3uid, figures, told_time, suspected_bytes, suspected_since FROM drift \
         WHERE s3uid IN ({places})"
    );
    let rows: Vec<Row> = from.fetch_all_built(sql, args).await?;
    let noted = |row: Row| {
        let suspected = row.suspected_bytes.zip(row.suspected_since);
        (row.s3uid, Noted { figures: row.figures, told_time: row.told_time, suspected })
    };
    Ok(rows.into_iter().map(noted).collect())
}

/// Notes what a round has found of an account.
pub(crate) async fn put(
    tx: &mut Tx,
    s3uid: &S3uid,
    noted: &Noted,
    round_time: OffsetDateTime,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO drift (s3uid, figures, told_time, suspected_bytes, \
        suspected_since, round_time) VALUES ($1, $2, $3, $4, $5, $6) \
        ON CONFLICT (s3uid) DO UPDATE SET figures = $2, told_time = $3, suspected_bytes = $4, \
        suspected_since = $5, round_time = $6";
    let (bytes, since) = noted.suspected.unzip();
    let args = args![s3uid.as_str(), &noted.figures, noted.told_time, bytes, since, round_time];
    tx.execute(SQL, args).await?;
    Ok(())
}

/// Forgets what rounds before have found and this one has not.
pub(crate) async fn forget(tx: &mut Tx, round_time: OffsetDateTime) -> Result<(), Error> {
    tx.execute("DELETE FROM drift WHERE round_time < $1", args![round_time]).await?;
    Ok(())
}
