//! Exact amounts. No float comes near them.

use std::fmt;

use serde::{Deserialize, Serialize};
use stowage_proto::Money as MoneyProto;

use crate::Malformed;

const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// A currency code of ISO 4217: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes a code in any case.
    ///
    /// # Errors
    /// `Malformed` if it is not three letters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match *text.as_bytes() {
            [a, b, c] if text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                Ok(Self([a, b, c].map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(Malformed::new("is not a currency code (three letters, such as EUR)")),
        }
    }

    /// The code in capitals.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII letters")
    }

    /// Decimals of the smallest amount that can be paid: 2 for EUR, 0 for JPY, 3 for KWD. A code
    /// that the list does not name has 2.
    ///
    /// Source: ISO 4217 (list one, 2024-06-25), column "Mnr unt", all that have not 2.
    #[must_use]
    pub fn minor_digits(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }

    /// The smallest amount that can be paid, in nano-units: 10,000,000 for EUR.
    #[must_use]
    pub fn minor_nanos(self) -> i128 {
        NANOS_PER_UNIT / 10_i128.pow(self.minor_digits())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Currency {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

/// Why two amounts cannot be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// They are in different currencies.
    #[error("amounts are in different currencies")]
    CurrencyMismatch,
    /// The result does not fit.
    #[error("amount is too large")]
    Overflow,
}

/// An exact number without a currency, in nano-units (10⁻⁹).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    nanos: i128,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { nanos: 0 };

    /// Takes nano-units.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self { nanos }
    }

    /// The nano-units.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// Reads `10`, `10.5`, `-0.000000001`: at most nine decimals, no exponent, no sign `+`.
    ///
    /// # Errors
    /// `Malformed` otherwise, and above 9,223,372,036 units, the most a database column holds.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (negative, digits) =
            text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(units) || !all_digits(fraction) || fraction.len() > 9 || units.len() > 10 {
            return Err(Malformed::new("is not an amount (such as 9.80, at most nine decimals)"));
        }
        let parsed: i128 = format!("{units}{fraction:0<9}").parse().unwrap_or(i128::MAX);
        if parsed > i128::from(i64::MAX) {
            return Err(Malformed::new("is too large an amount"));
        }
        Ok(Self { nanos: if negative { -parsed } else { parsed } })
    }

    /// The wire form, with an empty currency.
    #[must_use]
    pub fn to_proto(self) -> MoneyProto {
        to_proto(self.nanos, String::new())
    }

    /// Reads the wire form, whatever its currency.
    ///
    /// # Errors
    /// `Malformed` if nanos are out of range or of another sign than units.
    pub fn from_proto(wire: &MoneyProto) -> Result<Self, Malformed> {
        let opposite = (wire.units > 0 && wire.nanos < 0) || (wire.units < 0 && wire.nanos > 0);
        if opposite || wire.nanos.unsigned_abs() > 999_999_999 {
            return Err(Malformed::new("has nanos out of range"));
        }
        Ok(Self { nanos: i128::from(wire.units) * NANOS_PER_UNIT + i128::from(wire.nanos) })
    }
}

impl fmt::Display for Decimal {
    /// Without needless zeros: `10`, `10.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let whole = self.nanos.unsigned_abs() / NANOS_PER_UNIT.unsigned_abs();
        let fraction = self.nanos.unsigned_abs() % NANOS_PER_UNIT.unsigned_abs();
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// An amount in nano-units (10⁻⁹ of the currency's unit): the scale of `google.type.Money`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    nanos: i128,
    currency: Currency,
}

impl Money {
    /// Takes nano-units.
    #[must_use]
    pub const fn from_nanos(nanos: i128, currency: Currency) -> Self {
        Self { nanos, currency }
    }

    /// Reads a decimal text, see [`Decimal::parse`].
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    pub fn from_decimal_str(text: &str, currency: Currency) -> Result<Self, Malformed> {
        Ok(Self { nanos: Decimal::parse(text)?.nanos, currency })
    }

    /// The amount without needless zeros and without the currency.
    #[must_use]
    pub fn to_decimal_string(self) -> String {
        self.amount().to_string()
    }

    /// The amount without its currency.
    #[must_use]
    pub const fn amount(self) -> Decimal {
        Decimal { nanos: self.nanos }
    }

    /// The nano-units.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The amount with all decimals of its currency and without the currency: `9.80` euro, `950`
    /// yen. What is finer than these is shown too.
    #[must_use]
    pub fn to_minor_string(self) -> String {
        let text = self.amount().to_string();
        let digits = self.currency.minor_digits() as usize;
        let (units, fraction) = text.split_once('.').unwrap_or((&text, ""));
        match digits.max(fraction.len()) {
            0 => units.to_owned(),
            width => format!("{units}.{fraction:0<width$}"),
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// `CurrencyMismatch`, `Overflow`.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let nanos = self.nanos.checked_add(other.nanos).ok_or(MoneyError::Overflow)?;
        Ok(Self { nanos, ..self })
    }

    /// The wire form.
    #[must_use]
    pub fn to_proto(self) -> MoneyProto {
        to_proto(self.nanos, self.currency.as_str().to_owned())
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// `Malformed` if the currency or the nanos are.
    pub fn from_proto(wire: &MoneyProto) -> Result<Self, Malformed> {
        let currency = Currency::parse(&wire.currency_code)?;
        Ok(Self { nanos: Decimal::from_proto(wire)?.nanos, currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount(), self.currency)
    }
}

fn to_proto(nanos: i128, currency_code: String) -> MoneyProto {
    // Amounts come from 64-bit units or 64-bit nanos; sums beyond that are refused before.
    let units = i64::try_from(nanos / NANOS_PER_UNIT).expect("an amount has 64-bit units");
    let nanos = i32::try_from(nanos % NANOS_PER_UNIT).expect("below 10^9");
    MoneyProto { currency_code, units, nanos }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_print_as_they_are_written() {
        for (text, shown) in [
            ("10.0", "10"),
            ("10.5", "10.5"),
            ("9.80", "9.8"),
            ("-0.000000001", "-0.000000001"),
            ("950", "950"),
            ("0", "0"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", ".", "1.", ".5", "1e3", "+1", "1,5", "1.0000000001", "99999999999", "--1"] {
            assert!(Decimal::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_printed_with_the_decimals_of_their_currency() {
        for (currency, text, shown, minor_nanos) in [
            ("EUR", "9.8", "9.80", 10_000_000),
            ("EUR", "-3", "-3.00", 10_000_000),
            ("EUR", "0.005", "0.005", 10_000_000),
            ("JPY", "950", "950", 1_000_000_000),
            ("KWD", "1.5", "1.500", 1_000_000),
            ("CLF", "1", "1.0000", 100_000),
        ] {
            let currency = Currency::parse(currency).unwrap();
            let money = Money::from_decimal_str(text, currency).unwrap();
            assert_eq!(money.to_minor_string(), shown, "{money}");
            assert_eq!(currency.minor_nanos(), minor_nanos, "{currency}");
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let eur = Money::from_decimal_str("1", Currency::parse("eur").unwrap()).unwrap();
        let usd = Money::from_decimal_str("1", Currency::parse("USD").unwrap()).unwrap();
        assert_eq!(eur.checked_add(usd), Err(MoneyError::CurrencyMismatch));
        assert_eq!(eur.checked_add(eur).unwrap().to_string(), "2 EUR");
    }

    proptest! {
        #[test]
        fn money_comes_back_from_the_wire_and_from_text(nanos in i64::MIN..i64::MAX) {
            let money = Money::from_nanos(i128::from(nanos), Currency::parse("EUR").unwrap());
            prop_assert_eq!(Money::from_proto(&money.to_proto()), Ok(money));
            let text = money.to_decimal_string();
            prop_assert_eq!(Money::from_decimal_str(&text, money.currency()), Ok(money));
        }
    }
}
