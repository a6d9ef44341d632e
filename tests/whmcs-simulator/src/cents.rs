//! Money in whole minor units.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// An amount in hundredths of a currency's unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i64);

impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads `8`, `8.5`, `-8.005`; what is finer than a hundredth is rounded, half away from
    /// nothing, as PHP does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (units.is_empty() && fraction.is_empty()) || !is_number(units) || !is_number(fraction) {
            return None;
        }
        let units: i64 = if units.is_empty() { 0 } else { units.parse().ok()? };
        let mut thousandths = fraction.bytes().chain(*b"000").take(3);
        let mut digit = || thousandths.next().map_or(0, |byte| i64::from(byte - b'0'));
        let (tenths, hundredths, third) = (digit(), digit(), digit());
        let minor = tenths * 10 + hundredths + i64::from(third >= 5);
        let all = units.checked_mul(100)?.checked_add(minor)?;
        Some(Self(if negative { -all } else { all }))
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let all = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", all / 100, all % 100)
    }
}

impl Add for Cents {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Cents {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Cents {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Cents {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Cents {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl std::iter::Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_cent() {
        for (text, expected) in [
            ("8", Some(800)),
            ("8.5", Some(850)),
            ("8.00", Some(800)),
            ("0.07", Some(7)),
            ("8.004", Some(800)),
            ("8.005", Some(801)),
            ("-8.67", Some(-867)),
            (".5", Some(50)),
            ("", None),
            (".", None),
            ("1e3", None),
            ("8,00", None),
        ] {
            assert_eq!(Cents::parse(text).map(|cents| cents.0), expected, "{text}");
        }
        for (cents, text) in [(0, "0.00"), (7, "0.07"), (-867, "-8.67"), (123_456, "1234.56")] {
            assert_eq!(Cents(cents).to_string(), text);
        }
    }
}
