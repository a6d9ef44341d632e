//! The one way in: builds the role from its settings and what it depends on.

use std::sync::Arc;

use stowage_auth::{Signer, Verifier};
use stowage_bus::{Bus, Outbox, relay};
use stowage_db::Db;
use stowage_proto::billing::credit_service_server::CreditServiceServer;
use stowage_proto::billing::hook_service_server::HookServiceServer;
use stowage_proto::billing::invoice_service_server::InvoiceServiceServer;
use stowage_proto::billing::link_service_server::LinkServiceServer;
use stowage_proto::billing::plan_service_server::PlanServiceServer;
use stowage_proto::billing::reconcile_service_server::ReconcileServiceServer;
use stowage_proto::billing::subscription_service_server::SubscriptionServiceServer;
use stowage_provider::Provider;
use stowage_provider::signed::Verifier as MessageVerifier;
use stowage_request::Requests;
use stowage_runtime::{Role, RoleChannel, StackConfig, Task, calling_as, role_stack};
use stowage_types::{Clock, Random, SecretString, new_id};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::Config;
use crate::domain::Billing;
use crate::grpc::{
    CreditGrpc, HookGrpc, InvoiceGrpc, LinkGrpc, PlanGrpc, ReconcileGrpc, SubscriptionGrpc,
};
use crate::usage::Usage;

/// What the role calls itself where it calls.
const SUBJECT: &str = "services/billing";

/// What the role depends on.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Its own database, opened with [`MIGRATOR`](crate::MIGRATOR).
    pub db: Db,
    /// Where its events go.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids of events.
    pub random: Arc<dyn Random>,
    /// Checks callers.
    pub verifier: Verifier,
    /// Ends the role's tasks.
    pub stop: CancellationToken,
    /// Where orders are placed.
    pub provider: Arc<dyn Provider>,
    /// Says who calls metering.
    pub signer: Signer,
    /// The metering role, which says what was used.
    pub metering: RoleChannel,
    /// What payment processors sign with; at least 32 characters. Absent: none are believed.
    pub payment_hook_secret: Option<SecretString>,
}

/// The role could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The settings are wrong.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
}

/// Builds the role. Its tasks carry events from the outbox, close periods, and tell the provider of
/// scheduled ends, and accounts of overdue invoices.
///
/// # Errors
/// `Config` with every fault of the settings.
pub async fn build(config: Config, deps: Deps) -> Result<Role, BuildError> {
    let faults = config.check();
    if !faults.is_empty() {
        return Err(BuildError::Config(faults));
    }
    let Deps { db, bus, clock, random, verifier, stop, provider, signer, metering, .. } = deps;
    let processors = read_secret(deps.payment_hook_secret.as_ref(), &clock)?;
    let usage = Usage::new(calling_as(metering, SUBJECT, signer));
    let outbox = Outbox::new("stowage/billing", Arc::clone(&clock), Arc::clone(&random));
    let owner = new_id(&*clock, &*random);
    let requests = Requests::new(db.clone(), Arc::clone(&clock), random, config.call_timeout())
        .taking_over(db.is_exclusive());
    let billing = Billing::new(db.clone(), clock, outbox.clone(), (provider, usage), &config);
    let billing = Arc::new(billing.believing(processors));
    let plans = PlanGrpc { billing: Arc::clone(&billing), requests: requests.clone() };
    let invoices = InvoiceGrpc { billing: Arc::clone(&billing), requests: requests.clone() };
    let credits = CreditGrpc { billing: Arc::clone(&billing), requests: requests.clone() };
    let links = LinkGrpc { billing: Arc::clone(&billing), requests: requests.clone() };
    let routes = Routes::new(PlanServiceServer::new(plans))
        .add_service(CreditServiceServer::new(credits))
        .add_service(HookServiceServer::new(HookGrpc(Arc::clone(&billing))))
        .add_service(InvoiceServiceServer::new(invoices))
        .add_service(LinkServiceServer::new(links))
        .add_service(ReconcileServiceServer::new(ReconcileGrpc(Arc::clone(&billing))))
        .add_service(SubscriptionServiceServer::new(SubscriptionGrpc(Arc::clone(&billing))));
    let stack = StackConfig { role: "billing", verifier, call_timeout: config.call_timeout() };
    let tasks = vec![
        Task::new("billing.outbox", relay(db.clone(), &outbox, bus, stop.clone())),
        Task::new("billing.requests", requests.clean_up(stop.clone())),
        Task::new(
            "billing.mirror",
            Arc::clone(&billing).mirror_until(config.mirror_interval(), owner, stop.clone()),
        ),
        Task::new(
            "billing.closing",
            Arc::clone(&billing).close_until(config.close_interval(), owner, stop.clone()),
        ),
        Task::new(
            "billing.reconcile",
            Arc::clone(&billing).reconcile_until(config.reconcile_interval(), owner, stop.clone()),
        ),
        Task::new("billing.limits", Arc::clone(&billing).tell_limits_until(owner, stop.clone())),
        Task::new("billing.suspects", Arc::clone(&billing).suspect_until(stop.clone())),
        Task::new("billing.dunning", billing.dun_until(config.dunning_interval(), owner, stop)),
    ];
    let ready = Arc::new(move || {
        let db = db.clone();
        let answer: futures_util::future::BoxFuture<'static, Result<(), String>> =
            Box::pin(async move { db.ping().await.map_err(|error| error.to_string()) });
        answer
    });
    Ok(Role { name: "billing", channel: role_stack(routes, stack), tasks, ready })
}

fn read_secret(
    secret: Option<&SecretString>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<MessageVerifier>, BuildError> {
    let Some(secret) = secret else { return Ok(None) };
    let fault = || {
        let fault = "billing.payment_hook_secret_file: its secret must have at least 32 characters";
        BuildError::Config(vec![fault.to_owned()])
    };
    MessageVerifier::new(secret, Arc::clone(clock)).map(Some).ok_or_else(fault)
}
