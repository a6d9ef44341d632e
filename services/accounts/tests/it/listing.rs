//! What the double lists: locations, and accounts of the engine, a few a page.

use stowage_proto::storage;
use tonic::{Request, Response, Status, async_trait};

use storage::location_service_server::LocationService;

use crate::double::{ENDPOINT, LOCATION, State, World};

/// Accounts of a page.
const PAGE: usize = 2;
const NOT_CALLED: &str = "accounts does not call this";

#[async_trait]
impl LocationService for World {
    async fn get_location(
        &self,
        request: Request<storage::GetLocationRequest>,
    ) -> Result<Response<storage::Location>, Status> {
        let name = request.into_inner().name;
        let issues_keys = self.state().issues_keys;
        Ok(Response::new(storage::Location { name, issues_keys, ..Default::default() }))
    }

    async fn list_locations(
        &self,
        _: Request<storage::ListLocationsRequest>,
    ) -> Result<Response<storage::ListLocationsResponse>, Status> {
        let location = storage::Location {
            name: LOCATION.to_owned(),
            endpoint: ENDPOINT.to_owned(),
            ..Default::default()
        };
        let locations = vec![location];
        Ok(Response::new(storage::ListLocationsResponse { locations, ..Default::default() }))
    }

    async fn add_location(
        &self,
        _: Request<storage::AddLocationRequest>,
    ) -> Result<Response<storage::Location>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn update_location(
        &self,
        _: Request<storage::UpdateLocationRequest>,
    ) -> Result<Response<storage::Location>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn drain_location(
        &self,
        _: Request<storage::DrainLocationRequest>,
    ) -> Result<Response<storage::Location>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn undrain_location(
        &self,
        _: Request<storage::UndrainLocationRequest>,
    ) -> Result<Response<storage::Location>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn remove_location(
        &self,
        _: Request<storage::RemoveLocationRequest>,
    ) -> Result<Response<storage::RemoveLocationResponse>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }
}

/// A page of what the engine has.
pub(crate) fn engine_page(state: &State, page_token: &str) -> storage::ListEngineAccountsResponse {
    let views: Vec<_> = state
        .engine
        .iter()
        .filter(|(s3uid, _)| s3uid.as_str() > page_token)
        .map(|(s3uid, spec)| {
            let buckets = state.buckets.values().filter(|owner| *owner == s3uid).count();
            let on_engine = storage::AccountOnEngine {
                access_keys: spec.keys.iter().map(|key| key.access_key.clone()).collect(),
                quota_bytes: spec.quota_bytes,
                bucket_max: spec.bucket_max,
                suspended: spec.suspended,
                read_only: spec.read_only,
                bucket_count: i32::try_from(buckets).unwrap(),
            };
            let name = format!("accounts/{s3uid}");
            (
                s3uid.clone(),
                storage::EngineAccountView {
                    name,
                    on_engine: Some(on_engine),
                    ..Default::default()
                },
            )
        })
        .collect();
    let next_page_token = match views.len() > PAGE {
        true => views[PAGE - 1].0.clone(),
        false => String::new(),
    };
    let accounts = views.into_iter().take(PAGE).map(|(_, view)| view).collect();
    storage::ListEngineAccountsResponse { accounts, next_page_token }
}
