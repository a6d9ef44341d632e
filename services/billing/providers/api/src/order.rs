//! Orders, as a provider sees them.

use std::fmt;

use stowage_types::{CustomerId, Malformed, Money, PlanId, S3uid};

/// Key of an order, unique for ever: 1 to 64 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(String);

impl OrderKey {
    /// Most characters of a key.
    pub const LENGTH_MAX: usize = 64;

    /// Takes a text that is one.
    ///
    /// # Errors
    /// `Malformed` otherwise.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let good = (1..=Self::LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed::new("is not an order key (1 to 64 printable characters, no spaces)"))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a period is, counted from the day of purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A calendar month.
    Monthly,
    /// Twelve calendar months.
    Yearly,
}

/// An order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Its key: a repeat is one and the same order.
    pub key: OrderKey,
    /// Who is billed.
    pub customer: CustomerId,
    /// The account it is for.
    pub s3uid: S3uid,
    /// What is sold.
    pub plan: PlanId,
    /// In which version.
    pub plan_version: i32,
    /// What the plan is called, for invoices.
    pub title: String,
    /// Code of the location: `NL`.
    pub location: String,
    /// Which of the provider's installations it is placed at; empty: its only one.
    pub installation: String,
    /// How long a period is.
    pub period: Period,
    /// Price of a period, in the customer's currency; zero for a free plan.
    pub period_price: Money,
}

/// What the provider calls a placed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlacedOrder {
    /// Id of the order. Positive.
    pub order_id: i64,
    /// Id of its first invoice; 0: none is made.
    pub invoice_id: i64,
    /// Id of the service that was ordered. Positive, unique at the provider.
    pub service_id: i64,
}

/// Says which order is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRef {
    /// Its key.
    pub key: OrderKey,
    /// Who is billed.
    pub customer: CustomerId,
    /// Which of the provider's installations it is of; empty: its only one.
    pub installation: String,
    /// What the provider calls it; absent when its answer to the placing never arrived.
    pub placed: Option<PlacedOrder>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_are_short_and_printable() {
        let (long, longer) = ("k".repeat(64), "k".repeat(65));
        for (text, good) in [
            ("0190b5f8-0000-7000-8000-000000000001", true),
            (long.as_str(), true),
            ("accounts:1", true),
            ("", false),
            (longer.as_str(), false),
            ("a b", false),
            ("ä", false),
            ("a\n", false),
        ] {
            assert_eq!(OrderKey::parse(text).is_ok(), good, "{text:?}");
        }
    }
}
