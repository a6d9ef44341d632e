//! Facts by the hour of their time, on SQLite only.
//!
//! Collectors tell what moved in the last hour of all accounts. In an index that begins with the
//! account each of them is on another page; in one that begins with the hour (see `sqlite`) they
//! are side by side. An account's facts of a period are then found hour by hour. PostgreSQL has
//! partitions, and more memory: there the index of the migration stays.

/// All hours from `$2` to `$3`.
pub(super) const ALL: &str = "WITH RECURSIVE hours (hour) AS (SELECT substr($2, 1, 13) \
    UNION ALL SELECT strftime('%Y-%m-%dT%H', hour || ':00:00', '+1 hour') FROM hours \
    WHERE hour < substr($3, 1, 13))";
/// The facts of each of them.
pub(super) const OF_EACH: &str = "hours CROSS JOIN fact WHERE substr(time, 1, 13) = hour";

#[cfg(test)]
mod tests {
    use stowage_db::args;
    use stowage_db::testing::plan_of;
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::domain::{Fact, Flow, Period, What};
    use crate::store::fact;
    use crate::store::tests::{Store, uid};

    #[tokio::test]
    async fn facts_of_an_account_are_looked_for_in_the_hours_of_a_period() {
        let store = Store::start().await;
        if store.db.is_postgres() {
            return;
        }
        let sql = format!("{ALL} SELECT id FROM {OF_EACH} AND s3uid = $1");
        let args = args!["a", "2026-11-23T15", "2026-11-23T17"];
        let plan = plan_of(&store.db, &sql, args).await;
        assert!(plan.iter().any(|step| step.contains("INDEX fact_of_hour")), "{plan:?}");
        let old = "SELECT count(*) FROM sqlite_master WHERE name = 'fact_of_account'";
        let (old,): (i64,) = store.db.fetch_one(old, args![]).await.unwrap();
        assert_eq!(old, 0);
    }

    #[tokio::test]
    async fn a_period_begins_and_ends_to_the_microsecond() {
        let store = Store::start().await;
        // Over the end of a day, a month and a year.
        let start = datetime!(2026-12-31 21:59:59.999999 UTC);
        let facts: Vec<Fact> = (0..10)
            .map(|n| Fact {
                id: format!("id-{n}"),
                s3uid: uid(1 + n % 2),
                bucket: "photos".to_owned(),
                time: start + Duration::minutes(30 * i64::from(n)),
                what: What::Moved(Flow::SentBytes, 1),
            })
            .collect();
        let new = facts.iter().map(|fact| fact::New {
            fact,
            digest: fact.digest(),
            span: fact::span_of(fact.time),
        });
        let mut tx = store.db.begin().await.unwrap();
        fact::insert(&mut tx, "log", &new.collect::<Vec<_>>()).await.unwrap();
        let microsecond = Duration::microseconds(1);
        for (from, to) in [
            (Duration::ZERO, Duration::hours(5)),
            (microsecond, Duration::hours(4)),
            (Duration::ZERO, Duration::hours(4) + microsecond),
            (Duration::minutes(30), Duration::minutes(31)),
            (Duration::hours(2), Duration::hours(2)),
            (Duration::hours(2), Duration::hours(2) + microsecond),
        ] {
            let period = Period { from: start + from, to: start + to };
            let within = |fact: &&Fact| {
                fact.s3uid == uid(1) && fact.time >= period.from && fact.time < period.to
            };
            let wanted: Vec<Fact> = facts.iter().filter(within).cloned().collect();
            let found = fact::page(&mut tx, &uid(1), period, None, 100).await.unwrap().0;
            assert_eq!(found, wanted, "{period:?}");
            let count = fact::count(&mut tx, &uid(1), period, 100).await.unwrap();
            assert_eq!(usize::try_from(count).unwrap(), wanted.len(), "{period:?}");
        }
    }
}
