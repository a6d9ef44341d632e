//! Each part in a process of its own, on PostgreSQL and RabbitMQ.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use stowage_proto::accounts::GetCustomerRequest;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_testkit::{Beside, PARTS, Parts, Site};

use crate::figure::Figure;
use crate::hops::Hops;
use crate::load::{AT_ONCE, at_once};
use crate::start::{IDLE, resident_mib};
use crate::{Flags, RATES_OUT_OF_REACH, orders};

/// Where the test run's database server is.
pub(crate) const SERVER: &str = "STOWAGE_TEST_DATABASE_URL";
/// How often both sides are measured in turn, so that a slow moment falls on both.
const ROUNDS: u32 = 3;
/// What the called role reads, as it reads it.
pub(crate) const SELECT: &str = "SELECT customer_id, email, currency, create_time FROM customer \
    WHERE customer_id = $1";

pub(crate) async fn measure(program: PathBuf, flags: &Flags) -> Vec<Figure> {
    if std::env::var_os(SERVER).is_none() {
        let why = format!("{SERVER} is not set: run this by `cargo xtask bench`");
        return vec![Figure::missing("five processes", why)];
    }
    let parts = Parts::start_program(program, RATES_OUT_OF_REACH).await;
    let site = parts.site(0);
    let mut figures = idle(&parts).await;
    figures.extend(reads(&parts, &site, flags.facade_seconds).await);
    figures.extend(orders::measure(&site, orders_of_five(flags.orders / 2)).await);
    parts.settle().await;
    figures
}

/// What is promised of orders over five processes.
fn orders_of_five(orders: usize) -> orders::Load {
    let place = " over five processes";
    // The wait is promised at 20 a second, the rate as fast as they can be.
    let p99 = Duration::from_millis(150);
    orders::Load { place, orders, evenly: 20, p99, p99_at_once: None, rate: 60.0 }
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

/// A read of one row through the gateway and a role; the same by the database's client; and the
/// same by two bare servers, which is the most that two hops leave of it.
async fn reads(parts: &Parts, site: &Site, seconds: u64) -> Vec<Figure> {
    const WHAT: &str = "GetCustomer ÷ its prepared select by sqlx";
    const OF_BARE: &str = "GetCustomer ÷ the same through two bare tonic servers";
    let rates = match rates(parts, site, Duration::from_secs(seconds)).await {
        Ok(rates) => rates,
        Err(why) => return vec![Figure::missing(WHAT, &why), Figure::missing(OF_BARE, why)],
    };
    let [ours, select, bare] = rates;
    let what = |what, other| format!("{what}, {AT_ONCE} clients ({ours:.0}/s ÷ {other:.0}/s)");
    let two_hops = format!("two bare tonic servers ÷ the select ({bare:.0}/s ÷ {select:.0}/s)");
    vec![
        Figure::at_least(what(WHAT, select), ours / select, 0.5),
        Figure::ratio(two_hops, bare / select),
        Figure::at_least(what(OF_BARE, bare), ours / bare, 0.7),
    ]
}

/// Answers a second of the product, the select and the bare servers, measured in turn.
async fn rates(parts: &Parts, site: &Site, span: Duration) -> Result<[f64; 3], String> {
    let customer = site.customer("reads@bench.example", "EUR").await;
    let pool = pool(parts).await.map_err(|error| error.to_string())?;
    let hops = Hops::start(pool.clone()).map_err(|error| error.to_string())?;
    let caller = (customer.token.as_str(), customer.id);
    let mut sums = [0.0; 3];
    for round in 0..=ROUNDS {
        let rates = [
            calls(site.gateway, caller, span).await?,
            selects(&pool, customer.id, span).await?,
            calls(hops.address, caller, span).await?,
        ];
        // The first round opens connections and fills caches.
        if round > 0 {
            sums.iter_mut().zip(rates).for_each(|(sum, rate)| *sum += rate);
        }
    }
    Ok(sums.map(|sum| sum / f64::from(ROUNDS)))
}

async fn pool(parts: &Parts) -> Result<PgPool, sqlx::Error> {
    let Beside::Schema { url, name } = parts.beside("accounts") else {
        return Err(sqlx::Error::Configuration("the database is a file".into()));
    };
    let options: PgConnectOptions = url.parse()?;
    let options = options.options([("search_path", name)]);
    PgPoolOptions::new().max_connections(u32::from(AT_ONCE)).connect_with(options).await
}

async fn calls(
    address: SocketAddr,
    (token, id): (&str, i64),
    span: Duration,
) -> Result<f64, String> {
    at_once(span, || {
        // A connection of its own, as clients have.
        let own = Site::new(address, address, String::new());
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
