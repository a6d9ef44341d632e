//! Charges in words, as an invoice shows them.

use std::fmt::Write as _;

use stowage_types::{Currency, Decimal, Money};
use time::OffsetDateTime;

use super::{Charge, ChargeKind, Tariff};
use crate::domain::terms::StorageMode;

impl Charge {
    /// What the line is for: `Storage above 10 GB, peak 12.5 GB: 2.5 GB at 0.05 EUR, …`.
    pub(crate) fn description(&self, tariff: &Tariff) -> String {
        let Tariff { title, currency, .. } = tariff;
        let price = Money::from_nanos(self.price_nanos, *currency);
        let (from, to) = (day(self.from), day(self.to));
        let mut text = match self.kind {
            ChargeKind::Base => format!("{title}, {from} to {to}"),
            ChargeKind::BaseReturned => format!("{title}, unused from {from} to {to}"),
            ChargeKind::BaseChanged => format!("{title}, used from {from} to {to}"),
            ChargeKind::Storage | ChargeKind::StorageCorrection => {
                self.usage_text("Storage", storage_word(tariff.storage_mode), price)
            }
            ChargeKind::Traffic | ChargeKind::TrafficCorrection => {
                self.usage_text("Traffic", "moved", price)
            }
        };
        if self.hours != self.period_hours {
            let _ = write!(text, ", {} of {} hours", self.hours, self.period_hours);
        }
        if matches!(self.kind, ChargeKind::StorageCorrection | ChargeKind::TrafficCorrection) {
            let prior = Money::from_nanos(self.prior_nanos, *currency);
            let prior = prior.to_minor_string();
            let _ = write!(text, "; later figures, {prior} {currency} was charged before");
        }
        text
    }

    fn usage_text(&self, what: &str, how: &str, price: Money) -> String {
        let gb = |bytes: i64| gigabytes(bytes, self.gb_bytes);
        let (from, to) = (day(self.from), day(self.to));
        let (aggregate, included) = (gb(self.aggregate_bytes), gb(self.included_bytes));
        let quantity = gb(self.quantity_bytes);
        let above = match self.included_bytes {
            0 => String::new(),
            _ => format!(" above {included} GB"),
        };
        format!("{what}{above} from {from} to {to}, {how} {aggregate} GB: {quantity} GB at {price}")
    }

    /// How the amount was rounded: `half up to 2 decimals`.
    pub(crate) fn rounding(currency: Currency) -> String {
        match currency.minor_digits() {
            1 => "half up to 1 decimal".to_owned(),
            digits => format!("half up to {digits} decimals"),
        }
    }
}

fn storage_word(mode: StorageMode) -> &'static str {
    match mode {
        StorageMode::Peak => "peak",
        StorageMode::Average => "average",
        StorageMode::Last => "at the end",
    }
}

/// Bytes in GB for people, to six decimals, cut: the exact number is beside it.
pub(crate) fn gigabytes(bytes: i64, gb_bytes: i64) -> String {
    let millionths = i128::from(bytes) * 1_000_000 / i128::from(gb_bytes.max(1));
    Decimal::from_nanos(millionths * 1000).to_string()
}

fn day(time: OffsetDateTime) -> String {
    let date = time.to_offset(time::UtcOffset::UTC).date();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
