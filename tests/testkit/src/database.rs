//! Reading a server's databases beside it, for what no call shows: that nothing is left over.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// How long a reader waits for a database that is being opened.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first column of a query's answer, as texts, in their order.
///
/// # Errors
/// Why the database could not be read.
pub async fn read_texts(path: &Path, query: &'static str) -> Result<Vec<String>, String> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
    let told = |error: sqlx::Error| format!("{}: {query}: {error}", path.display());
    let mut connection = options.disable_statement_logging().connect().await.map_err(told)?;
    let mut rows: Vec<String> =
        sqlx::query_scalar(query).fetch_all(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    rows.sort();
    Ok(rows)
}
