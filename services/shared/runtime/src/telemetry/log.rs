//! The log.

use std::io::{self, IsTerminal as _, Write};

use serde::Deserialize;
use stowage_trace::current_ids;
use tracing_subscriber::EnvFilter;

/// What is not logged unless the filter names it: the library of the broker tells each lost
/// connection many times as an error, and prints what an event holds. The bus says what matters.
const QUIET: &str = "lapin=off";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log to standard error. `filter` is a level (`info`) or a list such as
/// `info,stowage_accounts=debug`. A second call in one process changes nothing.
///
/// # Errors
/// What is wrong with the filter.
pub fn init_log(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|bad| bad.to_string())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || Lines { to: io::stderr(), format });
    let _already_set = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}

/// Adds the span that a line is written in. Each write is one line: the subscriber formats a line
/// in memory first, where it is logged.
struct Lines<W> {
    to: W,
    format: LogFormat,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match current_ids() {
            Some(ids) => self.to.write_all(&with_ids(line, self.format, &ids))?,
            None => self.to.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn with_ids(line: &[u8], format: LogFormat, ids: &stowage_trace::Ids) -> Vec<u8> {
    let stowage_trace::Ids { trace, span } = ids;
    let (end, added) = match format {
        LogFormat::Text => ("\n", format!(" trace_id={trace} span_id={span}\n")),
        LogFormat::Json => {
            ("}\n", format!(r#","trace_id":"{trace}","span_id":"{span}"}}{}"#, "\n"))
        }
    };
    match line.strip_suffix(end.as_bytes()) {
        Some(rest) => [rest, added.as_bytes()].concat(),
        None => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_span() {
        let ids = stowage_trace::Ids { trace: "aa".to_owned(), span: "bb".to_owned() };
        let text = with_ids(b"INFO two\nlines\n", LogFormat::Text, &ids);
        assert_eq!(text, b"INFO two\nlines trace_id=aa span_id=bb\n");
        let json = with_ids(b"{\"level\":\"INFO\"}\n", LogFormat::Json, &ids);
        assert_eq!(json, b"{\"level\":\"INFO\",\"trace_id\":\"aa\",\"span_id\":\"bb\"}\n");
        assert_eq!(with_ids(b"half a line", LogFormat::Text, &ids), b"half a line");
    }
}
