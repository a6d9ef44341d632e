//! Rows of FOCUS 1.2, of what was charged and of what was used.
//!
//! Source: FinOps Open Cost and Usage Specification 1.2, <https://focus.finops.org/>: the columns
//! that it calls mandatory, and those of the others that we have a value for. Columns of our own
//! begin with `x_`, as it says they should.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Who bills, and whose service it is, unless something else is said.
pub(super) const PROVIDER: &str = "Stowage";

const COLUMNS: [&str; 34] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "x_AsOf",
    "x_PlanVersion",
    "x_PriorAmount",
    "x_Source",
];

/// A row. What is empty is null.
#[derive(Debug, Clone, Default)]
pub(super) struct FocusRow {
    /// All four costs: nobody pays another price than the one that is billed.
    pub(super) cost: String,
    pub(super) customer_id: i64,
    pub(super) currency: String,
    /// Start and end.
    pub(super) billing_period: (String, String),
    pub(super) category: &'static str,
    pub(super) class: &'static str,
    pub(super) description: String,
    pub(super) frequency: &'static str,
    /// Start and end.
    pub(super) charge_period: (String, String),
    /// How much, and of what.
    pub(super) consumed: (String, &'static str),
    pub(super) invoice: String,
    /// Who bills.
    pub(super) issuer: String,
    /// How much, and of what.
    pub(super) priced: (String, &'static str),
    pub(super) location: String,
    pub(super) s3uid: String,
    pub(super) service: String,
    /// What is sold, and its price.
    pub(super) sku: (String, String),
    pub(super) as_of: String,
    pub(super) plan_version: String,
    pub(super) prior_amount: String,
    pub(super) source: String,
}

impl FocusRow {
    /// The row, in the order of the columns.
    fn record(self) -> [String; COLUMNS.len()] {
        [
            self.cost.clone(),
            self.customer_id.to_string(),
            format!("Customer {}", self.customer_id),
            self.currency,
            self.billing_period.1,
            self.billing_period.0,
            self.category.to_owned(),
            self.class.to_owned(),
            self.description,
            self.frequency.to_owned(),
            self.charge_period.1,
            self.charge_period.0,
            self.consumed.0,
            self.consumed.1.to_owned(),
            self.cost.clone(),
            self.cost.clone(),
            self.invoice,
            self.issuer.clone(),
            self.cost,
            self.priced.0,
            self.priced.1.to_owned(),
            self.issuer.clone(),
            self.issuer,
            self.location,
            self.s3uid.clone(),
            "Storage".to_owned(),
            self.service,
            self.sku.0,
            self.sku.1,
            self.s3uid,
            self.as_of,
            self.plan_version,
            self.prior_amount,
            self.source,
        ]
    }
}

/// Rows as CSV, below the names of the columns if it is the beginning of a file.
pub(super) fn csv_of(
    rows: impl Iterator<Item = FocusRow>,
    with_head: bool,
) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if with_head {
        writer.write_record(COLUMNS)?;
    }
    for row in rows {
        writer.write_record(row.record())?;
    }
    writer.flush()?;
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// A time as FOCUS writes it: `2026-01-31T10:00:00Z`; empty for none.
pub(super) fn stamp(wire: Option<prost_types::Timestamp>) -> String {
    let time = wire.and_then(|wire| stowage_types::from_timestamp(&wire).ok());
    time.map(stamp_of).unwrap_or_default()
}

/// The same of a moment.
pub(super) fn stamp_of(time: OffsetDateTime) -> String {
    const STAMP: &[BorrowedFormatItem<'static>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(STAMP).unwrap_or_default()
}
