//! Reads what WHMCS writes in many ways: ids and money as texts or numbers, lists wrapped once,
//! twice or not at all, `""` for nothing, `0000-00-00` for no date.
//!
//! What cannot be read is `None`; whoever asked takes the whole answer for not understood.

use serde_json::Value;
use stowage_types::Decimal;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// A text; nothing and `null` are an empty one.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A whole number. Nothing, `null` and `""` are 0, as PHP has it.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Null | Value::Bool(false) => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) if text.trim().is_empty() => Some(0),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// An id, which is positive.
pub(crate) fn id(value: &Value) -> Option<i64> {
    number(value).filter(|id| *id > 0)
}

/// Ids in a text with commas between them, in a list, or one by itself.
pub(crate) fn ids(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::String(text) if text.contains(',') => {
            text.split(',').map(|part| part.trim().parse().ok().filter(|id| *id > 0)).collect()
        }
        Value::Array(values) => values.iter().map(id).collect(),
        other => number(other).map(|id| if id > 0 { vec![id] } else { Vec::new() }),
    }
}

/// An amount in nano-units. Nothing, `null` and `""` are none of it.
pub(crate) fn nanos(value: &Value) -> Option<i128> {
    let text = match value {
        Value::Null => return Some(0),
        // As it was written, or shorter: no arithmetic is done on it.
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.trim().is_empty() => return Some(0),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    Decimal::parse(&text).ok().map(Decimal::nanos)
}

/// A day. Nothing, `""` and zeros are none: `Some(None)`.
pub(crate) fn day(value: &Value) -> Option<Option<Date>> {
    moment(value).map(|moment| moment.map(OffsetDateTime::date))
}

/// A day, with or without a time behind it. Nothing, `""` and zeros are none: `Some(None)`.
pub(crate) fn moment(value: &Value) -> Option<Option<OffsetDateTime>> {
    let text = match value {
        Value::Null | Value::Bool(false) => return Some(None),
        Value::String(text) => text.trim(),
        _ => return None,
    };
    if text.is_empty() || text.starts_with("0000-00-00") {
        return Some(None);
    }
    let (day, clock) = text.split_at_checked(10)?;
    let day = Date::parse(day, format_description!("[year]-[month]-[day]")).ok()?;
    let clock = clock.trim_start_matches([' ', 'T']);
    let time = match clock.get(..8) {
        None if clock.is_empty() => Time::MIDNIGHT,
        None => return None,
        Some(clock) => Time::parse(clock, format_description!("[hour]:[minute]:[second]")).ok()?,
    };
    Some(Some(PrimitiveDateTime::new(day, time).assume_utc()))
}

/// Rows of a list: wrapped in an object under `inner`, or not; one row may come by itself.
pub(crate) fn rows<'v>(value: &'v Value, inner: &str) -> Option<Vec<&'v Value>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.trim().is_empty() => Some(Vec::new()),
        Value::Array(rows) => Some(rows.iter().collect()),
        Value::Object(map) => match map.get(inner) {
            Some(wrapped) => rows_within(wrapped),
            None if map.is_empty() => Some(Vec::new()),
            // PHP makes an object of a list whose numbers have gaps.
            None if map.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit())) => {
                Some(map.values().collect())
            }
            None => None,
        },
        _ => None,
    }
}

fn rows_within(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Object(map) => {
            let is_list = map.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
            Some(if is_list { map.values().collect() } else { vec![value] })
        }
        Value::Array(rows) => Some(rows.iter().collect()),
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.trim().is_empty() => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_read_from_texts_and_numbers() {
        for (value, expected) in [
            (json!(1), Some(1)),
            (json!("1"), Some(1)),
            (json!(" 77 "), Some(77)),
            (json!(""), Some(0)),
            (json!(null), Some(0)),
            (json!("x"), None),
            (json!(1.5), None),
            (json!([]), None),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
        for (value, expected) in [
            (json!("1,2"), Some(vec![1, 2])),
            (json!("77"), Some(vec![77])),
            (json!(77), Some(vec![77])),
            (json!(["1", 2]), Some(vec![1, 2])),
            (json!(""), Some(vec![])),
            (json!("1,x"), None),
            (json!({}), None),
        ] {
            assert_eq!(ids(&value), expected, "{value}");
        }
    }

    #[test]
    fn dates_are_read_and_zeros_are_none() {
        let day_of = |text: &str| day(&json!(text)).map(|day| day.map(|day| day.to_string()));
        for (text, expected) in [
            ("2026-01-31", Some(Some("2026-01-31"))),
            ("2026-01-31 13:37:00", Some(Some("2026-01-31"))),
            ("2026-01-31T13:37:00.000000Z", Some(Some("2026-01-31"))),
            ("0000-00-00", Some(None)),
            ("0000-00-00 00:00:00", Some(None)),
            ("", Some(None)),
            ("31/01/2026", None),
            ("2026-02-30", None),
            ("2026-01-31 13", None),
        ] {
            assert_eq!(day_of(text), expected.map(|day| day.map(str::to_owned)), "{text}");
        }
        assert_eq!(day(&json!(null)), Some(None));
    }

    #[test]
    fn lists_are_read_however_they_are_wrapped() {
        for (value, expected) in [
            (json!({"product": [{"id": 1}, {"id": 2}]}), Some(2)),
            (json!({"product": {"id": 1}}), Some(1)),
            (json!({"product": ""}), Some(0)),
            (json!({"product": []}), Some(0)),
            (json!({"product": {"0": {"id": 1}, "2": {"id": 2}}}), Some(2)),
            (json!([{"id": 1}]), Some(1)),
            (json!({"0": {"id": 1}}), Some(1)),
            (json!(""), Some(0)),
            (json!(null), Some(0)),
            (json!([]), Some(0)),
            (json!({}), Some(0)),
            (json!({"other": []}), None),
            (json!("text"), None),
            (json!(7), None),
        ] {
            assert_eq!(rows(&value, "product").map(|rows| rows.len()), expected, "{value}");
        }
    }

    /// An answer of any shape.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            "[0-9.,:-]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z0-9]{1,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn money_is_the_same_as_text_and_as_number(cents in -99_999_999_i64..99_999_999) {
            let sign = if cents < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            let expected = Some(i128::from(cents) * 10_000_000);
            prop_assert_eq!(nanos(&json!(text)), expected);
            let as_number: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(nanos(&as_number), expected);
        }

        #[test]
        fn an_id_is_the_same_as_text_and_as_number(id in 1_i64..i64::MAX) {
            prop_assert_eq!(super::id(&json!(id)), Some(id));
            prop_assert_eq!(super::id(&json!(id.to_string())), Some(id));
            prop_assert_eq!(ids(&json!(format!("{id},1"))), Some(vec![id, 1]));
        }

        #[test]
        fn nothing_panics_and_whatever_is_read_is_in_range(value in any_value()) {
            let _ = (text(&value), moment(&value), rows(&value, "a"), nanos(&value));
            prop_assert!(id(&value).is_none_or(|id| id > 0));
            prop_assert!(ids(&value).is_none_or(|ids| ids.iter().all(|id| *id > 0)));
        }

        #[test]
        fn one_row_by_itself_is_a_list_of_one(n in any::<i64>()) {
            let row = json!({"id": n});
            let single = json!({"order": row.clone()});
            let double = json!({"order": [row]});
            prop_assert_eq!(rows(&single, "order"), rows(&double, "order"));
        }
    }
}
