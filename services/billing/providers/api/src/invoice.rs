//! Invoices, as a provider keeps them.

use stowage_types::{CustomerId, Money};
use time::OffsetDateTime;

use crate::OrderRef;

/// Where an invoice is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvoiceState {
    /// Its order is not accepted: nothing is owed.
    Draft,
    /// Issued, and not paid in full.
    Open,
    /// Paid in full.
    Paid,
    /// Withdrawn: nothing is owed.
    Void,
}

/// What a customer owes for a period of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its id. Positive.
    pub id: i64,
    /// Who owes it.
    pub customer: CustomerId,
    /// The service it is for.
    pub service_id: i64,
    /// What was sold.
    pub title: String,
    /// Where it is in its life.
    pub state: InvoiceState,
    /// What it amounts to.
    pub total: Money,
    /// What was paid of it; never more than the total.
    pub paid: Money,
    /// When it was drafted.
    pub create_time: OffsetDateTime,
    /// When it was issued; absent while it is a draft.
    pub issue_time: Option<OffsetDateTime>,
    /// Until when it is to be paid; absent while it is a draft.
    pub due_time: Option<OffsetDateTime>,
    /// When it was paid in full or withdrawn.
    pub settle_time: Option<OffsetDateTime>,
}

impl Invoice {
    /// What is left to pay: nothing unless it is open.
    #[must_use]
    pub fn balance(&self) -> Money {
        let left = match self.state {
            InvoiceState::Open => self.total.nanos() - self.paid.nanos(),
            InvoiceState::Draft | InvoiceState::Paid | InvoiceState::Void => 0,
        };
        Money::from_nanos(left, self.total.currency())
    }
}

impl Invoice {
    /// What a payment books: all that is left to pay, or what came in if it is not more.
    ///
    /// # Errors
    /// `NotOpen`, `TooHigh`.
    pub fn payable(&self, amount: Option<Money>) -> Result<Money, PaymentRefusal> {
        if self.state != InvoiceState::Open {
            return Err(PaymentRefusal::NotOpen);
        }
        let balance = self.balance();
        let amount = amount.unwrap_or(balance);
        if amount.currency() != balance.currency() || amount.nanos() > balance.nanos() {
            return Err(PaymentRefusal::TooHigh { balance: balance.to_string() });
        }
        Ok(amount)
    }
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceLine {
    /// What it is for.
    pub text: String,
    /// How much; below zero it is given back.
    pub amount: Money,
}

/// An invoice to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvoice {
    /// Its key, unique for ever: a repeat is one and the same invoice.
    pub key: String,
    /// The order it is for.
    pub order: OrderRef,
    /// What was sold.
    pub title: String,
    /// What it amounts to, above zero: the sum of the lines.
    pub total: Money,
    /// At least one, all in the currency of the total.
    pub lines: Vec<InvoiceLine>,
}

/// Which invoices are listed, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceListing {
    /// Those of one customer only.
    pub customer: Option<CustomerId>,
    /// Those in one state only.
    pub state: Option<InvoiceState>,
    /// Those with lower ids only.
    pub before: Option<i64>,
    /// At most so many.
    pub max: i64,
}

/// Invoices that should have been paid, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverdueListing {
    /// Open ones that were due before this.
    pub due_before: OffsetDateTime,
    /// Those with higher ids only.
    pub after: i64,
    /// At most so many.
    pub max: i64,
}

/// Money that has come in for an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What whoever brought it calls it: one reference is one payment, for ever.
    pub reference: String,
    /// The invoice it is for.
    pub invoice_id: i64,
    /// How much; absent: all that is left to pay.
    pub amount: Option<Money>,
    /// Who booked it.
    pub actor: String,
}

/// Why a payment was not booked; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// The invoice is not open.
    #[error("the invoice is not open")]
    NotOpen,
    /// It is more than is left to pay, or in another currency.
    #[error("{balance} is left to pay")]
    TooHigh {
        /// What is left, with its currency.
        balance: String,
    },
    /// The provider books no payments from outside, or the reference is that of another payment.
    #[error("{why}")]
    Other {
        /// Why, in words for an operator.
        why: &'static str,
    },
}
