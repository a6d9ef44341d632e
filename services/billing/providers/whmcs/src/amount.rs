//! Money, as WHMCS takes it: in hundredths.

use stowage_types::Decimal;

/// Nano-units of a hundredth.
const CENT_NANOS: i128 = 10_000_000;

/// An amount as WHMCS is told of it, `9.80`; `None` if it has more decimals.
pub(crate) fn text_of(nanos: i128) -> Option<String> {
    if nanos % CENT_NANOS != 0 {
        return None;
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let cents = nanos.unsigned_abs() / CENT_NANOS.unsigned_abs();
    Some(format!("{sign}{}.{:02}", cents / 100, cents % 100))
}

/// An amount for people.
pub(crate) fn shown(nanos: i128) -> String {
    Decimal::from_nanos(nanos).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_decimals_or_are_not_told() {
        for (nanos, expected) in [
            (9_800_000_000, Some("9.80")),
            (70_000_000, Some("0.07")),
            (-70_000_000, Some("-0.07")),
            (0, Some("0.00")),
            (1, None),
            (5_000_000, None),
        ] {
            assert_eq!(text_of(nanos).as_deref(), expected, "{nanos}");
        }
    }
}
