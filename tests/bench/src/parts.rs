//! Each part in a process of its own, on PostgreSQL and RabbitMQ.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use stowage_proto::accounts::GetCustomerRequest;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_testkit::{Beside, PARTS, Parts, Site};

use crate::figure::Figure;
use crate::load::{AT_ONCE, at_once};
use crate::start::{IDLE, resident_mib};
use crate::{Flags, RATES_OUT_OF_REACH, orders};

/// Where the test run's database server is.
const SERVER: &str = "STOWAGE_TEST_DATABASE_URL";
/// How often both sides are measured in turn, so that a slow moment falls on both.
const ROUNDS: u32 = 3;
/// What the called role reads, as it reads it.
const SELECT: &str = "SELECT customer_id, email, currency, create_time FROM customer \
    WHERE customer_id = $1";

pub(crate) async fn measure(program: PathBuf, flags: &Flags) -> Vec<Figure> {
    if std::env::var_os(SERVER).is_none() {
        let why = format!("{SERVER} is not set: run this by `cargo xtask bench`");
        return vec![Figure::missing("five processes", why)];
    }
    let parts = Parts::start_program(program, RATES_OUT_OF_REACH).await;
    let site = parts.site(0);
    let mut figures = idle(&parts).await;
    figures.push(reads(&parts, &site, flags.facade_seconds).await);
    figures.extend(orders::measure(&site, orders_of_five(flags.orders / 2)).await);
    parts.settle().await;
    figures
}

/// What is promised of orders over five processes.
fn orders_of_five(orders: usize) -> orders::Load {
    let place = " over five processes";
    orders::Load { place, orders, evenly: 20, p99: Duration::from_millis(150), rate: 60.0 }
}

async fn idle(parts: &Parts) -> Vec<Figure> {
    tokio::time::sleep(IDLE).await;
    let figure = |part| {
        let what = format!("{part} idle, resident MiB");
        match resident_mib(parts.pid(part, 0)) {
            Ok(mib) => Figure::at_most(what, mib, 30.0),
            Err(why) => Figure::missing(what, why),
        }
    };
    PARTS.map(figure).into()
}

/// A read of one row through the gateway and a role, and the same by the database's client.
async fn reads(parts: &Parts, site: &Site, seconds: u64) -> Figure {
    const WHAT: &str = "GetCustomer ÷ its prepared select by sqlx";
    let customer = site.customer("reads@bench.example", "EUR").await;
    let bare = match pool(parts).await {
        Ok(pool) => pool,
        Err(error) => return Figure::missing(WHAT, error.to_string()),
    };
    let span = Duration::from_secs(seconds);
    let (mut through, mut below) = (0.0, 0.0);
    for round in 0..=ROUNDS {
        let of_calls = calls(site, (&customer.token, customer.id), span).await;
        let of_selects = selects(&bare, customer.id, span).await;
        match (of_calls, of_selects) {
            // The first round opens connections and fills caches.
            (Ok(_), Ok(_)) if round == 0 => {}
            (Ok(a), Ok(b)) => (through, below) = (through + a, below + b),
            (Err(why), _) | (_, Err(why)) => return Figure::missing(WHAT, why),
        }
    }
    let (a, b) = (through / f64::from(ROUNDS), below / f64::from(ROUNDS));
    let what = format!("{WHAT}, {AT_ONCE} clients ({a:.0}/s ÷ {b:.0}/s)");
    Figure::at_least(what, a / b, 0.5)
}

async fn pool(parts: &Parts) -> Result<PgPool, sqlx::Error> {
    let Beside::Schema { url, name } = parts.beside("accounts") else {
        return Err(sqlx::Error::Configuration("the database is a file".into()));
    };
    let options: PgConnectOptions = url.parse()?;
    let options = options.options([("search_path", name)]);
    PgPoolOptions::new().max_connections(u32::from(AT_ONCE)).connect_with(options).await
}

async fn calls(site: &Site, (token, id): (&str, i64), span: Duration) -> Result<f64, String> {
    at_once(span, || {
        // A connection of its own, as clients have.
        let own = Site::new(site.gateway, site.s3, String::new());
        let client = CustomerServiceClient::new(own.with_token(token));
        move || {
            let mut client = client.clone();
            let request = GetCustomerRequest { name: format!("customers/{id}") };
            async move {
                let answer = client.get_customer(request).await;
                answer.map(drop).map_err(|status| status.to_string())
            }
        }
    })
    .await
}

async fn selects(pool: &PgPool, id: i64, span: Duration) -> Result<f64, String> {
    at_once(span, || {
        let pool = pool.clone();
        move || {
            let pool = pool.clone();
            async move {
                let row = sqlx::query(SELECT).bind(id).fetch_one(&pool).await;
                row.map(drop).map_err(|error| error.to_string())
            }
        }
    })
    .await
}
