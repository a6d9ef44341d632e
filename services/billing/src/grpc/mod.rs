//! Contracts to rules and back. Nothing here decides.

mod billed_usage;
mod charge;
mod credit;
mod hook;
mod invoice;
mod link;
mod plan;
mod reconcile;
mod subscription;

pub(crate) use credit::CreditGrpc;
pub(crate) use hook::HookGrpc;
pub(crate) use invoice::InvoiceGrpc;
pub(crate) use link::LinkGrpc;
pub(crate) use plan::PlanGrpc;
pub(crate) use reconcile::ReconcileGrpc;
pub(crate) use subscription::SubscriptionGrpc;
