//! The one place where amounts become columns and columns become values again.

use stowage_db::Error;
use stowage_provider::Period;
use stowage_types::{Currency, Decimal};

use crate::domain::terms::{PricePart, StorageMode};

/// An amount as a column holds it, in nano-units.
///
/// # Errors
/// `Other` above 9,223,372,036 units: refused, never cut.
pub(crate) fn to_nanos(amount: Decimal) -> Result<i64, Error> {
    i64::try_from(amount.nanos()).map_err(damaged)
}

/// An amount from a column.
pub(crate) fn from_nanos(nanos: i64) -> Decimal {
    Decimal::from_nanos(nanos.into())
}

pub(crate) fn currency(text: &str) -> Result<Currency, Error> {
    Currency::parse(text).map_err(damaged)
}

pub(crate) const fn period_text(period: Period) -> &'static str {
    match period {
        Period::Monthly => "monthly",
        Period::Yearly => "yearly",
    }
}

pub(crate) fn period(text: &str) -> Result<Period, Error> {
    match text {
        "monthly" => Ok(Period::Monthly),
        "yearly" => Ok(Period::Yearly),
        _ => Err(damaged(format!("{text:?} is no period"))),
    }
}

pub(crate) fn storage_mode(text: &str) -> Result<StorageMode, Error> {
    let known = StorageMode::ALL.into_iter().find(|mode| mode.text() == text);
    known.ok_or_else(|| damaged(format!("{text:?} is no way of counting storage")))
}

/// Parts of a price as a column holds them.
pub(crate) fn free_parts_text(parts: &[PricePart]) -> String {
    parts.iter().map(|part| part.text()).collect::<Vec<_>>().join(",")
}

pub(crate) fn free_parts(text: &str) -> Result<Vec<PricePart>, Error> {
    let part = |name: &str| {
        let known = PricePart::ALL.into_iter().find(|part| part.text() == name);
        known.ok_or_else(|| damaged(format!("{name:?} is no part of a price")))
    };
    text.split(',').filter(|name| !name.is_empty()).map(part).collect()
}

/// A number that was stored from a smaller type.
pub(crate) fn small(number: i64) -> Result<i32, Error> {
    i32::try_from(number).map_err(damaged)
}

/// A row holds what was never written to it, or a value does not fit its column.
pub(crate) fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other { source: source.into() }
}
