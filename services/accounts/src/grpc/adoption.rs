//! `AdoptionService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_proto::accounts::adoption_service_server::AdoptionService;
use stowage_types::{Violations, name};
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use crate::domain::adoption::Adoption;
use crate::error::Error;

impl TryFrom<pb::AdoptAccountRequest> for Adoption {
    type Error = Error;

    fn try_from(request: pb::AdoptAccountRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let location = violations.check("location", name::parse_location(&request.location));
        let foreign = violations.check("foreign", name::check_foreign(request.foreign));
        let customer = violations.check("customer", name::parse_customer(&request.customer));
        let plan = violations.check("plan", name::parse_plan(&request.plan));
        violations.finish()?;
        match (location, foreign, customer, plan) {
            (Some(location), Some(foreign), Some(customer), Some(plan)) => {
                Ok(Self { location, foreign, customer, plan })
            }
            _ => Err(Error::internal("a field was refused without a violation")),
        }
    }
}

#[async_trait]
impl AdoptionService for Service {
    async fn check_adoption(
        &self,
        request: Request<pb::CheckAdoptionRequest>,
    ) -> Result<Response<pb::CheckAdoptionResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::CheckAdoptionRequest { location, foreign, customer, plan } = request.into_inner();
        let same =
            pb::AdoptAccountRequest { location, foreign, customer, plan, ..Default::default() };
        let adoption = Adoption::try_from(same)?;
        let known = self.domain.check_adoption(&cx, &adoption).await?;
        let account = known.as_ref().map(name::account).unwrap_or_default();
        Ok(Response::new(pb::CheckAdoptionResponse { account }))
    }

    async fn adopt_account(
        &self,
        request: Request<pb::AdoptAccountRequest>,
    ) -> Result<Response<pb::Account>, Status> {
        let work =
            async |cx, adoption, once| self.domain.adopt_account(&cx, &adoption, &once).await;
        self.domain.requests.once(request, Adoption::try_from, work).await
    }
}
