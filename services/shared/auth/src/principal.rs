//! Principals and what they see.

use stowage_proto::common::{PrincipalClaims, PrincipalRole};
use stowage_types::{Currency, CustomerId};

/// Whoever a call acts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What he is.
    pub role: PrincipalRole,
    /// Who he is, for history: `customers/1001`, `administrator`, `services/accounts`.
    pub subject: String,
    /// The customer he is.
    pub customer: Option<CustomerId>,
    /// The customer he acts for; administrators and services only.
    pub acted_for: Option<CustomerId>,
    /// Currency of either customer.
    pub currency: Option<Currency>,
}

/// What a principal sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What this customer owns.
    Customer(CustomerId),
    /// Everything.
    Everything,
}

impl Principal {
    /// What he sees: a customer, and who acts for one, only what that customer owns.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.role, self.customer, self.acted_for) {
            (PrincipalRole::Customer, Some(customer), _) => Scope::Customer(customer),
            // A customer without an id is nobody: ids are positive, so this sees nothing.
            (PrincipalRole::Customer | PrincipalRole::Anonymous, None, _)
            | (PrincipalRole::Unspecified | PrincipalRole::Anonymous, _, _) => {
                Scope::Customer(CustomerId(0))
            }
            (_, _, Some(customer)) => Scope::Customer(customer),
            (_, _, None) => Scope::Everything,
        }
    }

    /// A call without a token.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            role: PrincipalRole::Anonymous,
            subject: "anonymous".to_owned(),
            customer: None,
            acted_for: None,
            currency: None,
        }
    }

    /// A role of Stowage, acting for `acted_for` if any.
    #[must_use]
    pub fn service(subject: &str, acted_for: Option<CustomerId>) -> Self {
        Self {
            role: PrincipalRole::Service,
            subject: subject.to_owned(),
            customer: None,
            acted_for,
            currency: None,
        }
    }

    pub(crate) fn of_claims(claims: &PrincipalClaims) -> Self {
        let some = |id: i64| (id > 0).then_some(CustomerId(id));
        Self {
            role: claims.role(),
            subject: claims.subject.clone(),
            customer: some(claims.customer_id),
            acted_for: some(claims.acted_for_customer_id),
            currency: Currency::parse(&claims.currency).ok(),
        }
    }

    pub(crate) fn to_claims(&self) -> PrincipalClaims {
        let number = |id: Option<CustomerId>| id.map_or(0, |CustomerId(id)| id);
        PrincipalClaims {
            role: self.role.into(),
            subject: self.subject.clone(),
            customer_id: number(self.customer),
            acted_for_customer_id: number(self.acted_for),
            currency: self.currency.map(|c| c.as_str().to_owned()).unwrap_or_default(),
            ..PrincipalClaims::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_never_wider_than_its_principal() {
        let principal = |role, customer: Option<i64>, acted_for: Option<i64>| Principal {
            role,
            subject: String::new(),
            customer: customer.map(CustomerId),
            acted_for: acted_for.map(CustomerId),
            currency: None,
        };
        use PrincipalRole::{Administrator, Anonymous, Customer, Service, Unspecified};
        let one = |id| Scope::Customer(CustomerId(id));
        for (role, customer, acted_for, expected) in [
            (Customer, Some(7), None, one(7)),
            (Customer, Some(7), Some(8), one(7)),
            (Customer, None, Some(8), one(0)),
            (Anonymous, None, Some(8), one(0)),
            (Unspecified, None, None, one(0)),
            (Administrator, None, None, Scope::Everything),
            (Administrator, None, Some(8), one(8)),
            (Service, None, Some(8), one(8)),
            (Service, None, None, Scope::Everything),
        ] {
            assert_eq!(principal(role, customer, acted_for).scope(), expected, "{role:?}");
        }
    }
}
