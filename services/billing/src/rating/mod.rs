//! What usage costs. Pure: the same facts always make the same charges, so that a charge can be
//! computed again, by anybody, years later.
//!
//! Everything is counted in whole hours, UTC: an hour belongs to the window in which it starts. So
//! windows that touch share no hour and leave none out, and usage is known by the hour.
//!
//! Numbers are whole: bytes, hours and nano-units. A product is divided once, at its end, by one
//! of the functions of [`rounding`], which are named for their mode.

mod charge;
mod rounding;
mod text;

pub(crate) use charge::{Charge, ChargeKind};

use stowage_types::{Currency, PlanId, hour_of};
use time::{Duration, OffsetDateTime};

use crate::domain::plan::Plan;
use crate::domain::terms::StorageMode;

/// What usage is rated by: the terms of one version of a plan, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tariff {
    pub(crate) plan: PlanId,
    pub(crate) version: i32,
    pub(crate) title: String,
    pub(crate) currency: Currency,
    /// Price of a period.
    pub(crate) period_nanos: i128,
    /// Price of a GB that is stored for a whole period, above what is included.
    pub(crate) storage_nanos: i128,
    /// Price of a GB that is moved, above what is included.
    pub(crate) traffic_nanos: i128,
    pub(crate) gb_bytes: i64,
    pub(crate) included_storage_bytes: i64,
    pub(crate) included_traffic_bytes: i64,
    pub(crate) storage_mode: StorageMode,
}

impl Tariff {
    /// The tariff of a plan; `None` if it is not priced in the currency.
    pub(crate) fn of(plan: &Plan, currency: Currency) -> Option<Self> {
        let terms = &plan.terms;
        let price = terms.price_in(currency)?;
        Some(Self {
            plan: plan.id,
            version: plan.version,
            title: terms.title.clone(),
            currency,
            period_nanos: price.period.nanos(),
            storage_nanos: price.storage_overage.nanos(),
            traffic_nanos: price.traffic_overage.nanos(),
            gb_bytes: terms.gb_bytes,
            // The terms were checked: their products fit.
            included_storage_bytes: terms.included_storage_gb.saturating_mul(terms.gb_bytes),
            included_traffic_bytes: terms.included_traffic_gb.saturating_mul(terms.gb_bytes),
            storage_mode: terms.storage_mode,
        })
    }
}

/// A part of a period in which one version of a plan held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) plan: PlanId,
    pub(crate) version: i32,
    /// Start of its first hour.
    pub(crate) from: OffsetDateTime,
    /// End of its last hour in which there was an account.
    pub(crate) to: OffsetDateTime,
    /// End of its last hour that the base price paid for; later than `to` if the account ended.
    pub(crate) paid_to: OffsetDateTime,
}

/// What was used in a segment: metering's figures, frozen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) stored_peak_bytes: i64,
    pub(crate) stored_last_bytes: i64,
    pub(crate) stored_byte_seconds: i128,
    /// When the newest fact in it was true.
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Snapshot {
    /// Whether it says the same of what was used, however old its facts are.
    pub(crate) fn has_figures_of(&self, other: &Self) -> bool {
        Self { as_of: None, ..self.clone() } == Self { as_of: None, ..other.clone() }
    }
}

/// The first start of an hour that is not before `time`.
pub(crate) fn hour_after(time: OffsetDateTime) -> OffsetDateTime {
    let start = hour_of(time);
    if start == time { start } else { start + Duration::HOUR }
}

/// Whole hours of a window that starts and ends with one.
pub(crate) fn hours(from: OffsetDateTime, to: OffsetDateTime) -> i128 {
    i128::from((to - from).whole_hours())
}
