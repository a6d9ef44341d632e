//! Closing and rating periods, and computing invoices again, on PostgreSQL.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row as _};
use stowage_proto::billing::VerifyInvoicesRequest;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_testkit::{Beside, Parts, Site};

use crate::RATES_OUT_OF_REACH;
use crate::figure::Figure;
use crate::parts::SERVER;
use crate::start::resident_mib;

/// Longest time that all may take.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Invoices that are computed with one call.
const VERIFIED_AT_ONCE: i32 = 1000;
/// How often the role looks for what is due.
const OFTEN: (&str, &str) = ("STOWAGE_BILLING_CLOSE_INTERVAL_MS", "500");

/// What metering knows: in the month, ten days with a sample and with traffic for each account.
const FACTS: [&str; 3] = [
    "INSERT INTO account (s3uid, stored_bytes, newest_sample_time, as_of_time) \
     SELECT md5('bench-' || n), 1, now(), now() FROM generate_series(1, $1::bigint) n",
    "INSERT INTO stored (s3uid, bucket, step, start_time, peak_bytes, peak_before_bytes, \
     last_bytes, last_time, byte_micros) \
     SELECT md5('bench-' || n), '', 1, day, 5000000000 + n * 1000, 5000000000 + n * 1000, \
     4000000000 + n * 1000, day + interval '12 hours', \
     ((4500000000 + n * 1000)::numeric * 86400000000)::text \
     FROM generate_series(1, $1::bigint) n, \
     generate_series(date_trunc('day', now() at time zone 'utc') at time zone 'utc' \
     - interval '29 days', now() - interval '2 days', interval '3 days') day",
    "INSERT INTO traffic (s3uid, bucket, step, start_time, received_bytes, sent_bytes, \
     read_requests, write_requests) \
     SELECT s3uid, '', 1, start_time, 2000000000, 1000000000, 10, 10 FROM stored \
     WHERE s3uid IN (SELECT md5('bench-' || n) FROM generate_series(1, $1::bigint) n)",
];

/// What billing knows: active subscriptions whose first period has ended three hours ago.
const SOLD: [&str; 3] = [
    "INSERT INTO order_key (order_key, undone, create_time) \
     SELECT 'bench-' || n, false, now() FROM generate_series(1, $1::bigint) n",
    "INSERT INTO ledger_order (order_key, customer_id, state, order_id, service_id, invoice_id, \
     s3uid, plan_id, plan_version, create_time, activate_time) \
     SELECT 'bench-' || n, 1000000 + n, 'active', 1000000 + n, 1000000 + n, 0, \
     md5('bench-' || n), 1, 1, now(), now() FROM generate_series(1, $1::bigint) n",
    "INSERT INTO subscription (order_key, provider, customer_id, s3uid, plan_id, plan_version, \
     currency, location, state, service_id, order_id, invoice_id, anchor_time, period_number, \
     close_time, create_time) \
     SELECT 'bench-' || n, 'ledger', 1000000 + n, md5('bench-' || n), 1, 1, 'EUR', 'NL', \
     'active', 1000000 + n, 1000000 + n, 0, anchor, 1, anchor + interval '1 month', now() \
     FROM generate_series(1, $1::bigint) n, \
     (SELECT now() - interval '1 month' - interval '3 hours' AS anchor) a",
];

/// How far it has come: how many are closed and invoiced, and how long it took.
const PROGRESS: &str = "SELECT count(*), \
     coalesce(extract(epoch FROM max(issue_time) - min(create_time)), 0)::float8 \
     FROM bill WHERE bill_key LIKE 'bench-%' AND invoice_id > 0";

/// In processes of their own, on PostgreSQL.
pub(crate) async fn of_parts(program: PathBuf, count: i64) -> Vec<Figure> {
    if std::env::var_os(SERVER).is_none() {
        let why = format!("{SERVER} is not set: run this by `cargo xtask bench`");
        return vec![Figure::missing("closing and rating", why)];
    }
    let further: Vec<_> = RATES_OUT_OF_REACH.iter().copied().chain([OFTEN]).collect();
    let parts = Parts::start_program(program, &further).await;
    let site = parts.site(0);
    measure(&parts, &site, count).await
}

async fn measure(parts: &Parts, site: &Site, count: i64) -> Vec<Figure> {
    let what = format!("closing and rating {count} subscriptions, each with an invoice");
    let elapsed = match close(parts, count).await {
        Ok(elapsed) => elapsed,
        Err(why) => return vec![Figure::missing(what, why)],
    };
    let mut figures = vec![Figure::time(what, elapsed, CLOSED_WITHIN)];
    match resident_mib(parts.pid("billing", 0)) {
        Ok(mib) => figures.push(Figure::ratio("billing behind that, resident MiB", mib)),
        Err(why) => figures.push(Figure::missing("billing behind that, resident MiB", why)),
    }
    figures.push(verify(site).await);
    figures
}

async fn close(parts: &Parts, count: i64) -> Result<Duration, String> {
    let metering = pool(parts, "metering").await.map_err(|error| error.to_string())?;
    let billing = pool(parts, "billing").await.map_err(|error| error.to_string())?;
    for (pool, statements) in [(&metering, FACTS), (&billing, SOLD)] {
        for sql in statements {
            let done = sqlx::query(sql).bind(count).execute(pool).await;
            done.map_err(|error| error.to_string())?;
        }
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let row = sqlx::query(PROGRESS).fetch_one(&billing).await;
        let row = row.map_err(|error| error.to_string())?;
        let (closed, seconds): (i64, f64) = (row.get(0), row.get(1));
        if closed >= count {
            return Ok(Duration::from_secs_f64(seconds));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err("they were not closed in ten minutes".to_owned())
}

/// Computes every invoice again, through the gateway.
async fn verify(site: &Site) -> Figure {
    const WHAT: &str = "invoices verified per second";
    let mut invoices = InvoiceServiceClient::new(site.as_admin());
    let (mut verified, mut page_token) = (0, String::new());
    let begun = Instant::now();
    loop {
        let request = VerifyInvoicesRequest { page_size: VERIFIED_AT_ONCE, page_token };
        let page = match invoices.verify_invoices(request).await {
            Ok(page) => page.into_inner(),
            Err(status) => return Figure::missing(WHAT, status.message()),
        };
        if let Some(wrong) = page.disagreeing.first() {
            return Figure::missing(WHAT, format!("{} does not agree", wrong.name));
        }
        verified += page.verified_count;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let rate = f64::from(verified) / begun.elapsed().as_secs_f64();
    Figure::at_least(format!("{WHAT} ({verified} of them)"), rate, 2000.0)
}

/// Connections to the database of a role.
pub(crate) async fn pool(parts: &Parts, part: &'static str) -> Result<PgPool, sqlx::Error> {
    let Beside::Schema { url, name } = parts.beside(part) else {
        return Err(sqlx::Error::Configuration("the database is a file".into()));
    };
    let options: PgConnectOptions = url.parse()?;
    let options = options.options([("search_path", name)]);
    PgPoolOptions::new().max_connections(2).connect_with(options).await
}
