//! Lines of invoices, on the wire.

use stowage_proto::billing as pb;
use stowage_types::{Money, Violations, from_timestamp, name, page, timestamp};

use crate::domain::charge::{ChargeListing, ChargedLine, Line};
use crate::error::Error;
use crate::rating::{Charge, ChargeKind};

/// Bills of a page by default, and at most.
const PAGE_SIZE_DEFAULT: i32 = 100;
const PAGE_SIZE_MAX: i32 = 1000;

impl TryFrom<pb::ListChargesRequest> for ChargeListing {
    type Error = Error;

    fn try_from(request: pb::ListChargesRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, &mut violations);
        let customer = match request.customer.as_str() {
            "" => None,
            named => violations.check("customer", name::parse_customer(named)),
        };
        let mut time = |field: &str, wire: Option<prost_types::Timestamp>| {
            violations.check(field, from_timestamp(&wire?))
        };
        let from = time("from_time", request.from_time);
        let to = time("to_time", request.to_time);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            violations.push("to_time", "is before from_time");
        }
        violations.finish()?;
        Ok(Self { customer, from, to, size, token: request.page_token })
    }
}

impl From<ChargedLine> for pb::ChargedLine {
    fn from(charged: ChargedLine) -> Self {
        let title = charged.line.tariff.title.clone();
        let (from, to) = (charged.line.charge.from, charged.line.charge.to);
        Self {
            customer_id: charged.customer.0,
            s3uid: charged.s3uid,
            service_id: charged.service_id,
            invoice_id: charged.invoice_id,
            bill_time: Some(timestamp(charged.bill_time)),
            period_start_time: Some(timestamp(from)),
            period_end_time: Some(timestamp(to)),
            title,
            location: charged.location,
            storage_type: charged.storage_type,
            line: Some(charged.line.into()),
        }
    }
}

impl From<Line> for pb::InvoiceLine {
    fn from(Line { charge, tariff }: Line) -> Self {
        let money = |nanos: i128| Some(Money::from_nanos(nanos, tariff.currency).to_proto());
        // Hours of a period fit any integer.
        let hours = |hours: i128| i64::try_from(hours).unwrap_or(i64::MAX);
        Self {
            kind: kind_to_proto(charge.kind).into(),
            description: charge.description(&tariff),
            plan: name::plan(charge.plan),
            plan_version: charge.version,
            from_time: Some(timestamp(charge.from)),
            to_time: Some(timestamp(charge.to)),
            aggregate_bytes: charge.aggregate_bytes,
            included_bytes: charge.included_bytes,
            quantity_bytes: charge.quantity_bytes,
            price: money(charge.price_nanos),
            gb_bytes: charge.gb_bytes,
            hours: hours(charge.hours),
            period_hours: hours(charge.period_hours),
            prior_amount: money(charge.prior_nanos),
            amount: money(charge.amount_nanos),
            rounding: Charge::rounding(tariff.currency),
        }
    }
}

fn kind_to_proto(kind: ChargeKind) -> pb::ChargeKind {
    match kind {
        ChargeKind::Base => pb::ChargeKind::Base,
        ChargeKind::BaseReturned => pb::ChargeKind::BaseReturned,
        ChargeKind::BaseChanged => pb::ChargeKind::BaseChanged,
        ChargeKind::Storage => pb::ChargeKind::Storage,
        ChargeKind::Traffic => pb::ChargeKind::Traffic,
        ChargeKind::StorageCorrection => pb::ChargeKind::StorageCorrection,
        ChargeKind::TrafficCorrection => pb::ChargeKind::TrafficCorrection,
    }
}
