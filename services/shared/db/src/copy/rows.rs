//! Rows as texts, and the sums over a table by which two databases are compared.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

use super::table::{Table, Type};

/// The values of a row, in the order of the table's columns.
pub(super) struct Cells(Vec<Option<String>>);

impl FromRow<'_, SqliteRow> for Cells {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>().map(Self)
    }
}

impl FromRow<'_, PgRow> for Cells {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>().map(Self)
    }
}

impl Cells {
    /// Gives JSON one form: databases keep its spaces and the order of its keys as they like.
    pub(super) fn canonical(mut self, table: &Table) -> Self {
        for (cell, column) in self.0.iter_mut().zip(&table.columns) {
            if let (Type::Json, Some(text)) = (column.of, cell)
                && let Ok(value) = serde_json::from_str::<Value>(text)
            {
                *text = value.to_string();
            }
        }
        self
    }

    /// Adds a line of `COPY`'s text format.
    ///
    /// Source: PostgreSQL's manual, "COPY", section "Text Format".
    pub(super) fn encode(&self, table: &Table, out: &mut Vec<u8>) {
        for (at, (cell, column)) in self.0.iter().zip(&table.columns).enumerate() {
            if at > 0 {
                out.push(b'\t');
            }
            let Some(text) = cell else {
                out.extend(b"\\N");
                continue;
            };
            if column.of == Type::Bytea {
                out.extend(b"\\\\x");
            }
            for byte in text.bytes() {
                match byte {
                    b'\\' => out.extend(b"\\\\"),
                    b'\n' => out.extend(b"\\n"),
                    b'\r' => out.extend(b"\\r"),
                    b'\t' => out.extend(b"\\t"),
                    other => out.push(other),
                }
            }
        }
        out.push(b'\n');
    }
}

/// Sums over all rows of a table, whatever their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u64,
    /// Of each column of integers, in their order.
    pub(super) integers: Vec<i128>,
    /// Of the rows' hashes, in two halves. A row that is there twice counts twice.
    hashes: [u128; 2],
}

impl Sums {
    /// Of no rows.
    pub(super) fn of(table: &Table) -> Self {
        Self { integers: vec![0; table.integers().count()], ..Self::default() }
    }

    pub(super) fn add(&mut self, Cells(cells): &Cells, table: &Table) {
        let mut hash = Sha256::new();
        for cell in cells {
            match cell {
                None => hash.update([0]),
                Some(text) => {
                    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
                    hash.update([1]);
                    hash.update(length.to_be_bytes());
                    hash.update(text);
                }
            }
        }
        for (sum, half) in self.hashes.iter_mut().zip(hash.finalize().chunks_exact(16)) {
            let half = half.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
            *sum = sum.wrapping_add(half);
        }
        let integers = cells.iter().zip(&table.columns).filter(|(_, c)| c.of == Type::Bigint);
        for (sum, (cell, _)) in self.integers.iter_mut().zip(integers) {
            *sum += cell.as_deref().and_then(|text| text.parse::<i128>().ok()).unwrap_or(0);
        }
        self.rows += 1;
    }

    /// How `other` differs from these, in words; `None`: not at all.
    pub(super) fn difference(&self, other: &Self, table: &Table) -> Option<String> {
        let mut text = String::new();
        if self.rows != other.rows {
            let _ = write!(text, "it has {} rows instead of {}", other.rows, self.rows);
            return Some(text);
        }
        let sums = table.integers().zip(self.integers.iter().zip(&other.integers));
        for (column, (ours, theirs)) in sums.filter(|(_, (ours, theirs))| ours != theirs) {
            let name = &column.name;
            let _ = write!(text, "the sum of {name} is {theirs} instead of {ours}; ");
        }
        if text.is_empty() && self.hashes != other.hashes {
            text.push_str("a value differs; ");
        }
        let text = text.trim_end_matches("; ");
        if text.is_empty() { None } else { Some(text.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::table::Column;

    fn table() -> Table {
        let column = |name: &str, of| Column { name: name.to_owned(), of };
        Table::for_test(vec![
            column("id", Type::Bigint),
            column("raw", Type::Bytea),
            column("note", Type::Text),
            column("what", Type::Json),
        ])
    }

    fn cells(values: [Option<&str>; 4]) -> Cells {
        Cells(values.map(|value| value.map(str::to_owned)).to_vec())
    }

    #[test]
    fn whatever_a_text_has_in_it_is_one_line() {
        let mut out = Vec::new();
        let row = cells([Some("7"), Some("00ff"), Some("a\tb\nc\\N\r"), None]);
        row.encode(&table(), &mut out);
        cells([None, None, Some(""), Some("[]")]).encode(&table(), &mut out);
        let lines = "7\t\\\\x00ff\ta\\tb\\nc\\\\N\\r\t\\N\n\\N\t\\N\t\t[]\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    #[test]
    fn sums_tell_any_difference_but_that_of_order() {
        let table = table();
        let sums = |rows: &[[Option<&str>; 4]]| {
            let mut sums = Sums::of(&table);
            rows.iter().for_each(|row| sums.add(&cells(*row).canonical(&table), &table));
            sums
        };
        let (a, b) = ([Some("1"), None, Some("x"), None], [Some("2"), None, Some("y"), None]);
        let whole = sums(&[a, b]);
        assert_eq!(whole.difference(&sums(&[b, a]), &table), None);
        let json = |text| sums(&[[None, None, None, Some(text)]]);
        assert_eq!(json(r#"{"a":1,"b":2}"#), json(r#"{ "b": 2, "a": 1 }"#));
        for (other, told) in [
            (sums(&[a]), "1 rows instead of 2"),
            (sums(&[a, [Some("3"), None, Some("y"), None]]), "the sum of id is 4 instead of 3"),
            (sums(&[a, [Some("2"), None, Some("z"), None]]), "a value differs"),
            (sums(&[a, [Some("2"), Some(""), Some("y"), None]]), "a value differs"),
            (
                sums(&[[Some("1"), None, Some("y"), None], [Some("2"), None, Some("x"), None]]),
                "a value",
            ),
        ] {
            let difference = whole.difference(&other, &table).unwrap();
            assert!(difference.contains(told), "{difference}");
        }
    }
}
