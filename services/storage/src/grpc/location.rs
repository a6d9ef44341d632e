//! `LocationService`.

use stowage_auth::RequestContext;
use stowage_proto::storage as pb;
use stowage_proto::storage::location_service_server::LocationService;
use stowage_types::{Violations, name, page};
use tonic::{Request, Response, Status};

use super::{Api, complete};
use crate::config::LocationState;
use crate::domain::location::Location;

fn message_of(location: Location, issues_keys: bool) -> pb::Location {
    let state = match location.state {
        LocationState::Open => pb::LocationState::Open,
        LocationState::Draining => pb::LocationState::Draining,
    };
    pb::Location {
        name: name::location(&location.code),
        code: location.code,
        engine: location.engine,
        endpoint: location.endpoint,
        region: location.region,
        storage_types: location.storage_types,
        state: state.into(),
        issues_keys,
    }
}

#[tonic::async_trait]
impl LocationService for Api {
    async fn get_location(
        &self,
        request: Request<pb::GetLocationRequest>,
    ) -> Result<Response<pb::Location>, Status> {
        let cx = RequestContext::of(&request)?;
        let mut violations = Violations::default();
        let code = violations.check("name", name::parse_location(&request.get_ref().name));
        let code = complete(code, violations)?;
        let location = self.0.storage.location(&cx, &code).await?;
        let issues_keys = self.0.storage.issues_keys(&location.code);
        Ok(Response::new(message_of(location, issues_keys)))
    }

    async fn list_locations(
        &self,
        request: Request<pb::ListLocationsRequest>,
    ) -> Result<Response<pb::ListLocationsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let size = page::size(request.page_size, 50, 1000, &mut violations);
        let size = complete(Some(size), violations)?;
        let page = self.0.storage.locations(&cx, size, &request.page_token).await?;
        let locations = page.locations.into_iter().map(|location| {
            let issues_keys = self.0.storage.issues_keys(&location.code);
            message_of(location, issues_keys)
        });
        Ok(Response::new(pb::ListLocationsResponse {
            locations: locations.collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
