//! What reconciliation finds.

use stowage_types::CustomerId;
use time::OffsetDateTime;

use super::compare::Difference;
use crate::domain::subscription::Subscription;

/// What does not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServiceMissing,
    ServiceUnknown,
    EndedThere,
    EndedHere,
    PendingThere,
    PendingHere,
    CustomerDiffers,
    PlanDiffers,
    PriceDiffers,
    EndDiffers,
    InvoiceTwice,
    InvoiceMissing,
    InvoiceUnknown,
    BillNotIssued,
    LinkBroken,
    BooksDiffer,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 16] = [
        Self::ServiceMissing,
        Self::ServiceUnknown,
        Self::EndedThere,
        Self::EndedHere,
        Self::PendingThere,
        Self::PendingHere,
        Self::CustomerDiffers,
        Self::PlanDiffers,
        Self::PriceDiffers,
        Self::EndDiffers,
        Self::InvoiceTwice,
        Self::InvoiceMissing,
        Self::InvoiceUnknown,
        Self::BillNotIssued,
        Self::LinkBroken,
        Self::BooksDiffer,
    ];

    /// For logs and metrics.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::ServiceMissing => "service_missing",
            Self::ServiceUnknown => "service_unknown",
            Self::EndedThere => "ended_there",
            Self::EndedHere => "ended_here",
            Self::PendingThere => "pending_there",
            Self::PendingHere => "pending_here",
            Self::CustomerDiffers => "customer_differs",
            Self::PlanDiffers => "plan_differs",
            Self::PriceDiffers => "price_differs",
            Self::EndDiffers => "end_differs",
            Self::InvoiceTwice => "invoice_twice",
            Self::InvoiceMissing => "invoice_missing",
            Self::InvoiceUnknown => "invoice_unknown",
            Self::BillNotIssued => "bill_not_issued",
            Self::LinkBroken => "link_broken",
            Self::BooksDiffer => "books_differ",
        }
    }

    /// What a person is to do about one that is not mended.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::ServiceMissing => {
                "find out who removed it; end the account, or have it ordered anew"
            }
            Self::ServiceUnknown => "find out whose it is; end it there if it is nobody's",
            Self::EndedThere => "end the account, or open the service again there",
            Self::EndedHere => "end it there: --mend does",
            Self::PendingThere => "accept its order there: --mend does",
            Self::PendingHere => "look for the saga of its order: stowage admin saga list",
            Self::CustomerDiffers => "move the service to the customer's client, or link him anew",
            Self::PlanDiffers => "give the service the product of the plan",
            Self::PriceDiffers => "give the service the price that was sold",
            Self::EndDiffers => "tell the provider again: --mend does",
            Self::InvoiceTwice => "cancel the one that is not noted here, if nobody has paid it",
            Self::InvoiceMissing => "find out who removed it; charge it there by hand",
            Self::InvoiceUnknown => "cancel it there, if nobody has paid it",
            Self::BillNotIssued => "the log of billing says why the provider does not take it",
            Self::LinkBroken => "open the client again, or link the customer to another",
            Self::BooksDiffer => "stop booking and restore a backup that agrees; report it",
        }
    }
}

/// What came of mending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is left as it was found.
    Left,
    Mended,
    /// It was tried, and is left.
    Failed(String),
}

/// One thing that does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) installation: String,
    /// The service; 0: of none.
    pub(crate) service_id: i64,
    /// The account; empty: of none.
    pub(crate) s3uid: String,
    /// Whose; absent: nobody's that is known.
    pub(crate) customer: Option<CustomerId>,
    /// What is here, in words.
    pub(crate) here: String,
    /// What is there, in words.
    pub(crate) there: String,
    /// Since when, where that is known.
    pub(crate) since: Option<OffsetDateTime>,
    pub(crate) outcome: Outcome,
}

impl Finding {
    /// A difference of a subscription.
    pub(super) fn of(
        own: &Subscription,
        installation: &str,
        difference: Difference,
        outcome: Outcome,
    ) -> Self {
        let Difference { kind, here, there, since, .. } = difference;
        Self {
            kind,
            installation: installation.to_owned(),
            service_id: own.placed.map_or(0, |placed| placed.service_id),
            s3uid: own.s3uid.to_string(),
            customer: Some(own.customer),
            here,
            there,
            since,
            outcome,
        }
    }
}
