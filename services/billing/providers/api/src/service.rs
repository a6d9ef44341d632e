//! What a provider has of orders, for whoever compares it with what is here.

use stowage_types::{Currency, CustomerId, PlanId};
use time::OffsetDateTime;

use crate::OrderKey;

/// Something that has happened in a provider's system, as a message of it says: a hint to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What it is called there: `InvoicePaid`.
    pub event: String,
    /// The invoice, if it names one.
    pub invoice_id: Option<i64>,
    /// The order, if it names one.
    pub order_id: Option<i64>,
    /// The service, if it names one.
    pub service_id: Option<i64>,
}

/// Where a service is in its life at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceState {
    /// Its order is not accepted.
    Pending,
    /// It runs.
    Active,
    /// It has ended, or was undone.
    Ended,
}

/// When a service is planned to end, as the provider knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlannedEnd {
    /// The provider does not tell.
    Untold,
    /// No end is planned.
    Never,
    /// It is planned for then.
    At(OffsetDateTime),
}

/// A service that was ordered by us, as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub service_id: i64,
    /// The id of its order.
    pub order_id: i64,
    /// The key of its order; absent where it cannot be told from what is there.
    pub key: Option<OrderKey>,
    /// Who is billed; absent: nobody that we know.
    pub customer: Option<CustomerId>,
    /// Where it is in its life.
    pub state: ServiceState,
    /// The plans that it may be, none included; absent: the provider does not keep that.
    pub plans: Option<Vec<PlanId>>,
    /// What a period costs, in nano-units of whatever its customer pays in; absent: the provider
    /// does not keep that.
    pub period_nanos: Option<i128>,
    /// When it is planned to end.
    pub end: PlannedEnd,
    /// Since when it is there.
    pub create_time: OffsetDateTime,
}

/// Where a list by ids goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ById {
    /// Those with higher ids only.
    pub after: i64,
    /// Look at so many at most.
    pub max: i64,
}

/// A part of a list, in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    /// What was found.
    pub rows: Vec<T>,
    /// The highest id that was looked at; absent: that was all.
    pub through: Option<i64>,
}

/// An invoice that was issued under a key of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedInvoice {
    /// Its id.
    pub id: i64,
    /// The key.
    pub key: String,
    /// Whether nothing is owed for it: it was withdrawn.
    pub is_void: bool,
    /// When it was made.
    pub create_time: OffsetDateTime,
}

/// Whom a provider that is another system bills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id there.
    pub id: i64,
    /// Whether nothing can be ordered for it any more.
    pub is_closed: bool,
    /// What it pays in.
    pub currency: Currency,
}

/// A part of a look at a provider's own books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksPart {
    /// What is wrong, each a sentence without its stop.
    pub faults: Vec<String>,
    /// How much was looked at.
    pub looked_at: i64,
    /// Where to go on; absent: that was all.
    pub next: Option<String>,
}
