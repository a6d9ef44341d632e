//! A database of a figure's own, on the server for tests.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::parts::SERVER;

/// Makes an empty one: how to connect to it, and its address for the server.
pub(crate) async fn anew(name: &str) -> Result<(PgConnectOptions, String), String> {
    let text = |error: sqlx::Error| error.to_string();
    let url = std::env::var_os(SERVER).ok_or(format!("{SERVER} is not set"))?;
    let url = url.to_string_lossy();
    let admin: PgConnectOptions = url.parse().map_err(text)?;
    let mut connection = admin.connect().await.map_err(text)?;
    for sql in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(text)?;
    }
    let options = admin.database(name);
    let own = options.to_url_lossy().to_string();
    let own = own.split('?').next().unwrap_or_default().to_owned();
    Ok((options, own))
}
