//! The events that billing sends.

use stowage_auth::RequestContext;
pub(crate) use stowage_proto::billing::{
    DunningStage, InvoiceEased, InvoiceOverdue, InvoiceSettled, PaymentRecorded, PlanChanged,
    StandingChanged,
};

use crate::domain::dunning::Stage;
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
