//! Arguments of a statement, independent of the database behind it.

use crate::error::Error;
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// Times are stored as text of one width, so that comparing the text compares the times.
const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// How many arguments stand between the parentheses of `IN`. Pages have 50 and 100 rows by default.
const LISTS: [usize; 8] = [1, 5, 20, 50, 100, 250, 500, 1000];

/// One argument. Made with `From`.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(Repr);

#[derive(Debug, Clone, PartialEq)]
enum Repr {
    Null(Kind),
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    Time(OffsetDateTime),
    Json(serde_json::Value),
}

/// What an absent value would be. PostgreSQL wants to know, SQLite does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Text,
    Bytes,
    Uuid,
    Time,
    Json,
}

/// A type that may be absent: an `Option` of it is NULL of its own type.
pub trait Nullable: Into<Value> {
    /// NULL.
    #[doc(hidden)]
    fn null() -> Value;
}

/// The arguments `$1`, `$2`, … of a statement, in order. Made with [`args!`](crate::args).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Args(Vec<Value>);

impl Args {
    /// No arguments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next argument and returns its number, for statements that are built.
    pub fn push(&mut self, value: impl Into<Value>) -> usize {
        self.0.push(value.into());
        self.0.len()
    }

    /// Adds arguments and returns what stands for them in a row: `$2, $3`.
    pub fn push_row<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> String {
        let places = values.into_iter().map(|value| format!("${}", self.push(value)));
        places.collect::<Vec<_>>().join(", ")
    }

    /// Adds what is to stand between the parentheses of `IN`, and returns the places: `$2, $3`;
    /// empty for nothing, which PostgreSQL refuses there. The last one is repeated until they are
    /// one of few numbers: each number makes a text of its own, which is planned anew and stays
    /// prepared on each connection.
    pub fn push_all<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> String {
        let first = self.0.len() + 1;
        self.0.extend(values.into_iter().map(Into::into));
        let count = self.0.len() + 1 - first;
        if let Some(last) = self.0.last().filter(|_| count > 0).cloned() {
            let fuller = LISTS.into_iter().find(|size| count <= *size).unwrap_or(count);
            self.0.extend(std::iter::repeat_n(last, fuller - count));
        }
        let places = (first..=self.0.len()).map(|number| format!("${number}"));
        places.collect::<Vec<_>>().join(", ")
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks in debug builds whether these are as many as `sql` names: SQLite takes a missing
    /// argument for NULL, which hides mistakes.
    pub(crate) fn check(&self, sql: &str) -> Result<(), Error> {
        if cfg!(debug_assertions) && highest_placeholder(sql) != self.0.len() {
            let why = format!("{} arguments given for: {sql}", self.0.len());
            return Err(Error::Other { source: why.into() });
        }
        Ok(())
    }

    /// Adds the arguments of a statement that follows in the same text, and the statement with its
    /// placeholders raised accordingly.
    pub(crate) fn follow(&mut self, text: &mut String, sql: &str, args: Self) {
        let by = self.0.len();
        let mut parts = sql.split('$');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            text.push('$');
            match part[..digits].parse::<usize>() {
                Ok(n) => text.push_str(&(n + by).to_string()),
                Err(_) => text.push_str(&part[..digits]),
            }
            text.push_str(&part[digits..]);
        }
        self.0.extend(args.0);
    }

    fn check_texts(&self) -> Result<(), Error> {
        let has_nul = self.0.iter().any(|Value(repr)| match repr {
            Repr::Text(text) => text.contains('\0'),
            Repr::Json(json) => json_has_nul(json),
            _ => false,
        });
        if has_nul { Err(Error::Nul) } else { Ok(()) }
    }

    /// Encodes for SQLite.
    ///
    /// # Errors
    /// [`Error::Nul`].
    pub(crate) fn for_sqlite(self) -> Result<SqliteArguments, Error> {
        self.check_texts()?;
        let mut out = SqliteArguments::default();
        out.reserve(self.0.len(), 0);
        for Value(repr) in self.0 {
            let added = match repr {
                Repr::Null(_) => out.add(Option::<i64>::None),
                Repr::Bool(v) => out.add(v),
                Repr::Int(v) => out.add(v),
                Repr::Text(v) => out.add(v),
                Repr::Bytes(v) => out.add(v),
                Repr::Uuid(v) => out.add(v),
                Repr::Json(v) => out.add(v.to_string()),
                Repr::Time(v) => v
                    .to_offset(UtcOffset::UTC)
                    .format(TIME)
                    .map_err(Into::into)
                    .and_then(|text| out.add(text)),
            };
            added.map_err(|source| Error::Other { source })?;
        }
        Ok(out)
    }

    /// Encodes for PostgreSQL.
    ///
    /// # Errors
    /// [`Error::Nul`].
    pub(crate) fn for_postgres(self) -> Result<PgArguments, Error> {
        self.check_texts()?;
        let mut out = PgArguments::default();
        out.reserve(self.0.len(), 0);
        for Value(repr) in self.0 {
            let added = match repr {
                Repr::Null(Kind::Bool) => out.add(Option::<bool>::None),
                Repr::Null(Kind::Int) => out.add(Option::<i64>::None),
                Repr::Null(Kind::Text) => out.add(Option::<String>::None),
                Repr::Null(Kind::Bytes) => out.add(Option::<Vec<u8>>::None),
                Repr::Null(Kind::Uuid) => out.add(Option::<Uuid>::None),
                Repr::Null(Kind::Time) => out.add(Option::<OffsetDateTime>::None),
                Repr::Null(Kind::Json) => out.add(Option::<serde_json::Value>::None),
                Repr::Bool(v) => out.add(v),
                Repr::Int(v) => out.add(v),
                Repr::Text(v) => out.add(v),
                Repr::Bytes(v) => out.add(v),
                Repr::Uuid(v) => out.add(v),
                Repr::Json(v) => out.add(v),
                Repr::Time(v) => out.add(v),
            };
            added.map_err(|source| Error::Other { source })?;
        }
        Ok(out)
    }
}

/// Rows as PostgreSQL takes them fastest: an array for each column, whatever the number of rows.
/// `None`: a column is of values that have no array here, or of more than one kind.
pub(crate) fn columns_for_postgres(rows: &[Vec<Value>]) -> Result<Option<PgArguments>, Error> {
    let width = rows.first().map_or(0, Vec::len);
    let mut out = PgArguments::default();
    for place in 0..width {
        let column = || rows.iter().map(|row| row.get(place).map(|Value(repr)| repr));
        let Some(kind) = kind_of(column()) else { return Ok(None) };
        macro_rules! add {
            ($kind:ident, $of:ty, |$v:ident| $value:expr) => {{
                let values: Vec<Option<$of>> = column()
                    .map(|repr| match repr {
                        Some(Repr::$kind($v)) => Some($value),
                        _ => None,
                    })
                    .collect();
                out.add(values)
            }};
        }
        let added = match kind {
            Kind::Bool => add!(Bool, bool, |v| *v),
            Kind::Int => add!(Int, i64, |v| *v),
            Kind::Text => add!(Text, &str, |v| v.as_str()),
            Kind::Bytes => add!(Bytes, &[u8], |v| v.as_slice()),
            Kind::Uuid => add!(Uuid, Uuid, |v| *v),
            Kind::Time => add!(Time, OffsetDateTime, |v| *v),
            Kind::Json => return Ok(None),
        };
        added.map_err(|source| Error::Other { source })?;
    }
    let has_nul = |Value(repr): &Value| matches!(repr, Repr::Text(text) if text.contains('\0'));
    if rows.iter().flatten().any(has_nul) {
        return Err(Error::Nul);
    }
    Ok(Some(out))
}

/// The one kind of a column's values, of which some may be absent.
fn kind_of<'a>(column: impl Iterator<Item = Option<&'a Repr>>) -> Option<Kind> {
    let mut kinds = column.map(|repr| {
        Some(match repr? {
            Repr::Null(kind) => *kind,
            Repr::Bool(_) => Kind::Bool,
            Repr::Int(_) => Kind::Int,
            Repr::Text(_) => Kind::Text,
            Repr::Bytes(_) => Kind::Bytes,
            Repr::Uuid(_) => Kind::Uuid,
            Repr::Time(_) => Kind::Time,
            Repr::Json(_) => Kind::Json,
        })
    });
    let first = kinds.next()??;
    kinds.all(|kind| kind == Some(first)).then_some(first)
}

impl<V: Into<Value>> Extend<V> for Args {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        self.0.extend(values.into_iter().map(Into::into));
    }
}

impl From<Vec<Value>> for Args {
    fn from(values: Vec<Value>) -> Self {
        Self(values)
    }
}

fn json_has_nul(json: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(json_has_nul),
        Json::Object(fields) => {
            fields.iter().any(|(name, value)| name.contains('\0') || json_has_nul(value))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// The largest `n` of the `$n` in a text.
fn highest_placeholder(sql: &str) -> usize {
    sql.split('$')
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest[..digits].parse().ok()
        })
        .max()
        .unwrap_or(0)
}

macro_rules! value_from {
    ($($from:ty => $kind:ident |$v:ident| $value:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($v: $from) -> Self {
                Self(Repr::$kind($value))
            }
        }

        impl Nullable for $from {
            fn null() -> Value {
                Value(Repr::Null(Kind::$kind))
            }
        }
    )*};
}

value_from! {
    i64 => Int |v| v;
    i32 => Int |v| v.into();
    u32 => Int |v| v.into();
    bool => Bool |v| v;
    &str => Text |v| v.to_owned();
    &String => Text |v| v.clone();
    String => Text |v| v;
    &[u8] => Bytes |v| v.to_vec();
    Vec<u8> => Bytes |v| v;
    &Vec<u8> => Bytes |v| v.clone();
    Uuid => Uuid |v| v;
    &Uuid => Uuid |v| *v;
    OffsetDateTime => Time |v| v;
    &OffsetDateTime => Time |v| *v;
    serde_json::Value => Json |v| v;
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(v: [u8; N]) -> Self {
        Self(Repr::Bytes(v.to_vec()))
    }
}

impl<const N: usize> Nullable for [u8; N] {
    fn null() -> Value {
        Value(Repr::Null(Kind::Bytes))
    }
}

impl<V: Nullable> From<Option<V>> for Value {
    fn from(v: Option<V>) -> Self {
        v.map_or_else(V::null, Into::into)
    }
}

/// Makes the [`Args`] of a statement: `args![name, 3, None::<i64>]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        {
            let values: ::std::vec::Vec<$crate::Value> =
                ::std::vec![$($crate::Value::from($value)),*];
            $crate::Args::from(values)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{Args, Value, columns_for_postgres, highest_placeholder};
    use crate::error::Error;

    #[test]
    fn a_text_with_nul_is_refused_for_both_databases_and_bytes_are_not() {
        let deep = serde_json::json!({"a": [1, {"b\0": null}]});
        let shallow = serde_json::json!(["\0"]);
        for args in [args!["a\0"], args![1, deep], args![shallow]] {
            assert!(matches!(args.clone().for_sqlite(), Err(Error::Nul)), "{args:?}");
            assert!(matches!(args.clone().for_postgres(), Err(Error::Nul)), "{args:?}");
        }
        for args in [args!["a\\u0000"], args![vec![0u8]], args![serde_json::json!("\\0")]] {
            assert!(args.clone().for_sqlite().is_ok() && args.clone().for_postgres().is_ok());
        }
    }

    #[test]
    fn lists_have_few_lengths_and_rows_have_their_own() {
        for (count, expected) in [
            (0, 0),
            (1, 1),
            (2, 5),
            (5, 5),
            (6, 20),
            (50, 50),
            (51, 100),
            (1000, 1000),
            (1001, 1001),
        ] {
            let mut args = args!["first"];
            let places = args.push_all(0..count);
            assert_eq!(args.len() - 1, expected, "{count}");
            let named = places.split(", ").filter(|place| !place.is_empty()).count();
            assert_eq!(named, expected, "{count}");
            let last = args.push("last");
            assert_eq!(last, expected + 2, "{count}");
        }
        let mut args = args![7];
        assert_eq!(args.push_all(["a", "b"]), "$2, $3, $4, $5, $6");
        assert_eq!(args, args![7, "a", "b", "b", "b", "b"]);
        assert_eq!(args.push_row([1, 2]), "$7, $8");
    }

    #[test]
    fn rows_of_one_kind_each_column_are_arrays() {
        let rows = |last: Value| {
            let absent = Value::from(None::<i64>);
            vec![vec![Value::from("a"), absent, 1.into()], vec!["b".into(), 2.into(), last]]
        };
        assert!(matches!(columns_for_postgres(&rows(2.into())), Ok(Some(_))));
        assert!(matches!(columns_for_postgres(&rows(None::<i64>.into())), Ok(Some(_))));
        for other in [Value::from("2"), serde_json::json!(2).into(), None::<&str>.into()] {
            assert!(matches!(columns_for_postgres(&rows(other)), Ok(None)));
        }
        let nul = vec![vec![Value::from("a\0")]];
        assert!(matches!(columns_for_postgres(&nul), Err(Error::Nul)));
    }

    #[test]
    fn the_highest_placeholder_counts() {
        for (sql, n) in [("SELECT 1", 0), ("a = $1 AND b = $12 OR $2", 12), ("json '$.a' $1", 1)] {
            assert_eq!(highest_placeholder(sql), n, "{sql}");
        }
    }

    #[test]
    fn statements_that_follow_have_their_placeholders_raised() {
        let mut all = args![7];
        let mut text = "first $1; ".to_owned();
        all.follow(&mut text, "$1 and $12, json '$.a'", args![true, "x"]);
        assert_eq!(text, "first $1; $2 and $13, json '$.a'");
        assert_eq!(all, args![7, true, "x"]);
        all.follow(&mut text, "; none", Args::new());
        assert_eq!(all.len(), 3);
    }
}
