//! How a plan is printed. Amounts are texts in JSON: a number there would become a float.

use std::collections::BTreeMap;

use serde::Serialize;
use stowage_proto::Money as MoneyProto;
use stowage_proto::billing::{Plan, PlanPrice, PricePart};
use stowage_types::Decimal;

use crate::admin::amount;
use crate::admin::output::{self, Row};

/// A plan in a list.
#[derive(Serialize)]
pub(super) struct PlanRow {
    plan_id: i64,
    version: i32,
    title: String,
    active: bool,
    free: bool,
    free_parts: Vec<String>,
    location: String,
    storage_type: String,
    storage_mode: String,
    period: String,
    base_price: String,
    prices: BTreeMap<String, PriceRow>,
    quota_bytes: i64,
    bucket_max: i32,
    key_max: i32,
    storage_cap_gb: i64,
    traffic_cap_gb: i64,
    gb_bytes: i64,
    included_storage_gb: i64,
    included_traffic_gb: i64,
    account_max_per_customer: i32,
    effective_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct PriceRow {
    price: String,
    storage_overage: String,
    traffic_overage: String,
}

/// The same plan, shown whole.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Detail(pub(super) PlanRow);

impl From<Plan> for PlanRow {
    fn from(plan: Plan) -> Self {
        let period = output::value(plan.period().as_str_name(), "BILLING_PERIOD_");
        let storage_mode = output::value(plan.storage_mode().as_str_name(), "STORAGE_MODE_");
        let part = |part: PricePart| output::value(part.as_str_name(), "PRICE_PART_");
        let free_parts = plan.free_parts().map(part).collect();
        Self {
            plan_id: plan.plan_id,
            version: plan.version,
            title: plan.title,
            active: plan.active,
            free: plan.free,
            free_parts,
            location: output::last_part(&plan.location),
            storage_type: plan.storage_type,
            storage_mode,
            period,
            base_price: amount_of(plan.base_price.as_ref()),
            prices: plan.prices.iter().map(price_row).collect(),
            quota_bytes: plan.quota_bytes,
            bucket_max: plan.bucket_max,
            key_max: plan.key_max,
            storage_cap_gb: plan.storage_cap_gb,
            traffic_cap_gb: plan.traffic_cap_gb,
            gb_bytes: plan.gb_bytes,
            included_storage_gb: plan.included_storage_gb,
            included_traffic_gb: plan.included_traffic_gb,
            account_max_per_customer: plan.account_max_per_customer,
            effective_time: output::time(plan.effective_time),
            update_time: output::time(plan.update_time),
        }
    }
}

fn price_row(price: &PlanPrice) -> (String, PriceRow) {
    let currency = price.period_price.as_ref().map(|p| p.currency_code.clone());
    let row = PriceRow {
        price: amount_of(price.period_price.as_ref()),
        storage_overage: amount_of(price.storage_overage_price.as_ref()),
        traffic_overage: amount_of(price.traffic_overage_price.as_ref()),
    };
    (currency.unwrap_or_default(), row)
}

fn cap_of(gb: i64) -> String {
    if gb == 0 { "none".to_owned() } else { format!("{gb} GB") }
}

fn amount_of(money: Option<&MoneyProto>) -> String {
    let amount = money.and_then(|money| Decimal::from_proto(money).ok());
    amount.unwrap_or(Decimal::ZERO).to_string()
}

impl PlanRow {
    /// `EUR=9.8 USD=10.5`, as the flags take it.
    fn each(&self, pick: impl Fn(&PriceRow) -> &String) -> String {
        let pairs = self.prices.iter().map(|(currency, row)| format!("{currency}={}", pick(row)));
        pairs.collect::<Vec<_>>().join(" ")
    }
}

impl Row for PlanRow {
    const COLUMNS: &'static [&'static str] =
        &["PLAN", "VERSION", "TITLE", "STATE", "LOCATION", "STORAGE", "QUOTA", "PRICES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.plan_id.to_string(),
            self.version.to_string(),
            self.title.clone(),
            if self.active { "active" } else { "archived" }.to_owned(),
            self.location.clone(),
            self.storage_type.clone(),
            amount::shown_bytes(self.quota_bytes),
            self.each(|row| &row.price),
        ]
    }
}

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "PLAN",
        "VERSION",
        "TITLE",
        "STATE",
        "LOCATION",
        "STORAGE",
        "QUOTA",
        "PRICES",
        "STORAGE OVERAGE",
        "TRAFFIC OVERAGE",
        "STORAGE COUNTS",
        "BASE PRICE",
        "PERIOD",
        "FREE",
        "BUCKETS",
        "KEYS",
        "GB",
        "INCLUDED STORAGE",
        "INCLUDED TRAFFIC",
        "STORAGE CAP",
        "TRAFFIC CAP",
        "ACCOUNTS EACH",
        "SOLD FROM",
        "CHANGED",
    ];

    fn cells(&self) -> Vec<String> {
        let plan = &self.0;
        let mut cells = plan.cells();
        cells.extend([
            plan.each(|row| &row.storage_overage),
            plan.each(|row| &row.traffic_overage),
            plan.storage_mode.clone(),
            plan.base_price.clone(),
            plan.period.clone(),
            match (plan.free, plan.free_parts.as_slice()) {
                (true, _) => "yes".to_owned(),
                (false, []) => "no".to_owned(),
                (false, parts) => parts.join(" "),
            },
            amount::shown_count(plan.bucket_max),
            plan.key_max.to_string(),
            format!("{} bytes", plan.gb_bytes),
            format!("{} GB", plan.included_storage_gb),
            format!("{} GB", plan.included_traffic_gb),
            cap_of(plan.storage_cap_gb),
            cap_of(plan.traffic_cap_gb),
            amount::shown_count(plan.account_max_per_customer),
            plan.effective_time.clone().unwrap_or_default(),
            plan.update_time.clone().unwrap_or_default(),
        ]);
        cells
    }
}
