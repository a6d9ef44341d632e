//! Billing's tables.

pub(crate) mod amount;
pub(crate) mod bill;
pub(crate) mod billed_usage;
pub(crate) mod brief;
pub(crate) mod closing;
pub(crate) mod customer_link;
pub(crate) mod dunning;
pub(crate) mod limits;
pub(crate) mod payment;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod subscription;

#[cfg(test)]
mod tests;
