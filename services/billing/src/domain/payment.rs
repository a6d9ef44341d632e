//! References of payments: one is one payment for ever, whoever brings it and whatever it is for.
//!
//! A reference is bound to what it is for before the provider is asked, and let go of only where it
//! is certain that nothing was booked. So a payment that an operator and a processor both report is
//! booked once, and money that came in for an invoice does not become credit as well.

use stowage_auth::RequestContext;
use stowage_provider::Error as ProviderError;
use stowage_request::Once;
use stowage_types::{CustomerId, Money, name};

use super::Billing;
use super::credit::CreditReceipt;
use super::invoice::Receipt;
use crate::error::Error;
use crate::store;

/// What those are told who use a reference again, in the providers' words.
const REUSED: &str = "its reference is that of another payment";
/// Begins what is for a customer; alone: it is not known for whom.
const CUSTOMERS: &str = "customers/";

/// What a payment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Invoice(i64),
    /// It becomes his credit. Absent: some customer's, from before this was noted.
    Customer(Option<CustomerId>),
}

/// What a reference is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) target: Target,
    /// Absent: all that was left to pay.
    pub(crate) amount: Option<Money>,
    pub(crate) is_booked: bool,
}

/// A payment that a processor reports.
#[derive(Debug, Clone)]
pub(crate) struct ReportedPayment {
    pub(crate) reference: String,
    pub(crate) target: Target,
    pub(crate) amount: Money,
}

impl Target {
    /// As it is stored.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Invoice(id) => name::invoice(id),
            Self::Customer(Some(id)) => name::customer(id),
            Self::Customer(None) => CUSTOMERS.to_owned(),
        }
    }

    /// Reads what [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == CUSTOMERS {
            return Some(Self::Customer(None));
        }
        let customer = name::parse_customer(text).map(|id| Self::Customer(Some(id)));
        customer.or_else(|_| name::parse_invoice(text).map(Self::Invoice)).ok()
    }

    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Customer(None), Self::Customer(_)) => true,
            _ => self == other,
        }
    }
}

impl Bound {
    /// What a payment binds its reference to, before it is booked.
    pub(crate) fn new(target: Target, amount: Option<Money>) -> Self {
        Self { target, amount, is_booked: false }
    }

    /// Whether a payment may be this one. Where either names no amount, the provider knows.
    fn may_be(&self, other: &Self) -> bool {
        let same_amount = match (self.amount, other.amount) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.target.is(other.target) && same_amount
    }
}

impl Billing {
    /// Books a payment that a processor reports. True: it was booked before.
    pub(crate) async fn take_payment(
        &self,
        cx: &RequestContext,
        reported: ReportedPayment,
        known_customer: Option<CustomerId>,
    ) -> Result<bool, Error> {
        let ReportedPayment { reference, target, amount } = reported;
        let wanted = Bound::new(target, Some(amount));
        match store::payment::find(&self.db, &reference).await? {
            Some(bound) if !bound.may_be(&wanted) => return Err(Error::PaymentReferenceReused),
            Some(bound) if bound.is_booked && bound.amount.is_some() => return Ok(true),
            _ => {}
        }
        match target {
            Target::Invoice(invoice_id) => {
                let receipt = Receipt { invoice_id, amount: Some(amount), reference };
                self.record_payment(cx, receipt, &Once::nobodys()).await?;
            }
            Target::Customer(Some(customer)) => {
                let is_met = known_customer == Some(customer)
                    || store::subscription::knows(&self.db, customer).await?;
                if !is_met {
                    return Err(Error::CustomerNotMet { customer });
                }
                let receipt =
                    CreditReceipt { customer, amount, reference, installation: String::new() };
                self.record_credit(cx, receipt, &Once::nobodys()).await?;
            }
            Target::Customer(None) => return Err(Error::CustomerNotFound),
        }
        Ok(false)
    }

    /// Binds a reference to what it is for, if it is bound to nothing else.
    pub(super) async fn bind_reference(&self, reference: &str, wanted: Bound) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        store::payment::bind(&mut tx, reference, &wanted, self.clock.now()).await?;
        let bound = store::payment::find(&mut tx, reference).await?;
        if bound.is_none_or(|bound| !bound.may_be(&wanted)) {
            return Err(Error::PaymentRefused { why: REUSED });
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets go of a reference if it is certain that nothing was booked; answers why not.
    pub(super) async fn let_go_of(&self, reference: &str, error: Error) -> Error {
        let is_certain = match &error {
            Error::ProviderUnavailable { source } => {
                matches!(source, ProviderError::Unavailable { .. })
            }
            Error::Unavailable { .. }
            | Error::Unclear { .. }
            | Error::Request(_)
            | Error::Internal { .. } => false,
            _ => true,
        };
        if !is_certain {
            return error;
        }
        let unbound = async {
            let mut tx = self.db.begin().await?;
            store::payment::unbind(&mut tx, reference).await?;
            tx.commit().await
        };
        if let Err(trouble) = unbound.await {
            // It stays bound to what it was, which the same payment finds.
            tracing::warn!(error = %trouble, "the reference of a refused payment stays bound");
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use stowage_types::Currency;

    use super::*;

    #[test]
    fn a_reference_is_one_payment() {
        let euros = |units: i128| {
            Some(Money::from_nanos(units * 1_000_000_000, Currency::parse("EUR").unwrap()))
        };
        let invoice = |id, amount| Bound::new(Target::Invoice(id), amount);
        let credit = |id, amount| Bound::new(Target::Customer(Some(CustomerId(id))), amount);
        let someones = Bound::new(Target::Customer(None), None);
        for (bound, wanted, expected) in [
            (invoice(7, euros(1)), invoice(7, euros(1)), true),
            (invoice(7, None), invoice(7, euros(1)), true),
            (invoice(7, euros(1)), invoice(7, euros(2)), false),
            (invoice(7, euros(1)), invoice(8, euros(1)), false),
            (invoice(7, euros(1)), credit(7, euros(1)), false),
            (credit(7, euros(1)), credit(8, euros(1)), false),
            (someones, credit(8, euros(1)), true),
            (someones, invoice(8, euros(1)), false),
        ] {
            assert_eq!(bound.may_be(&wanted), expected, "{bound:?} {wanted:?}");
            assert_eq!(Target::parse(&bound.target.text()), Some(bound.target));
        }
        assert_eq!(Target::parse("accounts/7"), None);
    }
}
