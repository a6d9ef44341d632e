//! `stowage admin invoice export`: what was charged, in the columns of FOCUS 1.2.

use clap::Args;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{ChargeKind, ChargedLine, InvoiceLine, ListChargesRequest};
use stowage_types::{CustomerId, Decimal, Money, name};
use time::Date;

use super::FLAGS;
use crate::admin::focus::{self, FocusRow, PROVIDER, stamp};
use crate::admin::{Error, Session, amount, output};

/// Bills that are read with one call.
const AT_ONCE: i32 = 1000;
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
        let rows = page.lines.iter().map(|charged| row(charged, &export.issuer));
        let bytes = focus::csv_of(rows, is_first);
        output::raw(&bytes.map_err(|error| Error::Failed(error.to_string()))?)?;
        is_first = false;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// One line.
fn row(charged: &ChargedLine, issuer: &str) -> FocusRow {
    let line = charged.line.clone().unwrap_or_default();
    let (category, class, frequency) = match line.kind() {
        ChargeKind::Base => ("Purchase", "", "Recurring"),
        ChargeKind::BaseReturned | ChargeKind::BaseChanged => ("Purchase", "", "One-Time"),
        ChargeKind::StorageCorrection | ChargeKind::TrafficCorrection => {
            ("Usage", "Correction", "Usage-Based")
        }
        _ => ("Usage", "", "Usage-Based"),
    };
    let is_usage = category == "Usage";
    let gb = if line.gb_bytes == 1_000_000_000 { "GB" } else { "GiB" };
    let (consumed, priced) = match is_usage {
        true => ((line.aggregate_bytes.to_string(), "Bytes"), (quantity_of(&line), gb)),
        false => ((String::new(), ""), ("1".to_owned(), "Periods")),
    };
    let plan = output::last_part(&line.plan);
    let kind = output::value(line.kind().as_str_name(), "CHARGE_KIND_");
    FocusRow {
        cost: amount_of(&line.amount),
        customer_id: charged.customer_id,
        currency: line.amount.clone().unwrap_or_default().currency_code,
        billing_period: (stamp(charged.period_start_time), stamp(charged.period_end_time)),
        category,
        class,
        frequency,
        charge_period: (stamp(line.from_time), stamp(line.to_time)),
        consumed,
        invoice: match charged.invoice_id {
            0 => String::new(),
            id => id.to_string(),
        },
        issuer: issuer.to_owned(),
        priced,
        location: charged.location.clone(),
        s3uid: charged.s3uid.clone(),
        service: charged.title.clone(),
        sku: (format!("plan-{plan}"), format!("plan-{plan}-{kind}")),
        plan_version: line.plan_version.to_string(),
        prior_amount: amount_of(&line.prior_amount),
        description: line.description,
        ..FocusRow::default()
    }
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
