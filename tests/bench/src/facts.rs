//! Taking facts: how many a second are stored, each once, beside bare inserts of the same rows: of
//! the facts alone, and of the facts with what they add to.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, PgPool, QueryBuilder, SqlitePool};
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::{Fact, FactKind, RecordFactsRequest};
use stowage_testkit::{Process, Site};
use stowage_types::{Clock as _, SystemClock, timestamp};
use time::OffsetDateTime;

use crate::figure::Figure;
use crate::start::resident_mib;
use crate::{RATES_OUT_OF_REACH, database, rolled};

/// Facts of a message, which is a transaction.
const BATCH: usize = 10_000;
/// Accounts that they are of, with one bucket each.
const ACCOUNTS: usize = 2_000;
/// Kinds told of each: a front tells these of every bucket it has seen.
const KINDS: [FactKind; 5] = [
    FactKind::ReceivedBytes,
    FactKind::SentBytes,
    FactKind::ReadRequests,
    FactKind::WriteRequests,
    FactKind::RefusedRequests,
];
/// Batches of an hour, as a collector sends one every quarter of it.
const BATCHES_OF_HOUR: usize = 4;
/// Batches that each figure is measured over.
const ROUNDS: usize = 10;
/// Rows of one bare insert.
const BARE_ROWS: usize = 500;
/// The least number of facts a second on PostgreSQL.
const RATE: f64 = 20_000.0;
/// The least part of the bare inserts.
const OF_BARE: f64 = 0.5;
/// How much more a fact may cost when many are stored.
const GROWTH: f64 = 1.3;
/// The database on the server for tests.
const DATABASE: &str = "stowage_bench_facts";

/// Puts facts into the table as if they had been taken: `$1` of them, of the last 30 days.
const FILL_POSTGRES: &str = "INSERT INTO fact (span, source, id, digest, s3uid, bucket, kind, \
    time, value, object_count) SELECT \
    extract(epoch FROM at)::bigint / 691200, 'fill/' || n % 4, lpad(n::text, 12, '0'), \
    decode(md5(n::text), 'hex'), md5((n % 100000)::text), 'photos', 3 + n % 6, at, n, 0 \
    FROM (SELECT n, now() - (($1 - n) * (interval '30 days' / $1)) AS at \
    FROM generate_series(1::bigint, $1) n) facts";
const FILL_SQLITE: &str = "INSERT INTO fact (span, source, id, digest, s3uid, bucket, kind, \
    time, value, object_count) WITH RECURSIVE facts (n) AS \
    (SELECT 1 UNION ALL SELECT n + 1 FROM facts WHERE n < $1) SELECT \
    unixepoch('now') / 691200, 'fill/' || n % 4, printf('%012d', n), zeroblob(16), \
    printf('%032x', (n * 7919) % 100000), 'photos', 3 + n % 6, \
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-' || (($1 - n) * 2592000.0 / $1) || ' seconds'), \
    n, 0 FROM facts";

/// The same facts for both sides.
struct Facts {
    source: &'static str,
    now: OffsetDateTime,
    batches: usize,
}

impl Facts {
    fn new(source: &'static str) -> Self {
        Self { source, now: SystemClock.now(), batches: 0 }
    }

    fn next(&mut self) -> Vec<Fact> {
        let hours = i64::try_from(self.batches / BATCHES_OF_HOUR).unwrap_or(0);
        let time = self.now - time::Duration::days(9) + time::Duration::hours(hours);
        let first = self.batches * BATCH;
        self.batches += 1;
        let of = |n: usize| Fact {
            id: format!("{:012}", first + n),
            s3uid: format!("{:032x}", (n / KINDS.len()) * 7919),
            bucket: "photos".to_owned(),
            time: Some(timestamp(time)),
            kind: KINDS[n % KINDS.len()].into(),
            value: i64::try_from(n).unwrap_or(1) + 1,
            object_count: 0,
        };
        (0..ACCOUNTS * KINDS.len()).map(of).collect()
    }
}

pub(crate) async fn measure(program: PathBuf, stored: i64) -> Vec<Figure> {
    let mut figures = match postgres(program.clone(), stored).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing("facts a second on PostgreSQL", why)],
    };
    figures.extend(match sqlite(program, stored).await {
        Ok(figures) => figures,
        Err(why) => vec![Figure::missing("facts a second on SQLite", why)],
    });
    figures
}

async fn postgres(program: PathBuf, stored: i64) -> Result<Vec<Figure>, String> {
    let (options, own) = database::anew(DATABASE).await?;
    let options = options.options([("search_path", "metering")]);
    let mut settings = RATES_OUT_OF_REACH.to_vec();
    settings.push(("STOWAGE_DATABASE_URL", &own));
    let server = Process::start_program(program, &settings).await;
    let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await.map_err(text)?;
    for table in rolled::TABLES.iter().chain(&["fact"]) {
        sqlx::raw_sql(rolled::like(table)).execute(&pool).await.map_err(text)?;
    }
    let side = Side { name: "PostgreSQL", target: Some(RATE), stored };
    let bare =
        async |facts: &[Fact], all: bool| bare_postgres(&pool, facts, all).await.map_err(text);
    let fill = async |count: i64| {
        sqlx::query(FILL_POSTGRES).bind(count).execute(&pool).await.map_err(text)?;
        sqlx::raw_sql("ANALYZE fact; CHECKPOINT").execute(&pool).await.map_err(text)?;
        Ok(())
    };
    let figures = both(&server, &side, bare, fill).await;
    drop(server);
    pool.close().await;
    figures
}

async fn sqlite(program: PathBuf, stored: i64) -> Result<Vec<Figure>, String> {
    let server = Process::start_program(program, RATES_OUT_OF_REACH).await;
    let open = async |name: &str, create: bool| {
        let options = SqliteConnectOptions::new()
            .filename(server.data().join(name))
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(60));
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(text)
    };
    let (bare_file, facts_file) = (open("bare.db", true).await?, open("metering.db", false).await?);
    for table in rolled::TABLES.iter().chain(&["fact"]) {
        let make = "SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql <> ''";
        let make = sqlx::query_scalar(make).bind(table).fetch_all(&facts_file).await;
        for sql in make.map_err(text)? {
            let sql: String = sql;
            // SQLite quotes the name of a table that it has renamed.
            let sql = sql.replace(&format!("\"{table}\""), table);
            let sql = ["TABLE", "ON"].iter().fold(sql, |sql, word| {
                sql.replace(&format!("{word} {table}"), &format!("{word} bare_{table}"))
            });
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&bare_file).await.map_err(text)?;
        }
    }
    let side = Side { name: "SQLite", target: None, stored };
    let bare =
        async |facts: &[Fact], all: bool| bare_sqlite(&bare_file, facts, all).await.map_err(text);
    let fill = async |count: i64| {
        sqlx::query(FILL_SQLITE).bind(count).execute(&facts_file).await.map_err(text)?;
        let settle = "PRAGMA wal_checkpoint(TRUNCATE)";
        sqlx::raw_sql(settle).execute(&facts_file).await.map_err(text)?;
        Ok(())
    };
    both(&server, &side, bare, fill).await
}

struct Side {
    name: &'static str,
    target: Option<f64>,
    /// How many facts there are for the second half.
    stored: i64,
}

/// All sides in turn, so that a slow moment falls on all; ours alone before that, and after it
/// among many facts.
async fn both(
    server: &Process,
    side: &Side,
    bare: impl AsyncFn(&[Fact], bool) -> Result<(), String>,
    fill: impl AsyncFn(i64) -> Result<(), String>,
) -> Result<Vec<Figure>, String> {
    let Side { name, target, stored } = side;
    let idle = resident_mib(server.pid())?;
    let (mut facts, mut same) = (Facts::new("bench/one"), Facts::new("bench/bare"));
    record(&server.site, &mut facts).await?;
    let has = i64::try_from((ROUNDS + 1) * BATCH).unwrap_or(0);
    let few = alone(server, &mut facts).await?;
    bare(&same.next(), true).await?;
    let mut ours = Duration::ZERO;
    // Of the facts alone, and with what they add to.
    let mut theirs = [Duration::ZERO; 2];
    for _ in 0..ROUNDS {
        ours += record(&server.site, &mut facts).await?;
        for (time, with_all) in theirs.iter_mut().zip([false, true]) {
            let rows = same.next();
            let begun = Instant::now();
            bare(&rows, with_all).await?;
            *time += begun.elapsed();
        }
    }
    let (rate, [ceiling, of_all]) = (rate_of(ours), theirs.map(rate_of));
    let what = format!("facts a second on {name}, in batches of {BATCH}");
    let mut figures = vec![match target {
        Some(target) => Figure::at_least(what, rate, *target),
        None => Figure::ratio(what, rate),
    }];
    let what = format!("facts on {name} ÷ bare inserts ({rate:.0}/s ÷ {ceiling:.0}/s)");
    figures.push(Figure::at_least(what, rate / ceiling, OF_BARE));
    let what = format!(
        "facts on {name} ÷ bare inserts of them and what they add to ({rate:.0}/s ÷ {of_all:.0}/s)"
    );
    figures.push(Figure::at_least(what, rate / of_all, OF_BARE));
    fill(stored - i64::try_from((2 * ROUNDS + 1) * BATCH).unwrap_or(0)).await?;
    record(&server.site, &mut facts).await?;
    let many = alone(server, &mut facts).await?;
    let what = format!("cost of a fact on {name} at {stored} stored ÷ at {has}");
    figures.push(Figure::at_most(what, many.as_secs_f64() / few.as_secs_f64(), GROWTH));
    let what = format!("all roles behind that, on {name}, resident MiB (idle: {idle:.0})");
    figures.push(Figure::ratio(what, resident_mib(server.pid())?));
    Ok(figures)
}

/// How long batches take that come one after the other, with nothing between them.
async fn alone(server: &Process, facts: &mut Facts) -> Result<Duration, String> {
    let mut took = Duration::ZERO;
    for _ in 0..ROUNDS {
        took += record(&server.site, facts).await?;
    }
    Ok(took)
}

fn rate_of(time: Duration) -> f64 {
    f64::from(u32::try_from(ROUNDS * BATCH).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

/// Has a batch taken, through the gateway; how long it took.
async fn record(site: &Site, facts: &mut Facts) -> Result<Duration, String> {
    let source = facts.source.to_owned();
    let message = RecordFactsRequest { source, facts: facts.next(), ..Default::default() };
    let mut client = FactServiceClient::new(site.as_admin());
    let begun = Instant::now();
    let answer = client.record_facts(futures_util::stream::iter([message])).await;
    let took = begun.elapsed();
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    match usize::try_from(answer.stored_count) {
        Ok(BATCH) => Ok(took),
        _ => Err(format!("{} of {BATCH} were stored", answer.stored_count)),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Inserts rows as whoever keeps nothing but them would; or, with `all`, them and what they add to.
macro_rules! bare {
    ($name:ident, $pool:ty, $database:ty, $rolled:path) => {
        async fn $name(pool: &$pool, facts: &[Fact], all: bool) -> Result<(), sqlx::Error> {
            let mut tx = pool.begin().await?;
            for facts in facts.chunks(BARE_ROWS) {
                let mut sql = QueryBuilder::<$database>::new(
                    "INSERT INTO bare_fact (span, source, id, digest, s3uid, bucket, kind, time, \
                     value, object_count) ",
                );
                sql.push_values(facts, |mut row, fact| {
                    let time = fact.time.and_then(|time| stowage_types::from_timestamp(&time).ok());
                    row.push_bind(2_600_i64)
                        .push_bind("bench/one")
                        .push_bind(&fact.id)
                        .push_bind(vec![7_u8; 16])
                        .push_bind(&fact.s3uid)
                        .push_bind(&fact.bucket)
                        .push_bind(i64::from(fact.kind))
                        .push_bind(time)
                        .push_bind(fact.value)
                        .push_bind(fact.object_count);
                });
                sql.build().execute(&mut *tx).await?;
            }
            if all {
                $rolled(&mut tx, facts, &KINDS).await?;
            }
            tx.commit().await
        }
    };
}

bare!(bare_postgres, PgPool, sqlx::Postgres, rolled::write_postgres);
bare!(bare_sqlite, SqlitePool, sqlx::Sqlite, rolled::write_sqlite);
