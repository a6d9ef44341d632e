//! Reading a server's databases beside it, for what no call shows: that nothing is left over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// How long a reader waits for a database that is being opened.
const PATIENCE: Duration = Duration::from_secs(10);

/// A role's database, looked at beside the server.
#[derive(Debug, Clone)]
pub enum Beside {
    /// A file.
    File(PathBuf),
    /// A schema of a PostgreSQL server.
    Schema {
        /// The address of the database.
        url: String,
        /// The name of the role.
        name: &'static str,
    },
}

impl Beside {
    /// Counts by a query.
    ///
    /// # Errors
    /// Why the database could not be read.
    pub async fn count(&self, query: &'static str) -> Result<i64, sqlx::Error> {
        match self {
            Self::File(path) => {
                let mut connection = file(path).read_only(true).connect().await?;
                let count = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
                connection.close().await?;
                Ok(count)
            }
            Self::Schema { url, name } => {
                let mut connection = schema(url, name)?.connect().await?;
                let count = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
                connection.close().await?;
                Ok(count)
            }
        }
    }

    /// Changes something by a statement with bytes and a number.
    ///
    /// # Errors
    /// Why the database could not be written.
    pub async fn write(
        &self,
        statement: &'static str,
        (bytes, number): (Vec<u8>, i64),
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::File(path) => {
                let mut connection = file(path).connect().await?;
                let statement = sqlx::query(statement).bind(bytes).bind(number);
                statement.execute(&mut connection).await?;
                connection.close().await
            }
            Self::Schema { url, name } => {
                let mut connection = schema(url, name)?.connect().await?;
                let statement = sqlx::query(statement).bind(bytes).bind(number);
                statement.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }
}

fn file(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
    options.disable_statement_logging()
}

fn schema(url: &str, name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.options([("search_path", name)]).disable_statement_logging())
}

/// The first column of a query's answer, as texts, in their order. Of files only.
///
/// # Errors
/// Why the database could not be read.
pub async fn read_texts(path: &Path, query: &'static str) -> Result<Vec<String>, String> {
    let told = |error: sqlx::Error| format!("{}: {query}: {error}", path.display());
    let mut connection = file(path).read_only(true).connect().await.map_err(told)?;
    let mut rows: Vec<String> =
        sqlx::query_scalar(query).fetch_all(&mut connection).await.map_err(told)?;
    connection.close().await.map_err(told)?;
    rows.sort();
    Ok(rows)
}
