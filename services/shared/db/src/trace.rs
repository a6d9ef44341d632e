//! Spans of statements, by the semantic conventions for databases. They name what is done to which
//! table, never a value. Only work that is part of a trace has them: what polls has not.

use stowage_trace::{About, KeyValue, Kind, Span};

use crate::error::Error;

/// A span of a statement.
pub(crate) fn statement(system: &'static str, sql: &str) -> Span {
    Span::child(|| {
        let (operation, table) = summary(sql);
        let mut attributes = vec![
            KeyValue::new("db.system.name", system),
            KeyValue::new("db.operation.name", operation.to_owned()),
        ];
        let name = match table {
            None => operation.to_owned(),
            Some(table) => {
                attributes.push(KeyValue::new("db.collection.name", table.to_owned()));
                format!("{operation} {table}")
            }
        };
        About::new(Kind::Client, name, attributes)
    })
}

/// Ends a span by how its statement did.
pub(crate) fn ended<T>(span: Span, result: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &result {
        span.fail(kind_of(error));
    }
    drop(span);
    result
}

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::UniqueViolation { .. } => "UNIQUE_VIOLATION",
        Error::Full => "FULL",
        Error::Unavailable { .. } => "UNAVAILABLE",
        Error::Unclear { .. } => "UNCLEAR",
        Error::Nul => "NUL",
        Error::RowNotFound => "ROW_NOT_FOUND",
        Error::Other { .. } => "OTHER",
    }
}

/// What a statement does, and to which table, as far as its first words tell.
fn summary(sql: &str) -> (&str, Option<&str>) {
    let mut words = sql.split_whitespace();
    let operation = words.next().unwrap_or_default();
    let table = match operation {
        "UPDATE" => words.next(),
        "INSERT" | "DELETE" | "SELECT" | "WITH" => {
            words.find(|word| matches!(*word, "INTO" | "FROM")).and_then(|_| words.next())
        }
        _ => None,
    };
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (operation, table.filter(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_words() {
        for (sql, operation, table) in [
            ("SELECT a, b FROM saga WHERE id = $1", "SELECT", Some("saga")),
            ("INSERT INTO outbox (position) VALUES ($1)", "INSERT", Some("outbox")),
            ("UPDATE saga SET step = $1", "UPDATE", Some("saga")),
            ("DELETE FROM inbox WHERE time < $1", "DELETE", Some("inbox")),
            ("SELECT count(*) FROM (SELECT 1)", "SELECT", None),
            ("SELECT CAST(1 AS bigint)", "SELECT", None),
            ("COMMIT", "COMMIT", None),
            ("", "", None),
        ] {
            assert_eq!(summary(sql), (operation, table), "{sql}");
        }
    }
}
