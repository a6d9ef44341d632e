//! Why a provider did not do it.

use crate::PaymentRefusal;

/// Cause of a failure inside a provider, for logs only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a provider did not do it; billing acts differently on each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No order was placed with this key, or there is no such invoice.
    #[error("the billing provider has no such order or invoice")]
    NotFound,
    /// The order was undone, or has ended; its key is spent.
    #[error("the order was undone")]
    Undone,
    /// The provider will not have it, now or later: this call did nothing.
    #[error("the billing provider refused the order: {why}")]
    Refused {
        /// Why, in words for the customer.
        why: String,
    },
    /// The customer pays in advance, and has not enough credit: this call did nothing.
    #[error("the customer has {credit} and needs {needed}")]
    CreditTooLow {
        /// What he may use, with its currency.
        credit: String,
        /// What it costs, with its currency.
        needed: String,
    },
    /// The provider did not book a payment; nothing was changed.
    #[error("the payment was not booked: {0}")]
    Payment(#[from] PaymentRefusal),
    /// The answer was lost or unclear: it may have been done. A repeat under the same key settles
    /// it.
    #[error("the billing provider gave no clear answer")]
    Pending {
        /// The cause, for logs.
        source: BoxError,
    },
    /// The provider is away: nothing was done. Repeat later.
    #[error("the billing provider is unavailable")]
    Unavailable {
        /// The cause, for logs.
        source: BoxError,
    },
}

impl Error {
    /// Wraps a cause after which it is not known what was done.
    pub fn pending(source: impl Into<BoxError>) -> Self {
        Self::Pending { source: source.into() }
    }

    /// Wraps a cause after which it is certain that nothing was done.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { source: source.into() }
    }

    /// Whether a repeat of the same call may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Unavailable { .. })
    }
}
