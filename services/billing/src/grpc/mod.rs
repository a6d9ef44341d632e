//! Contracts to rules and back. Nothing here decides.

mod plan;
mod subscription;

pub(crate) use plan::PlanGrpc;
pub(crate) use subscription::SubscriptionGrpc;
