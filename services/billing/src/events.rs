//! The events that billing sends.

use stowage_auth::RequestContext;
pub(crate) use stowage_proto::billing::{
    DunningStage, InvoiceEased, InvoiceOverdue, InvoiceSettled, LimitsChanged, PaymentRecorded,
    PlanChanged, StandingChanged,
};
use stowage_types::timestamp;

use crate::domain::dunning::Stage;
use crate::domain::limits::Limits;
use crate::domain::plan::Plan;

/// Type of [`PlanChanged`].
pub(crate) const PLAN_CHANGED: &str = "stowage.billing.plan.changed.v1";
/// Type of [`PaymentRecorded`].
pub(crate) const PAYMENT_RECORDED: &str = "stowage.billing.payment.recorded.v1";
/// Type of [`StandingChanged`].
pub(crate) const STANDING_CHANGED: &str = "stowage.billing.standing.changed.v1";
/// Type of [`InvoiceOverdue`].
pub(crate) const INVOICE_OVERDUE: &str = "stowage.billing.invoice.overdue.v1";
/// Type of [`InvoiceEased`].
pub(crate) const INVOICE_EASED: &str = "stowage.billing.invoice.eased.v1";
/// Type of [`InvoiceSettled`].
pub(crate) const INVOICE_SETTLED: &str = "stowage.billing.invoice.settled.v1";
/// Type of [`LimitsChanged`].
pub(crate) const LIMITS_CHANGED: &str = "stowage.billing.limits.changed.v1";

impl From<Stage> for DunningStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Reminder => Self::Reminder,
            Stage::ReadOnly => Self::ReadOnly,
            Stage::Suspended => Self::Suspended,
            Stage::Ended => Self::Ended,
        }
    }
}

/// What happened to a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PlanEvent {
    Created,
    Updated,
    Archived,
}

/// A change of a plan, by a call.
pub(crate) fn plan_changed(
    event: PlanEvent,
    old: Option<&Plan>,
    new: &Plan,
    cx: &RequestContext,
) -> PlanChanged {
    let event = match event {
        PlanEvent::Created => "plan.created",
        PlanEvent::Updated => "plan.updated",
        PlanEvent::Archived => "plan.archived",
    };
    PlanChanged {
        plan_id: new.id.0,
        version: new.version,
        event: event.to_owned(),
        actor: cx.actor(),
        old_json: old.map(|plan| plan.to_json().to_string()).unwrap_or_default(),
        new_json: new.to_json().to_string(),
        request_id: cx.request_id.clone(),
    }
}

/// What an account may use from now on.
pub(crate) fn limits_changed(limits: &Limits) -> LimitsChanged {
    LimitsChanged {
        s3uid: limits.s3uid.to_string(),
        customer_id: limits.customer.0,
        sequence: limits.version,
        quota_bytes: limits.quota_bytes,
        included_storage_bytes: limits.included_storage_bytes,
        included_traffic_bytes: limits.included_traffic_bytes,
        storage_cap_bytes: limits.storage_cap_bytes,
        traffic_cap_bytes: limits.traffic_cap_bytes,
        anchor_time: limits.anchor_time.map(timestamp),
        period_months: i32::try_from(limits.period_months).unwrap_or(i32::MAX),
        ended: limits.anchor_time.is_none(),
    }
}
