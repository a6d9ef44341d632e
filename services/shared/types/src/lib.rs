//! Types that carry meaning across roles: identifiers, names, money, time, and the collector of
//! bad fields. It owns no business data and talks to nothing.
//!
//! Everything here is checked when it is made, so that a value of one of these types is good
//! wherever it goes.

mod bucket;
mod clock;
mod id;
mod money;
pub mod name;
pub mod page;
mod period;
mod random;
mod violations;

pub use bucket::BucketName;
pub use clock::{Clock, FakeClock, SystemClock, from_timestamp, timestamp};
pub use id::{CustomerId, PlanId, S3uid, new_id};
pub use money::{Currency, Decimal, Money, MoneyError};
pub use period::{Span, hour_of, nth_span, span_at, span_number_at};
pub use random::{Random, SystemRandom};
pub use secrecy::{ExposeSecret, SecretString};
pub use violations::Violations;

/// A text that is not what it should be; `why` completes the sentence "the field …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// What is wrong, in lower case and without a full stop: `is not a number`.
    pub why: String,
}

impl Malformed {
    /// Makes one.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}
