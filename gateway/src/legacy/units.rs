//! Figures, amounts and times as the facade writes them. Integers throughout.

use prost_types::Timestamp;
use stowage_proto::Money;
use stowage_types::{Decimal, from_timestamp};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::json::Json;

/// Bytes of a GB unless a plan says otherwise.
const GB_BYTES_DEFAULT: i64 = 1 << 30;

/// Decimals that a figure in GB is rounded to: finer than a byte.
const GB_DECIMALS: u32 = 9;

/// Decimals that a figure in GB keeps even if they are zero.
const GB_DECIMALS_MIN: usize = 6;

/// What a MB and a GB are on an account's plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units {
    mb_bytes: i128,
    gb_bytes: i128,
}

impl Units {
    /// `gb_bytes` as the plan says it; 0: 1024-based.
    pub(crate) fn of(gb_bytes: i64) -> Self {
        let gb_bytes = if gb_bytes > 0 { gb_bytes } else { GB_BYTES_DEFAULT };
        // A GB that is a round number of thousands has MBs of thousands; else of 1024.
        let mb_bytes = if gb_bytes % 1_000_000 == 0 { 1_000_000 } else { 1 << 20 };
        Self { mb_bytes, gb_bytes: i128::from(gb_bytes) }
    }

    /// Whole MB, rounded up.
    pub(crate) fn mb(self, bytes: i64) -> Json {
        let mb = (i128::from(bytes.max(0)) + self.mb_bytes - 1) / self.mb_bytes;
        Json::Int(i64::try_from(mb).unwrap_or(i64::MAX))
    }

    /// GB with six to nine decimals, rounded half up.
    pub(crate) fn gb(self, bytes: i64) -> Json {
        let scale = 10_i128.pow(GB_DECIMALS);
        let scaled = (i128::from(bytes.max(0)) * scale + self.gb_bytes / 2) / self.gb_bytes;
        let fraction = format!("{:09}", scaled % scale);
        let needed = fraction.trim_end_matches('0').len().max(GB_DECIMALS_MIN);
        Json::Number(format!("{}.{}", scaled / scale, &fraction[..needed]))
    }
}

/// An amount with the decimals it has: `9.8`, `950`.
pub(crate) fn amount(money: &Money) -> Json {
    Json::Number(decimal(money).to_string())
}

/// An amount with at least one decimal: `10.0`.
pub(crate) fn amount_with_decimal(money: &Money) -> Json {
    let mut digits = decimal(money).to_string();
    if !digits.contains('.') {
        digits.push_str(".0");
    }
    Json::Number(digits)
}

fn decimal(money: &Money) -> Decimal {
    Decimal::from_proto(money).unwrap_or(Decimal::ZERO)
}

/// A moment, RFC 3339 to the second: `2026-03-01T12:00:00Z`.
pub(crate) fn moment(at: Option<&Timestamp>) -> Json {
    whole_second(at).and_then(|at| at.format(&Rfc3339).ok()).into()
}

/// The UTC day of a moment: `2026-03-01`.
pub(crate) fn day(at: Option<&Timestamp>) -> Json {
    whole_second(at).map(|at| day_text(at.date())).into()
}

fn whole_second(at: Option<&Timestamp>) -> Option<OffsetDateTime> {
    from_timestamp(at?).ok()?.replace_nanosecond(0).ok()
}

fn day_text(date: Date) -> String {
    date.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

/// Reads a day written `2026-03-01`.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(value: Json) -> String {
        match value {
            Json::Int(number) => number.to_string(),
            Json::Number(digits) => digits,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn megabytes_are_rounded_up() {
        for (bytes, gb, mb) in [
            (0, 1 << 30, "0"),
            (1, 1 << 30, "1"),
            (1 << 20, 1 << 30, "1"),
            ((1 << 20) + 1, 0, "2"),
            (1_000_001, 1_000_000_000, "2"),
            (1_000_000, 1_000_000_000, "1"),
            (i64::MAX, 0, "8796093022208"),
        ] {
            assert_eq!(digits(Units::of(gb).mb(bytes)), mb, "{bytes} {gb}");
        }
    }

    #[test]
    fn gigabytes_keep_six_decimals_and_no_byte_is_lost() {
        for (bytes, gb, text) in [
            (0, 0, "0.000000"),
            (1, 0, "0.000000001"),
            (1 << 30, 0, "1.000000"),
            ((1 << 30) + (1 << 29), 0, "1.500000"),
            (123_456_789, 1_000_000_000, "0.123456789"),
            (10_000_000_000, 1_000_000_000, "10.000000"),
            (i64::MAX, 1_000_000_000, "9223372036.854775807"),
            (-5, 0, "0.000000"),
        ] {
            assert_eq!(digits(Units::of(gb).gb(bytes)), text, "{bytes} {gb}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        let money = |units, nanos| Money { units, nanos, ..Money::default() };
        for (money, plain, with_decimal) in [
            (money(10, 0), "10", "10.0"),
            (money(10, 500_000_000), "10.5", "10.5"),
            (money(9, 800_000_000), "9.8", "9.8"),
            (money(0, 1), "0.000000001", "0.000000001"),
            (money(950, 0), "950", "950.0"),
        ] {
            assert_eq!(digits(amount(&money)), plain);
            assert_eq!(digits(amount_with_decimal(&money)), with_decimal);
        }
    }

    #[test]
    fn days_are_read_and_written() {
        let at = Timestamp { seconds: 1_772_366_400, nanos: 999_000_000 };
        assert_eq!(moment(Some(&at)), "2026-03-01T12:00:00Z".into());
        assert_eq!(day(Some(&at)), "2026-03-01".into());
        assert_eq!(day(None), Json::Null);
        for bad in ["", "2026-3-1", "2026-02-30", "01.03.2026", "2026-03-01 12:00"] {
            assert_eq!(parse_day(bad), None, "{bad}");
        }
    }
}
