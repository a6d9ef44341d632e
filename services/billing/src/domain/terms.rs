//! The terms of a plan, and what good ones are.

use serde_json::{Value, json};
use stowage_provider::Period;
use stowage_types::{Currency, Decimal, Violations};

/// Bytes of a GB that is counted in powers of two; the default.
pub(crate) const GB_BYTES_BINARY: i64 = 1_073_741_824;
/// Bytes of a GB that is counted in powers of ten.
pub(crate) const GB_BYTES_DECIMAL: i64 = 1_000_000_000;
/// Largest amount that is kept, in nano-units: that of a database column.
const AMOUNT_NANOS_MAX: i128 = i64::MAX as i128;
const TITLE_CHARS_MAX: usize = 100;
const STORAGE_TYPE_CHARS_MAX: usize = 32;
/// Key pairs of an account where nothing is said, and the fewest: a rotation needs two.
pub(crate) const KEY_MAX_DEFAULT: i32 = 2;
/// Most key pairs of an account; every engine that takes ours takes as many.
const KEY_MAX_MAX: i32 = 20;
/// There are fewer currencies than this.
const PRICES_MAX: usize = 200;

/// Which figure of what is stored is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageMode {
    /// The most that was stored at once.
    Peak,
    /// What was stored on average.
    Average,
    /// What was stored at the end.
    Last,
}

impl StorageMode {
    pub(crate) const ALL: [Self; 3] = [Self::Peak, Self::Average, Self::Last];

    /// How it is stored and told.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::Average => "average",
            Self::Last => "last",
        }
    }
}

/// A part of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PricePart {
    Period,
    StorageOverage,
    TrafficOverage,
}

impl PricePart {
    pub(crate) const ALL: [Self; 3] = [Self::Period, Self::StorageOverage, Self::TrafficOverage];

    /// How it is stored and told.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::StorageOverage => "storage_overage",
            Self::TrafficOverage => "traffic_overage",
        }
    }
}

/// What a plan costs in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) currency: Currency,
    pub(crate) period: Decimal,
    pub(crate) storage_overage: Decimal,
    pub(crate) traffic_overage: Decimal,
}

/// What a plan's subscribers get, and for what. Sold terms never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) title: String,
    pub(crate) storage_type: String,
    /// Code of the location.
    pub(crate) location: String,
    pub(crate) base_price: Decimal,
    pub(crate) prices: Vec<Price>,
    /// 0: no bound.
    pub(crate) quota_bytes: i64,
    /// 0: no bound.
    pub(crate) bucket_max: i32,
    pub(crate) gb_bytes: i64,
    pub(crate) included_storage_gb: i64,
    pub(crate) included_traffic_gb: i64,
    pub(crate) storage_mode: StorageMode,
    pub(crate) period: Period,
    pub(crate) free: bool,
    /// Parts that cost nothing on purpose, where it is not free.
    pub(crate) free_parts: Vec<PricePart>,
    /// Key pairs of an account.
    pub(crate) key_max: i32,
    /// Stored GB at which an account can only be read any more; 0: none.
    pub(crate) storage_cap_gb: i64,
    /// Moved GB in a period at which it can only be read any more; 0: none.
    pub(crate) traffic_cap_gb: i64,
    /// 0: no bound.
    pub(crate) account_max_per_customer: i32,
}

/// One field of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Title,
    StorageType,
    Location,
    BasePrice,
    Prices,
    QuotaBytes,
    BucketMax,
    GbBytes,
    IncludedStorageGb,
    IncludedTrafficGb,
    StorageMode,
    Period,
    Free,
    FreeParts,
    KeyMax,
    StorageCapGb,
    TrafficCapGb,
    AccountMaxPerCustomer,
}

impl Field {
    /// Every field, with its name in a mask.
    pub(crate) const ALL: [(Self, &'static str); 18] = [
        (Self::Title, "title"),
        (Self::StorageType, "storage_type"),
        (Self::Location, "location"),
        (Self::BasePrice, "base_price"),
        (Self::Prices, "prices"),
        (Self::QuotaBytes, "quota_bytes"),
        (Self::BucketMax, "bucket_max"),
        (Self::GbBytes, "gb_bytes"),
        (Self::IncludedStorageGb, "included_storage_gb"),
        (Self::IncludedTrafficGb, "included_traffic_gb"),
        (Self::StorageMode, "storage_mode"),
        (Self::Period, "period"),
        (Self::Free, "free"),
        (Self::FreeParts, "free_parts"),
        (Self::KeyMax, "key_max"),
        (Self::StorageCapGb, "storage_cap_gb"),
        (Self::TrafficCapGb, "traffic_cap_gb"),
        (Self::AccountMaxPerCustomer, "account_max_per_customer"),
    ];

    /// The field of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(field, _)| *field)
    }
}

impl Terms {
    /// Takes one field from other terms.
    pub(crate) fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Title => self.title.clone_from(&from.title),
            Field::StorageType => self.storage_type.clone_from(&from.storage_type),
            Field::Location => self.location.clone_from(&from.location),
            Field::BasePrice => self.base_price = from.base_price,
            Field::Prices => self.prices.clone_from(&from.prices),
            Field::QuotaBytes => self.quota_bytes = from.quota_bytes,
            Field::BucketMax => self.bucket_max = from.bucket_max,
            Field::GbBytes => self.gb_bytes = from.gb_bytes,
            Field::IncludedStorageGb => self.included_storage_gb = from.included_storage_gb,
            Field::IncludedTrafficGb => self.included_traffic_gb = from.included_traffic_gb,
            Field::StorageMode => self.storage_mode = from.storage_mode,
            Field::Period => self.period = from.period,
            Field::Free => self.free = from.free,
            Field::FreeParts => self.free_parts.clone_from(&from.free_parts),
            Field::KeyMax => self.key_max = from.key_max,
            Field::StorageCapGb => self.storage_cap_gb = from.storage_cap_gb,
            Field::TrafficCapGb => self.traffic_cap_gb = from.traffic_cap_gb,
            Field::AccountMaxPerCustomer => {
                self.account_max_per_customer = from.account_max_per_customer;
            }
        }
    }

    /// Whether a part costs nothing, and is meant to.
    fn is_free(&self, part: PricePart) -> bool {
        self.free || self.free_parts.contains(&part)
    }

    /// The price in a currency, if it is sold in it.
    pub(crate) fn price_in(&self, currency: Currency) -> Option<&Price> {
        self.prices.iter().find(|price| price.currency == currency)
    }

    /// Notes every bad field that is not noted yet.
    pub(crate) fn check(&self, violations: &mut Violations) {
        let mut report = Report(violations);
        self.check_texts(&mut report);
        self.check_numbers(&mut report);
        self.check_free_parts(&mut report);
        self.check_prices(&mut report);
    }

    fn check_texts(&self, report: &mut Report<'_>) {
        let title = self.title.chars().count();
        if title == 0 || title > TITLE_CHARS_MAX || self.title.trim() != self.title {
            let why = "must be 1 to 100 characters, without spaces around them";
            report.note("plan.title", why);
        } else if self.title.chars().any(char::is_control) {
            report.note("plan.title", "has a control character");
        }
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let length = self.storage_type.len();
        if !(1..=STORAGE_TYPE_CHARS_MAX).contains(&length) || !self.storage_type.chars().all(good) {
            let why = "must be 1 to 32 of a-z, 0-9, hyphen and underscore";
            report.note("plan.storage_type", why);
        }
    }

    fn check_numbers(&self, report: &mut Report<'_>) {
        for (field, value) in [
            ("plan.quota_bytes", self.quota_bytes),
            ("plan.bucket_max", self.bucket_max.into()),
            ("plan.included_storage_gb", self.included_storage_gb),
            ("plan.included_traffic_gb", self.included_traffic_gb),
            ("plan.storage_cap_gb", self.storage_cap_gb),
            ("plan.traffic_cap_gb", self.traffic_cap_gb),
            ("plan.account_max_per_customer", self.account_max_per_customer.into()),
        ] {
            if value < 0 {
                report.note(field, "must not be negative");
            }
        }
        if !(KEY_MAX_DEFAULT..=KEY_MAX_MAX).contains(&self.key_max) {
            report.note("plan.key_max", "must be from 2 to 20");
        }
        if ![GB_BYTES_BINARY, GB_BYTES_DECIMAL].contains(&self.gb_bytes) {
            report.note("plan.gb_bytes", "must be 1073741824 or 1000000000");
        }
        for (field, gb) in [
            ("plan.included_storage_gb", self.included_storage_gb),
            ("plan.included_traffic_gb", self.included_traffic_gb),
            ("plan.storage_cap_gb", self.storage_cap_gb),
            ("plan.traffic_cap_gb", self.traffic_cap_gb),
        ] {
            if gb.checked_mul(self.gb_bytes).is_none() {
                report.note(field, "is too large");
            }
        }
        for (field, cap, included) in [
            ("plan.storage_cap_gb", self.storage_cap_gb, self.included_storage_gb),
            ("plan.traffic_cap_gb", self.traffic_cap_gb, self.included_traffic_gb),
        ] {
            if (1..included).contains(&cap) {
                report.note(field, "must not be below what is included, or 0 for no cap");
            }
        }
        if self.free && self.account_max_per_customer == 0 {
            report.note("plan.account_max_per_customer", "must be at least 1 if the plan is free");
        }
    }

    fn check_free_parts(&self, report: &mut Report<'_>) {
        let parts = &self.free_parts;
        if self.free && !parts.is_empty() {
            report.note("plan.free_parts", "must be empty if all of the plan is free");
        } else if parts.len() == PricePart::ALL.len() {
            report.note("plan.free_parts", "must not have every part: say that the plan is free");
        }
    }

    fn check_prices(&self, report: &mut Report<'_>) {
        check_amount(self.base_price, "plan.base_price", report);
        if !(1..=PRICES_MAX).contains(&self.prices.len()) {
            report.note("plan.prices", "must have one for each currency it is sold in, up to 200");
        }
        for (index, price) in self.prices.iter().enumerate() {
            if self.prices[..index].iter().any(|earlier| earlier.currency == price.currency) {
                let why = format!("has the currency {} again", price.currency);
                report.note(&format!("plan.prices[{index}].period_price"), &why);
            }
            for (part, amount) in [
                (PricePart::Period, price.period),
                (PricePart::StorageOverage, price.storage_overage),
                (PricePart::TrafficOverage, price.traffic_overage),
            ] {
                let field = format!("plan.prices[{index}].{}_price", part.text());
                check_amount(amount, &field, report);
                match (self.is_free(part), amount == Decimal::ZERO) {
                    (false, true) => report.note(&field, "is zero, but is not said to be free"),
                    (true, false) => report.note(&field, "is not zero, but is said to be free"),
                    _ => {}
                }
            }
            // It is charged as it stands; prices of a GB may be finer than what can be paid.
            if price.period.nanos() % price.currency.minor_nanos() != 0 {
                let (currency, digits) = (price.currency, price.currency.minor_digits());
                let why = format!("is finer than {currency} can be paid ({digits} decimals)");
                report.note(&format!("plan.prices[{index}].period_price"), &why);
            }
        }
    }

    /// The terms as history keeps them: names as in the contract, amounts as decimal texts.
    pub(crate) fn to_json(&self) -> Value {
        let price = |price: &Price| {
            json!({
                "currency": price.currency.as_str(),
                "period_price": price.period.to_string(),
                "storage_overage_price": price.storage_overage.to_string(),
                "traffic_overage_price": price.traffic_overage.to_string(),
            })
        };
        json!({
            "title": self.title,
            "storage_type": self.storage_type,
            "location": self.location,
            "base_price": self.base_price.to_string(),
            "prices": self.prices.iter().map(price).collect::<Vec<_>>(),
            "quota_bytes": self.quota_bytes,
            "bucket_max": self.bucket_max,
            "gb_bytes": self.gb_bytes,
            "included_storage_gb": self.included_storage_gb,
            "included_traffic_gb": self.included_traffic_gb,
            "storage_mode": self.storage_mode.text(),
            "period": match self.period {
                Period::Monthly => "monthly",
                Period::Yearly => "yearly",
            },
            "free": self.free,
            "free_parts": self.free_parts.iter().map(|part| part.text()).collect::<Vec<_>>(),
            "key_max": self.key_max,
            "storage_cap_gb": self.storage_cap_gb,
            "traffic_cap_gb": self.traffic_cap_gb,
            "account_max_per_customer": self.account_max_per_customer,
        })
    }
}

fn check_amount(amount: Decimal, field: &str, report: &mut Report<'_>) {
    if amount < Decimal::ZERO {
        report.note(field, "must not be negative");
    } else if amount.nanos() > AMOUNT_NANOS_MAX {
        report.note(field, "is too large an amount");
    }
}

/// Notes one fault for each field: a field that could not even be read is not also empty.
struct Report<'v>(&'v mut Violations);

impl Report<'_> {
    fn note(&mut self, field: &str, why: &str) {
        let is_within = |noted: &str| {
            noted.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        };
        if !self.0.iter().any(|(noted, _)| is_within(noted)) {
            self.0.push(field, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Terms {
        let amount = |text| Decimal::parse(text).unwrap();
        Terms {
            title: "Standard".to_owned(),
            storage_type: "standard".to_owned(),
            location: "NL".to_owned(),
            base_price: amount("10"),
            prices: vec![Price {
                currency: Currency::parse("EUR").unwrap(),
                period: amount("9.8"),
                storage_overage: amount("0.05"),
                traffic_overage: amount("0.01"),
            }],
            quota_bytes: 1,
            bucket_max: 0,
            gb_bytes: GB_BYTES_BINARY,
            included_storage_gb: 0,
            included_traffic_gb: 0,
            storage_mode: StorageMode::Peak,
            period: Period::Monthly,
            free: false,
            free_parts: Vec::new(),
            key_max: KEY_MAX_DEFAULT,
            storage_cap_gb: 0,
            traffic_cap_gb: 0,
            account_max_per_customer: 0,
        }
    }

    fn faults(change: impl FnOnce(&mut Terms)) -> Vec<String> {
        let mut terms = good();
        change(&mut terms);
        let mut violations = Violations::default();
        terms.check(&mut violations);
        violations.iter().map(|(field, _)| field.to_owned()).collect()
    }

    #[test]
    fn good_terms_pass_and_each_fault_names_its_field() {
        assert_eq!(faults(|_| {}), Vec::<String>::new());
        type Change = fn(&mut Terms);
        let rows: [(Change, &str); 23] = [
            (|t| t.title.clear(), "plan.title"),
            (|t| t.title = "x".repeat(101), "plan.title"),
            (|t| t.title = " x".to_owned(), "plan.title"),
            (|t| t.title = "a\nb".to_owned(), "plan.title"),
            (|t| t.storage_type = "SSD".to_owned(), "plan.storage_type"),
            (|t| t.quota_bytes = -1, "plan.quota_bytes"),
            (|t| t.bucket_max = -1, "plan.bucket_max"),
            (|t| t.key_max = 1, "plan.key_max"),
            (|t| t.key_max = 21, "plan.key_max"),
            (|t| t.storage_cap_gb = -1, "plan.storage_cap_gb"),
            (|t| t.traffic_cap_gb = i64::MAX, "plan.traffic_cap_gb"),
            (|t| (t.included_storage_gb, t.storage_cap_gb) = (10, 9), "plan.storage_cap_gb"),
            (|t| t.free_parts.push(PricePart::Period), "plan.prices[0].period_price"),
            (
                |t| t.prices[0].traffic_overage = Decimal::ZERO,
                "plan.prices[0].traffic_overage_price",
            ),
            (
                |t| {
                    t.prices.iter_mut().for_each(no_price);
                    t.free_parts = PricePart::ALL.to_vec();
                },
                "plan.free_parts",
            ),
            (|t| t.gb_bytes = 1000, "plan.gb_bytes"),
            (|t| t.included_storage_gb = i64::MAX, "plan.included_storage_gb"),
            (|t| t.prices.clear(), "plan.prices"),
            (|t| t.prices.push(t.prices[0].clone()), "plan.prices[1].period_price"),
            (|t| t.prices[0].period = Decimal::ZERO, "plan.prices[0].period_price"),
            (
                |t| t.prices[0].period = Decimal::parse("9.801").unwrap(),
                "plan.prices[0].period_price",
            ),
            (
                |t| t.prices[0].storage_overage = Decimal::from_nanos(-1),
                "plan.prices[0].storage_overage_price",
            ),
            (|t| t.base_price = Decimal::from_nanos(AMOUNT_NANOS_MAX + 1), "plan.base_price"),
        ];
        for (change, field) in rows {
            assert_eq!(faults(change), [field]);
        }
    }

    fn no_price(price: &mut Price) {
        let zero = Decimal::ZERO;
        (price.period, price.storage_overage, price.traffic_overage) = (zero, zero, zero);
    }

    #[test]
    fn each_part_of_a_price_may_be_free_if_it_is_said() {
        for part in PricePart::ALL {
            let free = |terms: &mut Terms| {
                let price = &mut terms.prices[0];
                match part {
                    PricePart::Period => price.period = Decimal::ZERO,
                    PricePart::StorageOverage => price.storage_overage = Decimal::ZERO,
                    PricePart::TrafficOverage => price.traffic_overage = Decimal::ZERO,
                }
            };
            let field = format!("plan.prices[0].{}_price", part.text());
            assert_eq!(faults(free), [field], "it is not said");
            let said = |terms: &mut Terms| {
                free(terms);
                terms.free_parts = vec![part];
            };
            assert_eq!(faults(said), Vec::<String>::new());
        }
        let both = |terms: &mut Terms| {
            no_price(&mut terms.prices[0]);
            (terms.free, terms.account_max_per_customer) = (true, 1);
            terms.free_parts = vec![PricePart::Period];
        };
        assert_eq!(faults(both), ["plan.free_parts"]);
    }

    #[test]
    fn a_free_plan_costs_nothing_and_says_how_many_accounts_it_allows() {
        let expected = [
            "plan.account_max_per_customer",
            "plan.prices[0].period_price",
            "plan.prices[0].storage_overage_price",
            "plan.prices[0].traffic_overage_price",
        ];
        assert_eq!(faults(|terms| terms.free = true), expected);
    }

    #[test]
    fn every_field_is_taken_by_its_name() {
        let mut other = good();
        let zero = Decimal::ZERO;
        other.title = "Other".to_owned();
        other.storage_type = "ssd".to_owned();
        other.location = "US".to_owned();
        other.base_price = zero;
        other.prices.clear();
        (other.quota_bytes, other.bucket_max, other.gb_bytes) = (2, 2, GB_BYTES_DECIMAL);
        (other.included_storage_gb, other.included_traffic_gb) = (2, 2);
        other.storage_mode = StorageMode::Last;
        (other.period, other.free, other.account_max_per_customer) = (Period::Yearly, true, 2);
        (other.free_parts, other.key_max) = (vec![PricePart::Period], 5);
        (other.storage_cap_gb, other.traffic_cap_gb) = (400, 500);
        let mut terms = good();
        for (field, name) in Field::ALL {
            let before = terms.clone();
            assert_eq!(Field::named(name), Some(field), "{name}");
            terms.take(field, &other);
            assert_ne!(terms, before, "{name}");
        }
        assert_eq!(terms, other);
    }
}
