//! Answers, in the shapes that WHMCS gives them.

use serde_json::{Map, Value, json};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::cents::Cents;
use crate::form::Form;

/// What an action says, beside `result`.
pub(crate) type Answer = Result<Map<String, Value>, Refused>;

/// An action was not carried out; under status 200.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl Refused {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(crate) fn message(&self) -> &str {
        &self.0
    }
}

/// A refusal in these words.
pub(crate) fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(message))
}

/// An answer of these fields.
pub(crate) fn fields(value: Value) -> Answer {
    match value {
        Value::Object(map) => Ok(map),
        _ => refuse("an answer is an object"),
    }
}

/// What a list of nothing looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// `"invoices":""`
    Text,
    /// `"orders":{"order":[]}`
    List,
}

/// A page of a list, wrapped twice, with the counts beside it.
pub(crate) fn page<T>(
    form: &Form,
    (outer, inner): (&str, &str),
    empty: Empty,
    all: &[T],
    row: impl Fn(&T) -> Value,
) -> Answer {
    let (start, length) = form.page();
    let rows: Vec<Value> = all.iter().skip(start).take(length).map(row).collect();
    let mut answer = Map::new();
    answer.insert("totalresults".to_owned(), json!(all.len()));
    answer.insert("startnumber".to_owned(), json!(start));
    answer.insert("numreturned".to_owned(), json!(rows.len()));
    answer.insert(outer.to_owned(), wrap(inner, rows, empty));
    Ok(answer)
}

/// A list within an object, or what stands for one of nothing.
pub(crate) fn wrap(inner: &str, rows: Vec<Value>, empty: Empty) -> Value {
    if rows.is_empty() && empty == Empty::Text { json!("") } else { json!({ inner: rows }) }
}

/// Money as a text: `"8.00"`.
pub(crate) fn text(amount: Cents) -> Value {
    json!(amount.to_string())
}

/// Money as a number, as PHP writes one: `8`, `8.5`.
pub(crate) fn number(amount: Cents) -> Value {
    serde_json::from_str(&amount.to_string()).unwrap_or(Value::Null)
}

/// `2026-01-31`, and `0000-00-00` for none.
pub(crate) fn date(date: Option<Date>) -> String {
    let none = || "0000-00-00".to_owned();
    date.and_then(|date| date.format(format_description!("[year]-[month]-[day]")).ok())
        .unwrap_or_else(none)
}

/// `2026-01-31 13:37:00`, and zeros for none.
pub(crate) fn moment(time: Option<OffsetDateTime>) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let none = || "0000-00-00 00:00:00".to_owned();
    time.and_then(|time| time.format(form).ok()).unwrap_or_else(none)
}

/// Reads `2026-01-31`, with or without a time behind it.
pub(crate) fn read_date(text: &str) -> Option<Date> {
    let text = text.get(..10)?;
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

/// The first character big, as statuses and cycles are shown.
pub(crate) fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect()
    })
}
