//! Accounts with a year of figures, put there by SQL as if they had come with facts.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use stowage_testkit::Process;
use stowage_types::{Clock as _, SystemClock};
use time::{Date, Month};

use crate::rankings::Size;
use crate::{RATES_OUT_OF_REACH, database};

/// Begins the name of a database; the number of accounts follows.
const DATABASE: &str = "stowage_bench_rankings";
/// Accounts of a customer.
const OF_CUSTOMER: i64 = 10;
const FIRST_CUSTOMER: i64 = 1_000_000;

/// What stands there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) first_month: Date,
    pub(crate) past_month: Date,
    /// A period that begins and ends within months, both days included.
    pub(crate) within: (Date, Date),
}

pub(crate) fn customer_of(n: i64) -> i64 {
    FIRST_CUSTOMER + n / OF_CUSTOMER
}

pub(crate) fn email_of(n: i64) -> String {
    format!("c{}@bench.example", customer_of(n))
}

/// In no order of the numbers.
pub(crate) fn s3uid_of(n: i64) -> String {
    format!("{:08x}{n:024x}", (n * 2_654_435_761) % 4_294_967_296)
}

/// What is written differently for the two.
struct Words {
    /// `account` of a role, as a table is named there.
    is_postgres: bool,
    /// The s3uid of account `n`.
    uid: &'static str,
}

const POSTGRES: Words = Words {
    is_postgres: true,
    uid: "lpad(to_hex((n * 2654435761) % 4294967296), 8, '0') || lpad(to_hex(n), 24, '0')",
};
const SQLITE: Words =
    Words { is_postgres: false, uid: "printf('%08x%024x', (n * 2654435761) % 4294967296, n)" };

impl Words {
    /// `INSERT INTO role.table (columns) SELECT values`, of each account `n`.
    fn insert(
        &self,
        (role, table): (&str, &str),
        columns: &str,
        values: &str,
        size: Size,
    ) -> String {
        let table = if self.is_postgres { format!("{role}.{table}") } else { table.to_owned() };
        let values = values.replace("UID", self.uid);
        let count = size.accounts;
        format!(
            "INSERT INTO {table} ({columns}) WITH RECURSIVE accounts (n) AS \
             (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM accounts WHERE n < {count}) \
             SELECT {values} FROM accounts"
        )
    }

    /// What each role is to know: the role, and a statement.
    fn statements(&self, size: Size, filled: &Filled) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let mut add = |role, table, columns, values: &str| {
            all.push((role, self.insert((role, table), columns, values, size)));
        };
        add(
            "metering",
            "meter",
            "s3uid, account_id, customer_id, email, email_lower, plan_id, location, \
             storage_type, billing, gb_bytes",
            "UID, 1000000 + n, 1000000 + n / 10, 'c' || (1000000 + n / 10) || '@bench.example', \
             'c' || (1000000 + n / 10) || '@bench.example', 1 + n % 5, \
             CASE WHEN n % 2 = 0 THEN 'NL' ELSE 'DE' END, \
             CASE WHEN n % 3 = 0 THEN 'archive' ELSE 'standard' END, \
             CASE WHEN n % 4 = 0 THEN 'whmcs' ELSE 'ledger' END, 1000000000",
        );
        add(
            "metering",
            "account",
            "s3uid, stored_bytes, newest_sample_time, as_of_time",
            &format!("UID, n * 1000000, {NOW}, {NOW}", NOW = moment(SystemClock.now().date())),
        );
        add(
            "metering",
            "bucket",
            "s3uid, bucket, stored_bytes, object_count, is_deleted, sample_time, as_of_time",
            &format!(
                "UID, 'bucket-' || n, n * 1000000, 1, false, {NOW}, {NOW}",
                NOW = moment(SystemClock.now().date())
            ),
        );
        for (place, month) in (1..).zip(months(filled.first_month, size.months)) {
            let values = format!(
                "'{:04}-{:02}', UID, ((n * 7919 + {place} * 104729) % 1000003) * 1000000, \
                 ((n * 104729 + {place} * 7919) % 1000003) * 1000000",
                month.year(),
                u8::from(month.month())
            );
            add("metering", "account_month", "month, s3uid, traffic_bytes, peak_bytes", &values);
        }
        for day in days(filled) {
            let start = moment(day);
            let stored = format!(
                "UID, '', 1, {start}, (n * 104729 % 1000003) * 1000000, \
                 (n * 104729 % 1000003) * 1000000, n * 1000000, {start}, '0'"
            );
            let moved = format!("UID, '', 1, {start}, n * 1000, n * 1000, 10, 10");
            add(
                "metering",
                "stored",
                "s3uid, bucket, step, start_time, peak_bytes, peak_before_bytes, last_bytes, \
                 last_time, byte_micros",
                &stored,
            );
            add(
                "metering",
                "traffic",
                "s3uid, bucket, step, start_time, received_bytes, sent_bytes, read_requests, \
                 write_requests",
                &moved,
            );
        }
        all.extend(self.sold(size));
        all
    }

    /// What accounts and billing know.
    fn sold(&self, size: Size) -> Vec<(&'static str, String)> {
        let now = moment(SystemClock.now().date());
        let later = moment(SystemClock.now().date() + time::Duration::days(20));
        let customers = Size { accounts: size.accounts / OF_CUSTOMER + 1, ..size };
        let customer = self.insert(
            ("accounts", "customer"),
            "customer_id, email, email_key, currency, create_time",
            &format!(
                "999999 + n, 'c' || (999999 + n) || '@bench.example', \
                 'c' || (999999 + n) || '@bench.example', 'EUR', {now}"
            ),
            customers,
        );
        let account = self.insert(
            ("accounts", "account"),
            "s3uid, account_id, customer_id, plan_id, plan_version, location, storage_type, state, \
             endpoint, quota_bytes, bucket_max, gb_bytes, bucket, service_id, order_id, \
             invoice_id, billing, create_time, active_time, currency",
            &format!(
                "UID, 1000000 + n, 1000000 + n / 10, 1 + n % 5, 1, 'NL', 'standard', 'ACTIVE', \
                 'https://s3.example.org', 0, 100, 1000000000, 'bucket-' || n, 1000000 + n, \
                 1000000 + n, 0, 'ledger', {now}, {now}, 'EUR'"
            ),
            size,
        );
        let key = self.insert(
            ("billing", "order_key"),
            "order_key, undone, create_time",
            &format!("'bench-' || n, false, {now}"),
            size,
        );
        let subscription = self.insert(
            ("billing", "subscription"),
            "order_key, provider, customer_id, s3uid, plan_id, plan_version, currency, location, \
             state, service_id, order_id, invoice_id, anchor_time, period_number, close_time, \
             create_time",
            &format!(
                "'bench-' || n, 'ledger', 1000000 + n / 10, UID, 1, 1, 'EUR', 'NL', 'active', \
                 1000000 + n, 1000000 + n, 0, {now}, 1, {later}, {now}"
            ),
            size,
        );
        vec![
            ("accounts", customer),
            ("accounts", account),
            ("billing", key),
            ("billing", subscription),
        ]
    }
}

/// Midnight, as both read it.
fn moment(day: Date) -> String {
    format!("'{:04}-{:02}-{:02}T00:00:00.000000Z'", day.year(), u8::from(day.month()), day.day())
}

fn months(first: Date, count: i32) -> Vec<Date> {
    (0..count).map(|by| later(first, by)).collect()
}

/// The first day of the month so many after.
fn later(first: Date, by: i32) -> Date {
    let months = first.year() * 12 + i32::from(u8::from(first.month())) - 1 + by;
    let month = u8::try_from(months.rem_euclid(12) + 1).ok().and_then(|n| Month::try_from(n).ok());
    let month = month.and_then(|m| Date::from_calendar_date(months.div_euclid(12), m, 1).ok());
    month.unwrap_or(first)
}

/// Which months and days have rows.
fn filled(size: Size) -> Filled {
    let today = SystemClock.now().date();
    let this = today.replace_day(1).unwrap_or(today);
    let first_month = later(this, 1 - size.months);
    let first = first_month.replace_day(22).unwrap_or(first_month);
    let last = later(this, -1).replace_day(10).unwrap_or(this);
    Filled { first_month, past_month: later(this, -3), within: (first, last) }
}

/// The days that rankings of the periods look at: before and behind whole months, and those before
/// a month begins, which say what it began with.
fn days(filled: &Filled) -> Vec<Date> {
    let (from, to) = filled.within;
    let before = |month: Date| month.previous_day().unwrap_or(month);
    let this = later(filled.past_month, 3);
    let ends = later(filled.first_month, 1);
    let begins = to.replace_day(1).unwrap_or(to);
    let stretch = |from: Date, end: Date| {
        std::iter::successors(Some(from), |day| day.next_day()).take_while(move |day| *day < end)
    };
    let mut days: Vec<Date> = stretch(from, ends).collect();
    days.push(from.previous_day().unwrap_or(from));
    days.push(before(filled.past_month));
    days.extend(stretch(begins, to.next_day().unwrap_or(to)));
    days.push(before(this));
    days.sort_unstable();
    days.dedup();
    days
}

/// On a database of its own.
pub(crate) async fn start_on_postgres(
    program: PathBuf,
    size: Size,
) -> Result<(Process, Filled), String> {
    let database = format!("{DATABASE}_{}", size.accounts);
    let (options, own) = database::anew(&database).await?;
    let mut settings = RATES_OUT_OF_REACH.to_vec();
    settings.push(("STOWAGE_DATABASE_URL", &own));
    let server = Process::start_program(program, &settings).await;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.map_err(text)?;
    let filled = filled(size);
    for (_, sql) in POSTGRES.statements(size, &filled) {
        run(&pool, sql).await?;
    }
    run(&pool, "VACUUM ANALYZE".to_owned()).await?;
    run(&pool, "CHECKPOINT".to_owned()).await?;
    pool.close().await;
    Ok((server, filled))
}

async fn run(pool: &PgPool, sql: String) -> Result<(), String> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map_err(text)?;
    Ok(())
}

/// In the server's files.
pub(crate) async fn fill_sqlite(server: &Process, size: Size) -> Result<Filled, String> {
    let filled = filled(size);
    let mut pools: Vec<(&str, SqlitePool)> = Vec::new();
    for role in ["metering", "accounts", "billing"] {
        let options = SqliteConnectOptions::new()
            .filename(server.data().join(format!("{role}.db")))
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(60));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        pools.push((role, pool.map_err(text)?));
    }
    for (role, sql) in SQLITE.statements(size, &filled) {
        let pool = pools.iter().find(|(of, _)| *of == role).map(|(_, pool)| pool);
        let pool = pool.ok_or("a role without a file")?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map_err(text)?;
    }
    for (_, pool) in pools {
        pool.close().await;
    }
    Ok(filled)
}

fn text(error: sqlx::Error) -> String {
    error.to_string()
}
