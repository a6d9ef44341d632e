//! Amounts as they are typed: `1TiB`, `EUR=9.80`.

use stowage_types::{Currency, Money};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A day, as it is typed.
const DAY: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

const UNITS: &[(&str, u64)] = &[
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("PIB", 1 << 50),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("B", 1),
];

/// Reads a number of bytes: `1048576`, `500GB` (decimal), `1TiB` (binary).
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let wrong = || "is not a size such as 500GB, 1TiB or 1048576".to_owned();
    let upper = text.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find_map(|(name, size)| Some((upper.strip_suffix(name)?, *size)));
    let (digits, size) = unit.unwrap_or((&upper, 1));
    let count: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    let bytes = count.checked_mul(size).and_then(|bytes| i64::try_from(bytes).ok());
    bytes.ok_or_else(|| "is larger than anything that can be stored".to_owned())
}

/// Reads `EUR=9.80`.
pub(super) fn money(text: &str) -> Result<Money, String> {
    let (currency, amount) =
        text.split_once('=').ok_or_else(|| "is not a price such as EUR=9.80".to_owned())?;
    let currency = Currency::parse(currency.trim()).map_err(|bad| bad.to_string())?;
    Money::from_decimal_str(amount.trim(), currency).map_err(|bad| bad.to_string())
}

/// Reads `2026-12-01`, which begins at midnight UTC, or `2026-12-01T10:00:00Z`.
pub(super) fn time(text: &str) -> Result<OffsetDateTime, String> {
    let day = || day(text).map(|day| day.midnight().assume_utc());
    OffsetDateTime::parse(text.trim(), &Rfc3339).or_else(|_| day())
}

/// Reads `2026-12-01`.
pub(super) fn day(text: &str) -> Result<Date, String> {
    let read = Date::parse(text.trim(), DAY);
    read.map_err(|_| "is not a day, such as 2026-12-01".to_owned())
}

/// Prints a number of bytes the way [`bytes`] reads it, without losing any.
pub(super) fn shown_bytes(bytes: i64) -> String {
    if bytes == 0 {
        return "unlimited".to_owned();
    }
    let fits = |(_, size): &&(&str, u64)| {
        u64::try_from(bytes).is_ok_and(|bytes| bytes % size == 0 && bytes / size > 0)
    };
    match UNITS.iter().filter(fits).max_by_key(|(_, size)| size) {
        Some((name, size)) if *size > 1 => {
            let count = u64::try_from(bytes).unwrap_or(0) / size;
            format!("{count}{}", name.replace('I', "i"))
        }
        _ => bytes.to_string(),
    }
}

/// Prints a bound where 0 means that there is none.
pub(super) fn shown_count(bound: i32) -> String {
    if bound == 0 { "unlimited".to_owned() } else { bound.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_without_loss() {
        for (text, count, shown) in [
            ("1TiB", 1_i64 << 40, "1TiB"),
            ("1024 gib", 1 << 40, "1TiB"),
            ("500GB", 500_000_000_000, "500GB"),
            ("1048577", 1_048_577, "1048577"),
            ("12B", 12, "12"),
            ("0", 0, "unlimited"),
        ] {
            assert_eq!(bytes(text), Ok(count), "{text}");
            assert_eq!(shown_bytes(count), shown, "{text}");
        }
        for bad in ["", "TiB", "-1", "1.5TiB", "1XB", "99999999PiB", "١"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_carry_their_currency() {
        assert_eq!(money("eur=9.80").unwrap().to_string(), "9.8 EUR");
        for bad in ["9.80", "EURO=1", "EUR=", "EUR=1,5", "=1"] {
            assert!(money(bad).is_err(), "{bad}");
        }
    }
}
