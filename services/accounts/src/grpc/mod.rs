//! Proto to domain and back. Holds no rule.

mod account;
mod account_move;
mod adoption;
mod audit;
mod customer;
mod dead_letter;
mod drift;
mod keyring;
mod reconcile;
mod saga;
mod session;
mod webhook;

use stowage_proto::accounts::account_move_service_server::AccountMoveServiceServer;
use stowage_proto::accounts::account_service_server::AccountServiceServer;
use stowage_proto::accounts::adoption_service_server::AdoptionServiceServer;
use stowage_proto::accounts::audit_service_server::AuditServiceServer;
use stowage_proto::accounts::customer_service_server::CustomerServiceServer;
use stowage_proto::accounts::dead_letter_service_server::DeadLetterServiceServer;
use stowage_proto::accounts::drift_service_server::DriftServiceServer;
use stowage_proto::accounts::keyring_service_server::KeyringServiceServer;
use stowage_proto::accounts::reconcile_service_server::ReconcileServiceServer;
use stowage_proto::accounts::saga_service_server::SagaServiceServer;
use stowage_proto::accounts::session_service_server::SessionServiceServer;
use stowage_proto::accounts::webhook_service_server::WebhookServiceServer;
use stowage_types::{Violations, page};
use tonic::service::Routes;

use crate::domain::Domain;
use crate::error::Error;

/// Most rows of a page.
const PAGE_MAX: i32 = 1000;
/// Rows of a page that asks for no number.
const PAGE_DEFAULT: i32 = 50;

/// The services of the role.
#[derive(Clone)]
struct Service {
    domain: Domain,
}

pub(crate) fn routes(domain: Domain) -> Routes {
    let service = Service { domain };
    Routes::new(CustomerServiceServer::new(service.clone()))
        .add_service(SessionServiceServer::new(service.clone()))
        .add_service(SagaServiceServer::new(service.clone()))
        .add_service(DeadLetterServiceServer::new(service.clone()))
        .add_service(KeyringServiceServer::new(service.clone()))
        .add_service(ReconcileServiceServer::new(service.clone()))
        .add_service(DriftServiceServer::new(service.clone()))
        .add_service(AccountMoveServiceServer::new(service.clone()))
        .add_service(AdoptionServiceServer::new(service.clone()))
        .add_service(AuditServiceServer::new(service.clone()))
        .add_service(WebhookServiceServer::new(service.clone()))
        .add_service(AccountServiceServer::new(service))
}

/// Reads `page_size` and `page_token` of a listing; the token holds the last key of the page
/// before, `None` on the first page.
fn read_page<C: std::str::FromStr>(
    (kind, scope): (&str, &str),
    requested: i32,
    token: &str,
) -> Result<(Option<C>, i64), Error> {
    let mut violations = Violations::default();
    let size = page::size(requested, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    violations.finish()?;
    let cursor = page::decode(kind, scope, token).map_err(|_| Error::PageTokenInvalid)?;
    let cursor = cursor.map(|text| text.parse()).transpose();
    Ok((cursor.map_err(|_| Error::PageTokenInvalid)?, size))
}
