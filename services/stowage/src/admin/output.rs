//! Prints rows: a table for people, or JSON for programs. What a row holds is decided once, in
//! `#[derive(Serialize)]`, and the table shows a choice of it.

use std::io::Write as _;

use serde::Serialize;
use stowage_types::from_timestamp;
use time::format_description::well_known::Rfc3339;

use super::{Error, Output};

/// Something that a line of a table, or an object of JSON, is made of.
pub(crate) trait Row: Serialize {
    /// Titles of the columns.
    const COLUMNS: &'static [&'static str];

    /// The cells, as many as there are titles.
    fn cells(&self) -> Vec<String>;
}

/// Prints a list.
pub(crate) fn list<R: Row>(output: Output, rows: &[R]) -> Result<(), Error> {
    match output {
        Output::Json => json(&rows),
        Output::Table => print(&table(rows)),
    }
}

/// Prints one thing: as one object, or as lines of title and value.
pub(crate) fn one<R: Row>(output: Output, row: &R) -> Result<(), Error> {
    match output {
        Output::Json => json(row),
        Output::Table => print(&card(row)),
    }
}

/// Prints one value that is no row.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))?;
    print(&format!("{text}\n"))
}

fn print(text: &str) -> Result<(), Error> {
    raw(text.as_bytes())
}

/// Prints what has a form of its own.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // A reader such as `head` that has seen enough is no trouble.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("the answer cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

fn table<R: Row>(rows: &[R]) -> String {
    let mut lines = vec![R::COLUMNS.iter().map(ToString::to_string).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| cells(row).into_iter().map(shown).collect()));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> =
        (0..R::COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn card<R: Row>(row: &R) -> String {
    let width = R::COLUMNS.iter().map(|title| title.len()).max().unwrap_or(0);
    let pairs = R::COLUMNS.iter().zip(cells(row));
    pairs.map(|(title, cell)| format!("{title:<width$}  {}\n", shown(cell))).collect()
}

/// The cells of a row, of which there are as many as titles.
fn cells<R: Row>(row: &R) -> Vec<String> {
    let cells = row.cells();
    debug_assert_eq!(cells.len(), R::COLUMNS.len(), "{:?} {cells:?}", R::COLUMNS);
    cells
}

/// A cell that is empty would read as a shifted line; control characters would do worse.
fn shown(cell: String) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// RFC 3339 in UTC, to the second; `None` stays so.
pub(crate) fn time(stamp: Option<prost_types::Timestamp>) -> Option<String> {
    let time = from_timestamp(&stamp?).ok()?;
    time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

/// `customers/1001` is 1001; 0 if the name is not one.
pub(crate) fn id_of(name: &str) -> i64 {
    name.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// `locations/NL` is `NL`.
pub(crate) fn last_part(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// `ACCOUNT_STATE_ACTIVE` is `active`.
pub(crate) fn value(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit(&'static str, &'static str);

    impl Row for Fruit {
        const COLUMNS: &'static [&'static str] = &["NAME", "COLOUR", "NOTE"];
        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_owned(), "a\nb".to_owned()]
        }
    }

    #[test]
    fn a_table_is_aligned_and_each_row_is_one_line() {
        let text = table(&[Fruit("pear", ""), Fruit("blackcurrant", "black")]);
        assert_eq!(
            text,
            "NAME          COLOUR  NOTE\n\
             pear          -       a b\n\
             blackcurrant  black   a b\n"
        );
    }

    #[test]
    fn a_card_has_a_line_for_each_field() {
        assert_eq!(card(&Fruit("pear", "")), "NAME    pear\nCOLOUR  -\nNOTE    a b\n");
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let stamp = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 5 };
        assert_eq!(time(Some(stamp)).as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(time(None), None);
    }
}
