//! The rows that facts change beside their own, written by whoever knows beforehand what they come
//! to: hours and days, of buckets and of accounts, months, and how young it all is.

use sqlx::{AssertSqlSafe, QueryBuilder};
use stowage_proto::metering::{Fact, FactKind};
use time::{OffsetDateTime, Time};

/// Rows of one statement.
const ROWS: usize = 500;
/// The tables, as the role has them.
pub(crate) const TABLES: [&str; 4] = ["traffic", "account_month", "bucket", "account"];
/// What is written into a table of them: its columns, and what becomes of a row that is there.
const TRAFFIC: [&str; 2] = [
    "INSERT INTO bare_traffic (s3uid, bucket, step, start_time, received_bytes, sent_bytes, \
     read_requests, write_requests, refused_requests, refused_bytes) ",
    " ON CONFLICT (s3uid, bucket, step, start_time) DO UPDATE SET \
     received_bytes = bare_traffic.received_bytes + excluded.received_bytes, \
     sent_bytes = bare_traffic.sent_bytes + excluded.sent_bytes, \
     read_requests = bare_traffic.read_requests + excluded.read_requests, \
     write_requests = bare_traffic.write_requests + excluded.write_requests, \
     refused_requests = bare_traffic.refused_requests + excluded.refused_requests",
];
const MONTH: [&str; 2] = [
    "INSERT INTO bare_account_month (month, s3uid, traffic_bytes, peak_bytes) ",
    " ON CONFLICT (month, s3uid) DO UPDATE SET \
     traffic_bytes = bare_account_month.traffic_bytes + excluded.traffic_bytes",
];
const BUCKET: [&str; 2] = [
    "INSERT INTO bare_bucket (s3uid, bucket, stored_bytes, object_count, is_deleted, as_of_time) ",
    " ON CONFLICT (s3uid, bucket) DO UPDATE SET as_of_time = excluded.as_of_time",
];
const ACCOUNT: [&str; 2] = [
    "INSERT INTO bare_account (s3uid, stored_bytes, as_of_time) ",
    " ON CONFLICT (s3uid) DO UPDATE SET as_of_time = excluded.as_of_time",
];

/// What an account moved in one hour, in its one bucket.
struct Moved<'a> {
    s3uid: &'a str,
    bucket: &'a str,
    time: OffsetDateTime,
    /// By kind.
    sums: [i64; 5],
}

impl<'a> Moved<'a> {
    /// Facts that stand together in one message are of one account, bucket and hour.
    fn all_of(facts: &'a [Fact], kinds: &[FactKind; 5]) -> Vec<Self> {
        let of = |facts: &'a [Fact]| {
            let time = facts[0].time.and_then(|time| stowage_types::from_timestamp(&time).ok());
            let sum = |kind: &FactKind| {
                let of_kind = facts.iter().filter(|fact| fact.kind() == *kind);
                of_kind.map(|fact| fact.value).sum()
            };
            Self {
                s3uid: &facts[0].s3uid,
                bucket: &facts[0].bucket,
                time: time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
                sums: kinds.each_ref().map(sum),
            }
        };
        facts.chunk_by(|a, b| a.s3uid == b.s3uid).map(of).collect()
    }

    /// The windows it is in, in the order of their keys.
    fn windows(&self) -> [(&str, i64, OffsetDateTime); 4] {
        let day = self.time.replace_time(Time::MIDNIGHT);
        let hour = stowage_types::hour_of(self.time);
        [("", 0, hour), ("", 1, day), (self.bucket, 0, hour), (self.bucket, 1, day)]
    }
}

macro_rules! writer {
    ($name:ident, $database:ty) => {
        /// Adds what facts come to, as one transaction of theirs.
        pub(crate) async fn $name(
            connection: &mut <$database as sqlx::Database>::Connection,
            facts: &[Fact],
            kinds: &[FactKind; 5],
        ) -> Result<(), sqlx::Error> {
            let moved = Moved::all_of(facts, kinds);
            let windows: Vec<_> =
                moved.iter().flat_map(|of| of.windows().map(|window| (of, window))).collect();
            for windows in windows.chunks(ROWS) {
                let mut sql = QueryBuilder::<$database>::new(TRAFFIC[0]);
                sql.push_values(windows, |mut row, (of, (bucket, step, start))| {
                    row.push_bind(of.s3uid).push_bind(*bucket).push_bind(*step).push_bind(*start);
                    for sum in of.sums {
                        row.push_bind(sum);
                    }
                    row.push_bind(0_i64);
                });
                sql.push(TRAFFIC[1]).build().execute(&mut *connection).await?;
            }
            for moved in moved.chunks(ROWS) {
                let mut months = QueryBuilder::<$database>::new(MONTH[0]);
                months.push_values(moved, |mut row, of| {
                    let month = of.time.date().to_string()[..7].to_owned();
                    let bytes = of.sums[0] + of.sums[1];
                    row.push_bind(month).push_bind(of.s3uid).push_bind(bytes).push_bind(0_i64);
                });
                months.push(MONTH[1]).build().execute(&mut *connection).await?;
                let mut buckets = QueryBuilder::<$database>::new(BUCKET[0]);
                buckets.push_values(moved, |mut row, of| {
                    row.push_bind(of.s3uid).push_bind(of.bucket).push_bind(0_i64);
                    row.push_bind(0_i64).push_bind(false).push_bind(of.time);
                });
                buckets.push(BUCKET[1]).build().execute(&mut *connection).await?;
                let mut accounts = QueryBuilder::<$database>::new(ACCOUNT[0]);
                accounts.push_values(moved, |mut row, of| {
                    row.push_bind(of.s3uid).push_bind(0_i64).push_bind(of.time);
                });
                accounts.push(ACCOUNT[1]).build().execute(&mut *connection).await?;
            }
            Ok(())
        }
    };
}

writer!(write_postgres, sqlx::Postgres);
writer!(write_sqlite, sqlx::Sqlite);

/// Makes a table as another is, without its rows.
pub(crate) fn like(table: &str) -> AssertSqlSafe<String> {
    let room = if table == "fact" { "" } else { " WITH (fillfactor = 60)" };
    AssertSqlSafe(format!("CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL){room}"))
}
