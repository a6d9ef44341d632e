//! Table `fact`: facts as they came.

use std::collections::HashMap;

use stowage_db::{Args, Error, Tx, Value, args};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{Rows, hour};
use crate::domain::{Fact, Period};

/// Ids that are looked for with one statement: few, as of an event, or many.
const IDS_FEW: usize = 8;
const IDS_MANY: usize = 250;
/// Days whose facts go together. An id is looked for in every span that is kept, so that there
/// must not be many; and what is kept goes span by span.
pub(crate) const SPAN_DAYS: i64 = 8;

/// The span of a time.
pub(crate) fn span_of(time: OffsetDateTime) -> i64 {
    time.unix_timestamp().div_euclid(SPAN_DAYS * 86_400)
}

/// Holds the source until the transaction ends: what is not found of it is not there. Answers the
/// greatest id that it has used, by its bytes: what is greater need not be looked for. `None`: that
/// is not known.
pub(crate) async fn hold_source(
    tx: &mut Tx,
    source: &str,
    now: OffsetDateTime,
) -> Result<Option<String>, Error> {
    const HOLD: &str = "UPDATE fact_source SET last_time = $2 WHERE source = $1 RETURNING id_max";
    const MAKE: &str = "INSERT INTO fact_source (source, last_time, id_max) VALUES ($1, $2, \
        CASE WHEN EXISTS (SELECT 1 FROM fact WHERE source = $1) THEN NULL ELSE '' END) \
        ON CONFLICT (source) DO UPDATE SET last_time = excluded.last_time RETURNING id_max";
    let held: Option<(Option<String>,)> = tx.fetch_optional(HOLD, args![source, now]).await?;
    let (id_max,) = match held {
        Some(held) => held,
        None => tx.fetch_one(MAKE, args![source, now]).await?,
    };
    Ok(id_max)
}

/// Notes the greatest id of a source that is held.
pub(crate) fn set_id_max(tx: &mut Tx, source: &str, id_max: &str) {
    const SQL: &str = "UPDATE fact_source SET id_max = $2 WHERE source = $1";
    tx.defer(SQL, args![source, id_max]);
}

/// Those of the ids that are there, with the digests of their facts.
///
/// A subquery for each id, since a planner that knows nothing of the table yet reads all of a
/// source rather than look for a list of ids.
pub(crate) async fn known(
    tx: &mut Tx,
    source: &str,
    ids: &[&str],
) -> Result<HashMap<String, Vec<u8>>, Error> {
    let mut known = HashMap::new();
    let at_once = if ids.len() <= IDS_FEW { IDS_FEW } else { IDS_MANY };
    for ids in ids.chunks(at_once) {
        let mut args = args![source];
        // Always as many, so that the statement stays prepared.
        let fill = ids.last().into_iter().cycle().take(at_once - ids.len());
        let places = ids.iter().chain(fill).map(|id| format!("(${})", args.push(*id)));
        let sql = format!(
            "WITH wanted (id) AS (VALUES {}) SELECT wanted.id, (SELECT f.digest FROM fact f \
             WHERE f.source = $1 AND f.id = wanted.id LIMIT 1) AS digest FROM wanted",
            places.collect::<Vec<_>>().join(", ")
        );
        let rows: Vec<(String, Option<Vec<u8>>)> = tx.fetch_all_built(sql, args).await?;
        known.extend(rows.into_iter().filter_map(|(id, digest)| Some((id, digest?))));
    }
    Ok(known)
}

/// A fact that is new, and the span it goes with.
pub(crate) struct New<'a> {
    pub(crate) fact: &'a Fact,
    pub(crate) digest: [u8; 16],
    pub(crate) span: i64,
}

fn row(source: &str, New { fact, digest, span }: &New<'_>) -> Vec<Value> {
    let (kind, value, objects) = fact.code();
    vec![
        (*span).into(),
        source.into(),
        (&fact.id).into(),
        (*digest).into(),
        fact.s3uid.as_str().into(),
        (&fact.bucket).into(),
        kind.into(),
        fact.time.into(),
        value.into(),
        objects.into(),
    ]
}

/// Keeps facts of a source that are not there.
pub(crate) async fn insert(tx: &mut Tx, source: &str, facts: &[New<'_>]) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO fact (span, source, id, digest, s3uid, bucket, kind, time, \
        value, object_count)";
    let rows: Rows<'_> = Box::new(facts.iter().map(|new| row(source, new)));
    tx.put_rows(HEAD, rows, "").await
}

#[derive(sqlx::FromRow)]
struct Row {
    source: String,
    id: String,
    bucket: String,
    kind: i64,
    time: OffsetDateTime,
    value: i64,
    object_count: i64,
}

/// Where a reading of an account's facts goes on: behind this time, source and id.
pub(crate) type After = (OffsetDateTime, String, String);

/// Facts of an account in a period, in order of time, behind a place; and the place of the last.
pub(crate) async fn page(
    tx: &mut Tx,
    s3uid: &S3uid,
    period: Period,
    after: Option<After>,
    max: i64,
) -> Result<(Vec<Fact>, Option<After>), Error> {
    let sql = format!(
        "{} AND (time > $2 OR (source, id) > ($4, $5)) ORDER BY time, source, id LIMIT $6",
        of_period(tx, "source, id, bucket, kind, time, value, object_count")
    );
    let (start, source, id) = after.unwrap_or((period.from, String::new(), String::new()));
    let args = args![s3uid.as_str(), start, period.to, source, id, max];
    let rows: Vec<Row> = tx.fetch_all_built(sql, args).await?;
    let last = rows.last().map(|row| (row.time, row.source.clone(), row.id.clone()));
    let facts = rows.into_iter().map(|row| read(s3uid, row)).collect::<Result<_, _>>()?;
    Ok((facts, last))
}

/// The facts of the account `$1` from `$2` on, before `$3`.
fn of_period(tx: &Tx, columns: &str) -> String {
    let filter = "s3uid = $1 AND time >= $2 AND time < $3";
    match tx.is_postgres() {
        true => format!("SELECT {columns} FROM fact WHERE {filter}"),
        false => format!("{} SELECT {columns} FROM {} AND {filter}", hour::ALL, hour::OF_EACH),
    }
}

fn read(s3uid: &S3uid, row: Row) -> Result<Fact, Error> {
    let what = Fact::decode((row.kind, row.value, row.object_count));
    let unknown = || Error::Other { source: format!("a fact of kind {}", row.kind).into() };
    let what = what.ok_or_else(unknown)?;
    let Row { id, bucket, time, .. } = row;
    Ok(Fact { id, s3uid: s3uid.clone(), bucket, time, what })
}

/// How many facts of an account there are in a period, counted up to `max`.
pub(crate) async fn count(
    tx: &mut Tx,
    s3uid: &S3uid,
    period: Period,
    max: i64,
) -> Result<i64, Error> {
    let sql = format!("SELECT count(*) FROM ({} LIMIT $4) AS counted", of_period(tx, "1 AS one"));
    let args = args![s3uid.as_str(), period.from, period.to, max];
    let rows: Vec<(i64,)> = tx.fetch_all_built(sql, args).await?;
    let (count,) = rows.first().ok_or(Error::RowNotFound)?;
    Ok(*count)
}

/// Forgets up to `max` facts of spans before `span`; returns how many.
pub(crate) async fn forget(tx: &mut Tx, span: i64, max: i64) -> Result<u64, Error> {
    const SQL: &str = "DELETE FROM fact WHERE (source, id, span) IN \
        (SELECT source, id, span FROM fact WHERE span < $1 LIMIT $2)";
    tx.execute(SQL, args![span, max]).await
}

/// Forgets sources that told nothing since `before`; returns how many.
pub(crate) async fn forget_sources(tx: &mut Tx, before: OffsetDateTime) -> Result<u64, Error> {
    tx.execute("DELETE FROM fact_source WHERE last_time < $1", args![before]).await
}

/// From when on all facts are kept; `now_on` if that was not noted before.
pub(crate) async fn start(tx: &mut Tx, now_on: OffsetDateTime) -> Result<OffsetDateTime, Error> {
    const SQL: &str = "INSERT INTO fact_start (one, start_time) VALUES (1, $1) \
        ON CONFLICT (one) DO UPDATE SET one = excluded.one RETURNING start_time";
    let (start,): (OffsetDateTime,) = tx.fetch_one(SQL, args![now_on]).await?;
    Ok(start)
}

/// Whether rollups have something: facts came before they were kept.
pub(crate) async fn has_past(tx: &mut Tx) -> Result<bool, Error> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM account) AS has_past";
    let (has_past,): (bool,) = tx.fetch_one(SQL, Args::new()).await?;
    Ok(has_past)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::domain::{Flow, What};
    use crate::store::tests::{Store, uid};

    const NOW: OffsetDateTime = datetime!(2026-11-23 15:30 UTC);

    fn facts() -> Vec<Fact> {
        let of = |n: i64| Fact {
            id: format!("id-{n:04}"),
            s3uid: uid(1),
            bucket: "photos".to_owned(),
            // Several at one time.
            time: NOW + Duration::minutes(n / 3),
            what: What::Moved(Flow::SentBytes, n),
        };
        (0..700).map(of).collect()
    }

    async fn keep(store: &Store, facts: &[Fact]) {
        let new = |fact: &'_ Fact| (fact.digest(), span_of(fact.time));
        let rows: Vec<New<'_>> = facts
            .iter()
            .map(|fact| {
                let (digest, span) = new(fact);
                New { fact, digest, span }
            })
            .collect();
        let mut tx = store.db.begin().await.unwrap();
        hold_source(&mut tx, "log", NOW).await.unwrap();
        insert(&mut tx, "log", &rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn facts_are_found_by_their_ids_and_read_in_pages() {
        let store = Store::start().await;
        let facts = facts();
        keep(&store, &facts).await;
        let mut tx = store.db.begin().await.unwrap();
        let mut ids: Vec<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
        ids.push("other");
        let found = known(&mut tx, "log", &ids).await.unwrap();
        assert_eq!(found.len(), 700);
        assert_eq!(found["id-0007"], facts[7].digest());
        assert!(known(&mut tx, "another", &ids).await.unwrap().is_empty());
        let period = Period { from: NOW, to: NOW + Duration::HOUR };
        let wanted: Vec<&Fact> = facts.iter().filter(|fact| fact.time < period.to).collect();
        assert_eq!(count(&mut tx, &uid(1), period, 1000).await.unwrap(), 180);
        assert_eq!(count(&mut tx, &uid(1), period, 100).await.unwrap(), 100);
        for max in [1, 2, 7, 180, 1000] {
            let (mut read, mut after) = (Vec::new(), None);
            loop {
                let (facts, last) = page(&mut tx, &uid(1), period, after, max).await.unwrap();
                read.extend(facts);
                after = last;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(read.iter().collect::<Vec<_>>(), wanted, "{max}");
        }
    }

    #[tokio::test]
    async fn facts_go_by_their_span() {
        let store = Store::start().await;
        let mut facts = facts();
        let old = NOW - Duration::days(SPAN_DAYS);
        facts.iter_mut().take(300).for_each(|fact| fact.time = old);
        keep(&store, &facts).await;
        let mut tx = store.db.begin().await.unwrap();
        assert_eq!(forget(&mut tx, span_of(old), 1000).await.unwrap(), 0);
        assert_eq!(forget(&mut tx, span_of(NOW), 200).await.unwrap(), 200);
        assert_eq!(forget(&mut tx, span_of(NOW), 200).await.unwrap(), 100);
        assert_eq!(forget(&mut tx, span_of(NOW), 200).await.unwrap(), 0);
        assert_eq!(forget_sources(&mut tx, NOW).await.unwrap(), 0);
        assert_eq!(forget_sources(&mut tx, NOW + Duration::SECOND).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_greatest_id_is_known_of_sources_all_of_whose_facts_came_since() {
        let store = Store::start().await;
        let mut tx = store.db.begin().await.unwrap();
        assert_eq!(hold_source(&mut tx, "log", NOW).await.unwrap().as_deref(), Some(""));
        set_id_max(&mut tx, "log", "é");
        assert_eq!(hold_source(&mut tx, "log", NOW).await.unwrap().as_deref(), Some("é"));
        tx.commit().await.unwrap();
        keep(&store, &facts()).await;
        // It is silent for so long that it is forgotten, and some of its facts are not yet.
        let mut tx = store.db.begin().await.unwrap();
        assert_eq!(forget_sources(&mut tx, NOW + Duration::DAY).await.unwrap(), 1);
        assert_eq!(hold_source(&mut tx, "log", NOW).await.unwrap(), None);
        assert_eq!(hold_source(&mut tx, "log", NOW).await.unwrap(), None);
    }

    #[tokio::test]
    async fn when_facts_began_to_be_kept_is_noted_once() {
        let store = Store::start().await;
        let mut tx = store.db.begin().await.unwrap();
        // The store begins with none.
        let always = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(start(&mut tx, NOW).await.unwrap(), always);
        assert!(!has_past(&mut tx).await.unwrap());
    }
}
