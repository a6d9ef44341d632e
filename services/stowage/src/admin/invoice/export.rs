//! `stowage admin invoice export`: what was charged, in the columns of FOCUS 1.2.
//!
//! Source: FinOps Open Cost and Usage Specification 1.2, <https://focus.finops.org/>: the columns
//! that it calls mandatory, and those of the others that we have a value for. Columns of our own
//! begin with `x_`, as it says they should.

use clap::Args;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{ChargeKind, ChargedLine, InvoiceLine, ListChargesRequest};
use stowage_types::{CustomerId, Decimal, Money, name};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::FLAGS;
use crate::admin::{Error, Session, amount, output};

/// Bills that are read with one call.
const AT_ONCE: i32 = 1000;
/// Who bills, and whose service it is, unless something else is said.
const PROVIDER: &str = "Stowage";

const COLUMNS: [&str; 32] = [
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
    "x_PlanVersion",
    "x_PriorAmount",
];

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Only what this customer was charged
    #[arg(long)]
    customer: Option<CustomerId>,
    /// First day of the bills, UTC, such as 2026-01-01
    #[arg(long, value_name = "DAY", value_parser = amount::day)]
    from: Option<Date>,
    /// Last day of the bills, UTC, included
    #[arg(long, value_name = "DAY", value_parser = amount::day)]
    to: Option<Date>,
    /// Who bills
    #[arg(long, default_value = PROVIDER)]
    issuer: String,
}

pub(crate) async fn run(export: Export, session: &Session) -> Result<(), Error> {
    let start = |day: Date| Some(stowage_types::timestamp(day.midnight().assume_utc()));
    let from_time = export.from.and_then(start);
    let to_time = export.to.and_then(Date::next_day).and_then(start);
    let customer = export.customer.map(name::customer).unwrap_or_default();
    let mut invoices = InvoiceServiceClient::new(session.client.api());
    let mut page_token = String::new();
    let mut is_first = true;
    loop {
        let request = ListChargesRequest {
            customer: customer.clone(),
            from_time,
            to_time,
            page_size: AT_ONCE,
            page_token,
        };
        let page = invoices.list_charges(request).await;
        let page = page.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
        let bytes = csv_of(&page.lines, &export.issuer, is_first);
        output::raw(&bytes.map_err(|error| Error::Failed(error.to_string()))?)?;
        is_first = false;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn csv_of(lines: &[ChargedLine], issuer: &str, with_head: bool) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if with_head {
        writer.write_record(COLUMNS)?;
    }
    for charged in lines {
        let line = charged.line.clone().unwrap_or_default();
        writer.write_record(record(charged, &line, issuer))?;
    }
    writer.flush()?;
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// One line, in the order of [`COLUMNS`].
fn record(charged: &ChargedLine, line: &InvoiceLine, issuer: &str) -> [String; COLUMNS.len()] {
    let amount = amount_of(&line.amount);
    let currency = line.amount.clone().unwrap_or_default().currency_code;
    let (from, to) = (stamp(line.from_time), stamp(line.to_time));
    let (category, class, frequency) = match line.kind() {
        ChargeKind::Base => ("Purchase", "", "Recurring"),
        ChargeKind::BaseReturned | ChargeKind::BaseChanged => ("Purchase", "", "One-Time"),
        ChargeKind::StorageCorrection | ChargeKind::TrafficCorrection => {
            ("Usage", "Correction", "Usage-Based")
        }
        _ => ("Usage", "", "Usage-Based"),
    };
    let is_usage = category == "Usage";
    let (consumed, consumed_unit) = match is_usage {
        true => (line.aggregate_bytes.to_string(), "Bytes".to_owned()),
        false => (String::new(), String::new()),
    };
    let gb = if line.gb_bytes == 1_000_000_000 { "GB" } else { "GiB" };
    let (quantity, unit) = match is_usage {
        true => (quantity_of(line), gb.to_owned()),
        false => ("1".to_owned(), "Periods".to_owned()),
    };
    let plan = output::last_part(&line.plan);
    let kind = output::value(line.kind().as_str_name(), "CHARGE_KIND_");
    let invoice = match charged.invoice_id {
        0 => String::new(),
        id => id.to_string(),
    };
    [
        amount.clone(),
        charged.customer_id.to_string(),
        format!("Customer {}", charged.customer_id),
        currency,
        stamp(charged.period_end_time),
        stamp(charged.period_start_time),
        category.to_owned(),
        class.to_owned(),
        line.description.clone(),
        frequency.to_owned(),
        to,
        from,
        consumed,
        consumed_unit,
        amount.clone(),
        amount.clone(),
        invoice,
        issuer.to_owned(),
        amount,
        quantity,
        unit,
        issuer.to_owned(),
        issuer.to_owned(),
        charged.location.clone(),
        charged.s3uid.clone(),
        "Storage".to_owned(),
        charged.title.clone(),
        format!("plan-{plan}"),
        format!("plan-{plan}-{kind}"),
        charged.s3uid.clone(),
        line.plan_version.to_string(),
        amount_of(&line.prior_amount),
    ]
}

/// GB that are charged, exact to a billionth.
fn quantity_of(line: &InvoiceLine) -> String {
    let billionths = i128::from(line.quantity_bytes) * 1_000_000_000;
    Decimal::from_nanos(billionths / i128::from(line.gb_bytes.max(1))).to_string()
}

fn amount_of(wire: &Option<stowage_proto::Money>) -> String {
    let money = wire.as_ref().and_then(|wire| Money::from_proto(wire).ok());
    money.map(Money::to_decimal_string).unwrap_or_default()
}

/// A time as FOCUS writes it: `2026-01-31T10:00:00Z`.
fn stamp(wire: Option<prost_types::Timestamp>) -> String {
    const STAMP: &[BorrowedFormatItem<'static>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let time = wire.and_then(|wire| stowage_types::from_timestamp(&wire).ok());
    let text = time.and_then(|time: OffsetDateTime| time.format(STAMP).ok());
    text.unwrap_or_default()
}
