//! The flags that describe a plan, for creating one and for changing one alike.

use clap::{Args, ValueEnum};
use stowage_proto::billing::{BillingPeriod, Plan, PlanPrice, PricePart, StorageMode};
use stowage_types::{Decimal, Money, name, timestamp};
use time::OffsetDateTime;

use crate::admin::{Error, amount};

const GB_BINARY: i64 = 1 << 30;
const GB_DECIMAL: i64 = 1_000_000_000;

/// What is to be set; what is not given stays as it is.
#[derive(Debug, Default, Args)]
pub(crate) struct Change {
    /// What customers read
    #[arg(long)]
    title: Option<String>,
    /// Price of a period, such as EUR=9.80; repeat it for each currency
    #[arg(long = "price", value_name = "CUR=AMOUNT", value_parser = amount::money)]
    prices: Vec<Money>,
    /// Price of each GB stored above what is included, such as EUR=0.05; may be repeated
    #[arg(long = "storage-overage", value_name = "CUR=AMOUNT", value_parser = amount::money)]
    storage_overages: Vec<Money>,
    /// Price of each GB moved above what is included, such as EUR=0.01; may be repeated
    #[arg(long = "traffic-overage", value_name = "CUR=AMOUNT", value_parser = amount::money)]
    traffic_overages: Vec<Money>,
    /// List price in no currency of its own
    #[arg(long, value_name = "AMOUNT", value_parser = Decimal::parse)]
    base_price: Option<Decimal>,
    /// Most an account may store, such as 1TiB; 0 for no bound
    #[arg(long, value_name = "SIZE", value_parser = amount::bytes)]
    quota: Option<i64>,
    /// Most buckets of an account; 0 for no bound
    #[arg(long, value_name = "N")]
    bucket_max: Option<i32>,
    /// Location it is offered at [default for a new plan: NL]
    #[arg(long, value_name = "CODE")]
    location: Option<String>,
    /// Class of storage [default for a new plan: standard]
    #[arg(long, value_name = "CLASS")]
    storage_type: Option<String>,
    /// How many bytes a GB is
    #[arg(long, value_enum)]
    gb: Option<Gb>,
    /// Stored GB that the price includes
    #[arg(long, value_name = "GB")]
    included_storage_gb: Option<i64>,
    /// Moved GB that the price includes
    #[arg(long, value_name = "GB")]
    included_traffic_gb: Option<i64>,
    /// Which figure of what is stored is charged
    #[arg(long, value_enum, value_name = "MODE")]
    storage_mode: Option<Mode>,
    /// How long a period is
    #[arg(long, value_enum)]
    period: Option<Period>,
    /// Part of the price that costs nothing on purpose; repeat it for each, or `none`
    #[arg(long = "free-part", value_enum, value_name = "PART", value_delimiter = ',')]
    free_parts: Vec<Part>,
    /// Most key pairs of an account that work at the same time, 2 to 20
    #[arg(long, value_name = "N")]
    key_max: Option<i32>,
    /// Stored GB at which an account can only be read, until it stores less; 0 for no cap
    #[arg(long, value_name = "GB")]
    storage_cap_gb: Option<i64>,
    /// Moved GB at which an account can only be read, until its next period; 0 for no cap
    #[arg(long, value_name = "GB")]
    traffic_cap_gb: Option<i64>,
    /// Say that all prices are zero and meant to be: --free, or --free false
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    free: Option<bool>,
    /// Sell this version from then on, such as 2026-12-01 or 2026-12-01T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = amount::time)]
    effective: Option<OffsetDateTime>,
    /// Most accounts a customer may have on it; 0 for no bound, at least 1 if it is free
    #[arg(long, value_name = "N")]
    account_max: Option<i32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gb {
    /// 1,073,741,824
    Binary,
    /// 1,000,000,000
    Decimal,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The most that was stored at once
    Peak,
    /// What was stored on average
    Average,
    /// What was stored at the end of the period
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The price of a period
    Period,
    /// Each GB stored above what is included
    StorageOverage,
    /// Each GB moved above what is included
    TrafficOverage,
    /// No part is free any more
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Period {
    /// A month from the day of purchase
    Monthly,
    /// A year from the day of purchase
    Yearly,
}

impl Change {
    /// The plan that the flags describe.
    pub(super) fn new_plan(&self) -> Result<Plan, Error> {
        let mut missing = Vec::new();
        if self.title.is_none() {
            missing.push("--title");
        }
        if self.prices.is_empty() {
            missing.push("--price (a free plan has --price EUR=0 and --free)");
        }
        if !missing.is_empty() {
            return Err(Error::Usage(format!("a plan needs {}", missing.join(" and "))));
        }
        let mut plan = Plan {
            location: name::location("NL"),
            storage_type: "standard".to_owned(),
            gb_bytes: GB_BINARY,
            period: BillingPeriod::Monthly.into(),
            ..Plan::default()
        };
        if self.free == Some(true) {
            plan.account_max_per_customer = 1;
        }
        self.apply(&mut plan)?;
        Ok(plan)
    }

    /// Whether no flag was given.
    pub(super) fn is_empty(&self) -> bool {
        self.apply(&mut Plan::default()).is_ok_and(|paths| paths.is_empty())
    }

    /// Lays the flags over `plan`, and says which fields they set.
    pub(super) fn apply(&self, plan: &mut Plan) -> Result<Vec<String>, Error> {
        let mut set = Mask::default();
        set.field("title", self.title.clone(), &mut plan.title);
        set.field("storage_type", self.storage_type.clone(), &mut plan.storage_type);
        set.field("location", self.location.as_deref().map(name::location), &mut plan.location);
        set.field("base_price", self.base_price.map(|p| Some(p.to_proto())), &mut plan.base_price);
        set.field("quota_bytes", self.quota, &mut plan.quota_bytes);
        set.field("bucket_max", self.bucket_max, &mut plan.bucket_max);
        let gb_bytes = self.gb.map(|gb| match gb {
            Gb::Binary => GB_BINARY,
            Gb::Decimal => GB_DECIMAL,
        });
        set.field("gb_bytes", gb_bytes, &mut plan.gb_bytes);
        set.field("included_storage_gb", self.included_storage_gb, &mut plan.included_storage_gb);
        set.field("included_traffic_gb", self.included_traffic_gb, &mut plan.included_traffic_gb);
        let mode = self.storage_mode.map(|mode| match mode {
            Mode::Peak => StorageMode::Peak.into(),
            Mode::Average => StorageMode::Average.into(),
            Mode::Last => StorageMode::Last.into(),
        });
        set.field("storage_mode", mode, &mut plan.storage_mode);
        let period = self.period.map(|period| match period {
            Period::Monthly => BillingPeriod::Monthly.into(),
            Period::Yearly => BillingPeriod::Yearly.into(),
        });
        set.field("period", period, &mut plan.period);
        plan.effective_time = self.effective.map(timestamp);
        set.field("free", self.free, &mut plan.free);
        set.field("free_parts", self.free_parts()?, &mut plan.free_parts);
        set.field("key_max", self.key_max, &mut plan.key_max);
        set.field("storage_cap_gb", self.storage_cap_gb, &mut plan.storage_cap_gb);
        set.field("traffic_cap_gb", self.traffic_cap_gb, &mut plan.traffic_cap_gb);
        let account_max = &mut plan.account_max_per_customer;
        set.field("account_max_per_customer", self.account_max, account_max);
        if self.apply_prices(&mut plan.prices)? {
            set.0.push("prices".to_owned());
        }
        Ok(set.0)
    }

    /// The parts that are free, if any flag says something of them.
    fn free_parts(&self) -> Result<Option<Vec<i32>>, Error> {
        let named: Vec<i32> = self.free_parts.iter().filter_map(|part| part.to_proto()).collect();
        match (self.free_parts.is_empty(), named.len() == self.free_parts.len()) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(named)),
            (false, false) if named.is_empty() => Ok(Some(named)),
            (false, false) => Err(Error::Usage("--free-part: none beside a part".to_owned())),
        }
    }

    /// Changes the prices currency by currency; those of other currencies stay.
    fn apply_prices(&self, prices: &mut Vec<PlanPrice>) -> Result<bool, Error> {
        refuse_twins("--price", &self.prices)?;
        refuse_twins("--storage-overage", &self.storage_overages)?;
        refuse_twins("--traffic-overage", &self.traffic_overages)?;
        for price in &self.prices {
            let wire = Some(price.to_proto());
            match of_currency(prices, *price) {
                Some(known) => known.period_price = wire,
                None => {
                    let zero = Some(Money::from_nanos(0, price.currency()).to_proto());
                    prices.push(PlanPrice {
                        period_price: wire,
                        storage_overage_price: zero.clone(),
                        traffic_overage_price: zero,
                    });
                }
            }
        }
        let unpriced = |flag: &str, currency: &str| {
            Error::Usage(format!("{flag}: the plan has no price in {currency}; add --price"))
        };
        for overage in &self.storage_overages {
            let known = of_currency(prices, *overage)
                .ok_or_else(|| unpriced("--storage-overage", overage.currency().as_str()))?;
            known.storage_overage_price = Some(overage.to_proto());
        }
        for overage in &self.traffic_overages {
            let known = of_currency(prices, *overage)
                .ok_or_else(|| unpriced("--traffic-overage", overage.currency().as_str()))?;
            known.traffic_overage_price = Some(overage.to_proto());
        }
        let given = [&self.prices, &self.storage_overages, &self.traffic_overages];
        Ok(given.iter().any(|flags| !flags.is_empty()))
    }
}

impl Part {
    fn to_proto(self) -> Option<i32> {
        match self {
            Self::Period => Some(PricePart::Period.into()),
            Self::StorageOverage => Some(PricePart::StorageOverage.into()),
            Self::TrafficOverage => Some(PricePart::TrafficOverage.into()),
            Self::None => None,
        }
    }
}

/// The fields that were set, by proto path.
#[derive(Default)]
struct Mask(Vec<String>);

impl Mask {
    fn field<T>(&mut self, path: &str, given: Option<T>, into: &mut T) {
        if let Some(value) = given {
            *into = value;
            self.0.push(path.to_owned());
        }
    }
}

fn of_currency(prices: &mut [PlanPrice], like: Money) -> Option<&mut PlanPrice> {
    let currency = like.currency();
    prices.iter_mut().find(|price| {
        price.period_price.as_ref().is_some_and(|p| p.currency_code == currency.as_str())
    })
}

fn refuse_twins(flag: &str, amounts: &[Money]) -> Result<(), Error> {
    for (index, amount) in amounts.iter().enumerate() {
        if amounts[..index].iter().any(|other| other.currency() == amount.currency()) {
            let currency = amount.currency();
            return Err(Error::Usage(format!("{flag}: {currency} is given twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(amount: &str) -> Money {
        amount::money(&format!("EUR={amount}")).unwrap()
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let first = Change {
            title: Some("Standard".to_owned()),
            prices: vec![eur("9.80"), amount::money("USD=10.5").unwrap()],
            ..Change::default()
        };
        let mut plan = first.new_plan().unwrap();
        let change = Change { storage_overages: vec![eur("0.05")], ..Change::default() };
        assert_eq!(change.apply(&mut plan).unwrap(), ["prices"]);
        assert_eq!((plan.prices.len(), plan.title.as_str()), (2, "Standard"));
        let changed = plan.prices[0].storage_overage_price.as_ref().unwrap();
        assert_eq!(changed.nanos, 50_000_000);
        assert_eq!(plan.prices[0].period_price.as_ref().unwrap().units, 9);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let title = || Some("x".to_owned());
        for (change, word) in [
            (Change::default(), "--title and --price"),
            (Change { title: title(), ..Change::default() }, "--price"),
            (
                Change { title: title(), prices: vec![eur("1"), eur("2")], ..Change::default() },
                "twice",
            ),
            (
                Change {
                    title: title(),
                    prices: vec![eur("1")],
                    traffic_overages: vec![amount::money("USD=1").unwrap()],
                    ..Change::default()
                },
                "no price in USD",
            ),
            (
                Change {
                    title: title(),
                    prices: vec![eur("1")],
                    free_parts: vec![Part::None, Part::Period],
                    ..Change::default()
                },
                "none beside",
            ),
        ] {
            let error = change.new_plan().unwrap_err();
            assert!(error.to_string().contains(word), "{word}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
        assert!(Change::default().is_empty());
        assert!(!Change { free: Some(false), ..Change::default() }.is_empty());
    }
}
