//! What tables a database has, by its own catalogue.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::CopyError;

/// The table of migrations: each database keeps its own.
const MIGRATIONS: &str = "_sqlx_migrations";

/// What a column holds, by what migrations call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Bigint,
    Boolean,
    Bytea,
    Uuid,
    Time,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Type,
}

/// A table and its schema on the server.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) schema: &'static str,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Tables whose rows must be there first.
    refers_to: Vec<String>,
}

impl Type {
    /// From SQLite's name, which is that of the migration, or from PostgreSQL's own.
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "text" => Self::Text,
            "bigint" | "int8" => Self::Bigint,
            "boolean" | "bool" => Self::Boolean,
            "bytea" => Self::Bytea,
            "uuid" => Self::Uuid,
            "timestamptz" => Self::Time,
            "jsonb" => Self::Json,
            _ => return None,
        })
    }
}

impl Table {
    #[cfg(test)]
    pub(super) fn for_test(columns: Vec<Column>) -> Self {
        Self { schema: "role", name: "thing".to_owned(), columns, refers_to: Vec::new() }
    }

    /// `accounts.customer`, for people.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The table as the server is told of it.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.name)
    }

    /// All columns as a list.
    pub(super) fn column_list(&self) -> String {
        self.list(|column| format!("\"{}\"", column.name))
    }

    /// Reads all rows of the file, each value as a text; the same texts as
    /// [`Self::select_from_server`].
    pub(super) fn select_from_file(&self) -> String {
        let value = |Column { name, of }: &Column| match of {
            // `hex` makes an empty text of NULL.
            Type::Uuid | Type::Bytea => {
                format!("CASE WHEN \"{name}\" IS NOT NULL THEN lower(hex(\"{name}\")) END")
            }
            _ => format!("CAST(\"{name}\" AS text)"),
        };
        format!("SELECT {} FROM \"{}\"", self.list(value), self.name)
    }

    /// Reads all rows of the server, each value as a text.
    pub(super) fn select_from_server(&self) -> String {
        let value = |Column { name, of }: &Column| match of {
            Type::Text => format!("\"{name}\""),
            Type::Bigint | Type::Json => format!("\"{name}\"::text"),
            Type::Boolean => format!("\"{name}\"::int::text"),
            Type::Bytea => format!("encode(\"{name}\", 'hex')"),
            Type::Uuid => format!("replace(\"{name}\"::text, '-', '')"),
            Type::Time => {
                format!(
                    "to_char(\"{name}\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
                )
            }
        };
        format!("SELECT {} FROM {}", self.list(value), self.quoted())
    }

    /// Columns of integers.
    pub(super) fn integers(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.of == Type::Bigint)
    }

    fn list(&self, show: impl Fn(&Column) -> String) -> String {
        self.columns.iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

/// The tables of a file, each after those that it refers to.
pub(super) async fn of_file(
    connection: &mut SqliteConnection,
    schema: &'static str,
) -> Result<Vec<Table>, CopyError> {
    let failed = |error: sqlx::Error| CopyError::source(schema, error);
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name <> $1 ORDER BY name",
    )
    .bind(MIGRATIONS)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let mut tables = Vec::new();
    for name in names {
        let columns: Vec<(String, String)> =
            sqlx::query_as("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
                .bind(&name)
                .fetch_all(&mut *connection)
                .await
                .map_err(failed)?;
        let refers_to: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(&mut *connection)
                .await
                .map_err(failed)?;
        let columns = typed(schema, &name, columns)?;
        tables.push(Table { schema, name, columns, refers_to });
    }
    in_order(schema, tables)
}

/// Makes sure that the server has the same tables and columns. `false`: it has no such schema.
pub(super) async fn is_on_server(
    connection: &mut PgConnection,
    schema: &'static str,
    tables: &[Table],
) -> Result<bool, CopyError> {
    let failed = |error: sqlx::Error| CopyError::target(schema, error);
    let found: Vec<(String, String, String)> = sqlx::query_as(
        // Partitions are of the table that they are of.
        "SELECT table_name::text, column_name::text, udt_name::text \
         FROM information_schema.columns WHERE table_schema = $1 AND table_name <> $2 \
         AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition \
         AND relnamespace = to_regnamespace(table_schema))",
    )
    .bind(schema)
    .bind(MIGRATIONS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    if found.is_empty() {
        return Ok(false);
    }
    let names: BTreeSet<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let theirs: BTreeSet<&str> = found.iter().map(|(table, ..)| table.as_str()).collect();
    if let Some(name) = names.symmetric_difference(&theirs).next() {
        return Err(unlike(schema, name));
    }
    for table in tables {
        let columns = found.iter().filter(|(of, ..)| *of == table.name);
        let columns = columns.map(|(_, name, of)| (name.clone(), of.clone())).collect();
        let (mut theirs, mut ours) = (typed(schema, &table.name, columns)?, table.columns.clone());
        theirs.sort_by(|a, b| a.name.cmp(&b.name));
        ours.sort_by(|a, b| a.name.cmp(&b.name));
        if theirs != ours {
            return Err(unlike(schema, &table.name));
        }
    }
    Ok(true)
}

fn typed(
    schema: &str,
    table: &str,
    columns: Vec<(String, String)>,
) -> Result<Vec<Column>, CopyError> {
    let column = |(name, of): (String, String)| {
        let of = Type::of(&of).ok_or_else(|| unlike(schema, table))?;
        Ok(Column { name, of })
    };
    columns.into_iter().map(column).collect()
}

fn unlike(schema: &str, table: &str) -> CopyError {
    CopyError::Unlike { table: format!("{schema}.{table}") }
}

/// Puts each table after those that it refers to.
fn in_order(schema: &str, mut tables: Vec<Table>) -> Result<Vec<Table>, CopyError> {
    let mut ordered: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let is_ready = |table: &Table| {
            let is_there = |name: &String| ordered.iter().any(|done| done.name == *name);
            table.refers_to.iter().all(|name| *name == table.name || is_there(name))
        };
        let Some(next) = tables.iter().position(is_ready) else {
            return Err(unlike(schema, &tables[0].name));
        };
        ordered.push(tables.remove(next));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::{Table, in_order};

    fn table(name: &str, refers_to: &[&str]) -> Table {
        let refers_to = refers_to.iter().map(ToString::to_string).collect();
        Table { schema: "role", name: name.to_owned(), columns: Vec::new(), refers_to }
    }

    #[test]
    fn a_table_comes_after_those_that_it_refers_to() {
        let tables = vec![
            table("access_key", &["account"]),
            table("account", &["customer"]),
            table("customer", &["customer"]),
        ];
        let names = in_order("role", tables).unwrap().into_iter().map(|table| table.name);
        assert_eq!(names.collect::<Vec<_>>(), ["customer", "account", "access_key"]);
        let round = vec![table("a", &["b"]), table("b", &["a"])];
        assert!(in_order("role", round).is_err(), "tables in a circle have no order");
    }
}
