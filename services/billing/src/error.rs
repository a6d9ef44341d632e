//! What can go wrong in billing, by what a caller does about it, and its one form on the wire.

use std::time::Duration;

use stowage_proto::common::ErrorReason;
use stowage_provider::Error as ProviderError;
use stowage_provider::signed::Disbelief;
use stowage_runtime::{invalid, status};
use stowage_types::{CustomerId, PlanId, Violations};
use tonic::{Code, Status};

/// After what is away, callers try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What can go wrong in billing. Its text is public.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request are wrong.
    #[error("{0}")]
    Invalid(Violations),
    /// The page token is not one of this listing.
    #[error("page_token {why}")]
    PageToken {
        /// What is wrong with it.
        why: String,
    },
    /// No such plan or version, or not visible to the caller.
    #[error("plan not found")]
    PlanNotFound,
    /// An active plan has the title.
    #[error("a plan titled {title:?} exists")]
    PlanNameTaken {
        /// The title.
        title: String,
    },
    /// The plan was changed since it was read.
    #[error("the plan was changed by another, it is at version {version}")]
    PlanChanged {
        /// Its version.
        version: i32,
    },
    /// The plan is not sold.
    #[error("plan {plan} is archived")]
    PlanArchived {
        /// The plan.
        plan: PlanId,
    },
    /// The plan has no price in the currency.
    #[error("plan {plan} has no price in {currency}")]
    PlanNotPriced {
        /// The plan.
        plan: PlanId,
        /// The currency.
        currency: String,
    },
    /// The plan differs from the subscription's in what a change cannot change.
    #[error("the plan has another {what}")]
    PlanMismatch {
        /// `location`, `storage_type` or `period`.
        what: &'static str,
    },
    /// The plan is not offered at the location.
    #[error("plan {plan} is not offered at location {location}")]
    PlanNotOffered {
        /// The plan.
        plan: PlanId,
        /// Code of the location.
        location: String,
    },
    /// The customer has as many accounts on the plan as it allows.
    #[error("a customer may have at most {limit} accounts on plan {plan}")]
    PlanLimit {
        /// The plan.
        plan: PlanId,
        /// Most accounts.
        limit: i32,
    },
    /// No such subscription, or not visible to the caller.
    #[error("subscription not found")]
    SubscriptionNotFound,
    /// The subscription's state does not allow it.
    #[error("the subscription is {state}")]
    SubscriptionState {
        /// Its state.
        state: &'static str,
    },
    /// The order key belongs to another order.
    #[error("the order key was used for another order")]
    OrderKeyReused,
    /// The provider refused the order for good.
    #[error("the billing provider refused the order: {why}")]
    OrderRefused {
        /// Why, in words for the customer.
        why: String,
    },
    /// The customer pays in advance, and has not enough credit.
    #[error("the customer has {credit} of credit and needs {needed}")]
    CreditTooLow {
        /// What he may use, with its currency.
        credit: String,
        /// What it costs, with its currency.
        needed: String,
    },
    /// No such customer, or not visible to the caller.
    #[error("customer not found")]
    CustomerNotFound,
    /// Nothing is stored that the invoice could be computed from again.
    #[error("the invoice was issued before invoices had lines")]
    InvoiceNotRated,
    /// No such invoice, or not visible to the caller.
    #[error("invoice not found")]
    InvoiceNotFound,
    /// The invoice is not open.
    #[error("the invoice is not open")]
    InvoiceState,
    /// The payment is more than is left to pay, or in another currency.
    #[error("only {balance} is left to pay")]
    PaymentTooHigh {
        /// What is left, with its currency.
        balance: String,
    },
    /// The provider did not book the payment.
    #[error("the payment was not booked: {why}")]
    PaymentRefused {
        /// Why, in words for an operator.
        why: &'static str,
    },
    /// The caller may not do this for one customer.
    #[error("{what} is not allowed")]
    RoleNotAllowed {
        /// What he wanted.
        what: &'static str,
    },
    /// The billing system has no such client.
    #[error("the billing system has no client {client_id}")]
    ClientNotFound {
        /// The client.
        client_id: i64,
    },
    /// A customer cannot be linked so.
    #[error("the customer is not linked: {why}")]
    LinkRefused {
        /// Why, in words for an operator.
        why: String,
    },
    /// The customer is linked to no client.
    #[error("the customer is linked to no client")]
    LinkNotFound,
    /// The reference is that of another payment.
    #[error("the reference is that of another payment")]
    PaymentReferenceReused,
    /// Billing has never met the customer: whoever knows better may say so.
    #[error("customer not found")]
    CustomerNotMet {
        /// The customer.
        customer: CustomerId,
    },
    /// Nothing takes messages there.
    #[error("nothing takes messages here: no such installation, or no secret is set for it")]
    HookNotFound,
    /// A message is not signed as it must be, or not of now.
    #[error("the message is not believed: {why}")]
    SignatureInvalid {
        /// Why, in words for whoever runs its sender.
        why: String,
    },
    /// The provider is away, or its answer was unclear.
    #[error("the billing provider is unavailable")]
    ProviderUnavailable {
        /// What the provider's adapter said.
        source: ProviderError,
    },
    /// Metering is away, or its answer was not understood.
    #[error("metering is unavailable")]
    MeteringUnavailable {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database is busy, full or closed; nothing was stored.
    #[error("billing is unavailable")]
    Unavailable {
        /// What the database said.
        source: stowage_db::Error,
    },
    /// The database did not say whether a commit was stored.
    #[error("the answer of the database was lost; the call may have been executed")]
    Unclear {
        /// What the database said.
        source: stowage_db::Error,
    },
    /// The request id stands in the way, or its answer could not be stored.
    #[error(transparent)]
    Request(#[from] stowage_request::Error),
    /// A fault of ours.
    #[error("internal error")]
    Internal {
        /// What happened, for the log.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps a fault of ours.
    pub(crate) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { source: source.into() }
    }

    fn code_and_reason(&self) -> (Code, ErrorReason) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, ErrorReason::InvalidField),
            Self::PageToken { .. } => (Code::InvalidArgument, ErrorReason::PageTokenInvalid),
            Self::PlanNotFound => (Code::NotFound, ErrorReason::PlanNotFound),
            Self::PlanNameTaken { .. } => (Code::AlreadyExists, ErrorReason::PlanNameTaken),
            Self::PlanChanged { .. } => (Code::Aborted, ErrorReason::PlanChanged),
            Self::PlanArchived { .. } => (Code::FailedPrecondition, ErrorReason::PlanArchived),
            Self::PlanMismatch { .. } => (Code::FailedPrecondition, ErrorReason::PlanMismatch),
            Self::PlanNotPriced { .. } => (Code::FailedPrecondition, ErrorReason::PlanNotPriced),
            Self::PlanNotOffered { .. } => (Code::FailedPrecondition, ErrorReason::PlanNotOffered),
            Self::PlanLimit { .. } => (Code::ResourceExhausted, ErrorReason::FreePlanLimit),
            Self::SubscriptionNotFound => (Code::NotFound, ErrorReason::SubscriptionNotFound),
            Self::SubscriptionState { .. } => {
                (Code::FailedPrecondition, ErrorReason::SubscriptionState)
            }
            Self::CustomerNotFound => (Code::NotFound, ErrorReason::CustomerNotFound),
            Self::InvoiceNotRated => (Code::FailedPrecondition, ErrorReason::InvoiceNotRated),
            Self::InvoiceNotFound => (Code::NotFound, ErrorReason::InvoiceNotFound),
            Self::InvoiceState => (Code::FailedPrecondition, ErrorReason::InvoiceState),
            Self::PaymentTooHigh { .. } => (Code::FailedPrecondition, ErrorReason::PaymentTooHigh),
            Self::PaymentRefused { .. } => (Code::FailedPrecondition, ErrorReason::PaymentRefused),
            Self::PaymentReferenceReused => {
                (Code::AlreadyExists, ErrorReason::PaymentReferenceReused)
            }
            Self::RoleNotAllowed { .. } => (Code::PermissionDenied, ErrorReason::RoleNotAllowed),
            Self::ClientNotFound { .. } => (Code::NotFound, ErrorReason::ClientNotFound),
            Self::LinkRefused { .. } => (Code::FailedPrecondition, ErrorReason::LinkRefused),
            Self::LinkNotFound => (Code::NotFound, ErrorReason::LinkNotFound),
            Self::CustomerNotMet { .. } => (Code::NotFound, ErrorReason::CustomerNotFound),
            Self::HookNotFound => (Code::NotFound, ErrorReason::HookNotFound),
            Self::SignatureInvalid { .. } => (Code::Unauthenticated, ErrorReason::SignatureInvalid),
            Self::OrderKeyReused => (Code::AlreadyExists, ErrorReason::RequestIdReused),
            Self::OrderRefused { .. } => (Code::FailedPrecondition, ErrorReason::OrderRefused),
            Self::CreditTooLow { .. } => (Code::FailedPrecondition, ErrorReason::CreditTooLow),
            Self::ProviderUnavailable { .. } => {
                (Code::Unavailable, ErrorReason::ProviderUnavailable)
            }
            Self::Unavailable { .. } | Self::MeteringUnavailable { .. } => {
                (Code::Unavailable, ErrorReason::Unavailable)
            }
            Self::Unclear { .. } => (Code::Unknown, ErrorReason::ConnectionBroken),
            // A request's error knows its own form.
            Self::Request(_) | Self::Internal { .. } => (Code::Internal, ErrorReason::Internal),
        }
    }

    /// Whatever varies in the text.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::PlanNameTaken { title } => vec![("title", title.clone())],
            Self::PlanChanged { version } => vec![("version", version.to_string())],
            Self::PlanArchived { plan } => vec![("plan_id", plan.to_string())],
            Self::PlanMismatch { what } => vec![("what", (*what).to_owned())],
            Self::PlanNotPriced { plan, currency } => {
                vec![("plan_id", plan.to_string()), ("currency", currency.clone())]
            }
            Self::PlanNotOffered { plan, location } => {
                vec![("plan_id", plan.to_string()), ("location", location.clone())]
            }
            Self::PlanLimit { plan, limit } => {
                vec![("plan_id", plan.to_string()), ("limit", limit.to_string())]
            }
            Self::SubscriptionState { state } => vec![("state", (*state).to_owned())],
            Self::OrderRefused { why } | Self::LinkRefused { why } => vec![("why", why.clone())],
            Self::CreditTooLow { credit, needed } => {
                vec![("credit", credit.clone()), ("needed", needed.clone())]
            }
            Self::ClientNotFound { client_id } => vec![("client_id", client_id.to_string())],
            Self::CustomerNotMet { customer } => vec![("customer_id", customer.to_string())],
            Self::SignatureInvalid { why } => vec![("why", why.clone())],
            Self::PaymentTooHigh { balance } => vec![("balance", balance.clone())],
            _ => Vec::new(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Invalid(violations) = &error {
            return invalid(violations);
        }
        if let Error::Request(error) = error {
            return error.into();
        }
        let (code, reason) = error.code_and_reason();
        let mut builder = status(code, reason, error.to_string());
        for (key, value) in error.metadata() {
            builder = builder.meta(key, value);
        }
        if code == Code::Unavailable {
            builder = builder.retry_after(RETRY_AFTER);
        }
        builder.source(error).build()
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<stowage_db::Error> for Error {
    fn from(source: stowage_db::Error) -> Self {
        match source {
            stowage_db::Error::Full | stowage_db::Error::Unavailable { .. } => {
                Self::Unavailable { source }
            }
            stowage_db::Error::Unclear { .. } => Self::Unclear { source },
            stowage_db::Error::Nul => Violations::nul().into(),
            other => Self::internal(other),
        }
    }
}

impl From<Disbelief> for Error {
    fn from(error: Disbelief) -> Self {
        match error {
            Disbelief::NoSecret => Self::HookNotFound,
            Disbelief::Malformed { field, why } => Violations::of(field, why).into(),
            Disbelief::Stale | Disbelief::Forged => {
                Self::SignatureInvalid { why: error.to_string() }
            }
        }
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::NotFound => {
                Self::internal("the billing provider does not know an order of ours")
            }
            error @ ProviderError::Payment(_) => Self::internal(error),
            ProviderError::Undone => Self::SubscriptionState { state: "cancelled" },
            ProviderError::Refused { why } => Self::OrderRefused { why },
            ProviderError::CreditTooLow { credit, needed } => Self::CreditTooLow { credit, needed },
            source @ (ProviderError::Pending { .. } | ProviderError::Unavailable { .. }) => {
                Self::ProviderUnavailable { source }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stowage_runtime::reason_of;

    use super::*;

    #[test]
    fn every_error_has_its_code_and_reason() {
        let plan = PlanId(1);
        let text = || "x".to_owned();
        let full = stowage_db::Error::Full;
        let pending = || ProviderError::pending("lost");
        const FAILED: Code = Code::FailedPrecondition;
        use ErrorReason as R;
        for (error, code, reason) in [
            (Violations::of("f", "w").into(), Code::InvalidArgument, R::InvalidField),
            (Error::PageToken { why: text() }, Code::InvalidArgument, R::PageTokenInvalid),
            (Error::PlanNotFound, Code::NotFound, R::PlanNotFound),
            (Error::PlanNameTaken { title: text() }, Code::AlreadyExists, R::PlanNameTaken),
            (Error::PlanChanged { version: 2 }, Code::Aborted, R::PlanChanged),
            (Error::PlanArchived { plan }, FAILED, R::PlanArchived),
            (Error::PlanMismatch { what: "period" }, FAILED, R::PlanMismatch),
            (Error::PlanNotPriced { plan, currency: text() }, FAILED, R::PlanNotPriced),
            (Error::PlanNotOffered { plan, location: text() }, FAILED, R::PlanNotOffered),
            (Error::PlanLimit { plan, limit: 1 }, Code::ResourceExhausted, R::FreePlanLimit),
            (Error::SubscriptionNotFound, Code::NotFound, R::SubscriptionNotFound),
            (Error::SubscriptionState { state: "active" }, FAILED, R::SubscriptionState),
            (Error::OrderKeyReused, Code::AlreadyExists, R::RequestIdReused),
            (Error::OrderRefused { why: text() }, FAILED, R::OrderRefused),
            (Error::CreditTooLow { credit: text(), needed: text() }, FAILED, R::CreditTooLow),
            (pending().into(), Code::Unavailable, R::ProviderUnavailable),
            (ProviderError::Undone.into(), FAILED, R::SubscriptionState),
            (ProviderError::NotFound.into(), Code::Internal, R::Internal),
            (full.into(), Code::Unavailable, R::Unavailable),
            (
                Error::MeteringUnavailable { source: text().into() },
                Code::Unavailable,
                R::Unavailable,
            ),
            (
                stowage_db::Error::Unclear { source: None }.into(),
                Code::Unknown,
                R::ConnectionBroken,
            ),
            (Error::CustomerNotFound, Code::NotFound, R::CustomerNotFound),
            (Error::InvoiceNotRated, FAILED, R::InvoiceNotRated),
            (Error::InvoiceNotFound, Code::NotFound, R::InvoiceNotFound),
            (Error::InvoiceState, FAILED, R::InvoiceState),
            (Error::PaymentTooHigh { balance: text() }, FAILED, R::PaymentTooHigh),
            (Error::PaymentRefused { why: "" }, FAILED, R::PaymentRefused),
            (Error::PaymentReferenceReused, Code::AlreadyExists, R::PaymentReferenceReused),
            (
                Error::CustomerNotMet { customer: CustomerId(7) },
                Code::NotFound,
                R::CustomerNotFound,
            ),
            (Error::RoleNotAllowed { what: "x" }, Code::PermissionDenied, R::RoleNotAllowed),
            (Error::ClientNotFound { client_id: 7 }, Code::NotFound, R::ClientNotFound),
            (Error::LinkRefused { why: text() }, FAILED, R::LinkRefused),
            (Error::LinkNotFound, Code::NotFound, R::LinkNotFound),
            (Disbelief::NoSecret.into(), Code::NotFound, R::HookNotFound),
            (Disbelief::Stale.into(), Code::Unauthenticated, R::SignatureInvalid),
            (Disbelief::Forged.into(), Code::Unauthenticated, R::SignatureInvalid),
            (stowage_db::Error::Nul.into(), Code::InvalidArgument, R::InvalidField),
            (stowage_db::Error::RowNotFound.into(), Code::Internal, R::Internal),
            (Error::internal("fault"), Code::Internal, R::Internal),
        ] {
            let text = error.to_string();
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{text}");
            assert_eq!(reason_of(&status), Some(reason), "{text}");
            assert!(!status.message().contains("fault"), "a cause is told: {status:?}");
        }
    }
}
