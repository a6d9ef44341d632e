//! `LinkService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::billing as pb;
use stowage_proto::billing::link_service_server::LinkService;
use stowage_request::Requests;
use stowage_types::{Violations, name, timestamp};
use tonic::{Request, Response, Status};

use crate::domain::Billing;
use crate::domain::link::{CustomerLink, LinkChange, LinkName, Unlinked};
use crate::error::Error;

const REASON_CHARS_MAX: usize = 200;
const INSTALLATION_CHARS_MAX: usize = 64;

/// Serves `LinkService`.
#[derive(Debug)]
pub(crate) struct LinkGrpc {
    pub(crate) billing: Arc<Billing>,
    pub(crate) requests: Requests,
}

#[tonic::async_trait]
impl LinkService for LinkGrpc {
    async fn get_customer_link(
        &self,
        request: Request<pb::GetCustomerLinkRequest>,
    ) -> Result<Response<pb::CustomerLink>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::GetCustomerLinkRequest { customer, installation } = request.into_inner();
        let mut violations = Violations::default();
        let name = read_name(&customer, installation, &mut violations);
        let name = name.filter(|_| violations.is_empty()).ok_or_else(|| Error::from(violations))?;
        let link = self.billing.get_link(&cx, &name).await?;
        Ok(Response::new(link.into()))
    }

    async fn link_customer(
        &self,
        request: Request<pb::LinkCustomerRequest>,
    ) -> Result<Response<pb::CustomerLink>, Status> {
        let work = async |cx, change, once| self.billing.link_customer(&cx, change, &once).await;
        self.requests.once(request, read_link, work).await
    }

    async fn unlink_customer(
        &self,
        request: Request<pb::UnlinkCustomerRequest>,
    ) -> Result<Response<pb::UnlinkCustomerResponse>, Status> {
        let work = async |cx, change, once| self.billing.unlink_customer(&cx, change, &once).await;
        self.requests.once(request, read_unlink, work).await
    }
}

fn read_name(
    customer: &str,
    installation: String,
    violations: &mut Violations,
) -> Option<LinkName> {
    violations.check_length("installation", &installation, INSTALLATION_CHARS_MAX);
    let customer = violations.check("customer", name::parse_customer(customer))?;
    Some(LinkName { customer, installation })
}

/// Why a link that is in use is changed; a reason alone forces nothing.
fn read_force(force: bool, reason: &str, violations: &mut Violations) -> Option<String> {
    let reason = reason.trim();
    violations.check_length("reason", reason, REASON_CHARS_MAX);
    if reason.chars().any(char::is_control) {
        violations.push("reason", "must be a text on one line");
    }
    if force && reason.is_empty() {
        violations.push("reason", "is required with force");
    }
    force.then(|| reason.to_owned())
}

fn read_link(request: pb::LinkCustomerRequest) -> Result<LinkChange, Error> {
    let mut violations = Violations::default();
    let name = read_name(&request.customer, request.installation, &mut violations);
    let force = read_force(request.force, &request.reason, &mut violations);
    if request.client_id <= 0 {
        violations.push("client_id", "must be above zero");
    }
    match name {
        Some(name) if violations.is_empty() => {
            Ok(LinkChange { name, client_id: Some(request.client_id), force })
        }
        _ => Err(violations.into()),
    }
}

fn read_unlink(request: pb::UnlinkCustomerRequest) -> Result<LinkChange, Error> {
    let mut violations = Violations::default();
    let name = read_name(&request.customer, request.installation, &mut violations);
    let force = read_force(request.force, &request.reason, &mut violations);
    match name {
        Some(name) if violations.is_empty() => Ok(LinkChange { name, client_id: None, force }),
        _ => Err(violations.into()),
    }
}

impl From<CustomerLink> for pb::CustomerLink {
    fn from(link: CustomerLink) -> Self {
        Self {
            customer_id: link.customer.0,
            installation: link.installation,
            client_id: link.client_id,
            link_time: Some(timestamp(link.link_time)),
        }
    }
}

impl From<Unlinked> for pb::UnlinkCustomerResponse {
    fn from(_: Unlinked) -> Self {
        Self {}
    }
}
