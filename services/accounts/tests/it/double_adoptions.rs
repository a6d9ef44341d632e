//! Who is on the double's engine without being an account.

use stowage_proto::common::ErrorReason;
use stowage_proto::storage::adoption_service_server::AdoptionService;
use stowage_proto::storage::{
    AdoptEngineAccountRequest, AdoptEngineAccountResponse, EngineKey, EnsureEngineAccountRequest,
    ForeignAccount, GetForeignAccountRequest, ListForeignAccountsRequest,
    ListForeignAccountsResponse,
};
use tonic::{Code, Request, Response, Status, async_trait};

use crate::double::{ENDPOINT, World, refuse, uid_of};

/// Who is there.
pub(crate) const SOMEBODY: &str = "panel-7";
pub(crate) const QUOTA_BYTES: i64 = 5 << 30;
pub(crate) const BUCKET_MAX: i32 = 7;

/// Who is on the engine with one key and one bucket.
pub(crate) fn somebody(name: &str, access_key: &str) -> ForeignAccount {
    ForeignAccount {
        foreign: name.to_owned(),
        access_keys: vec![access_key.to_owned()],
        quota_bytes: QUOTA_BYTES,
        bucket_max: BUCKET_MAX,
        buckets: vec![format!("of-{name}")],
        ..Default::default()
    }
}

pub(crate) fn secret_of(access_key: &str) -> String {
    format!("the secret of {access_key}")
}

fn key(access_key: &str) -> EngineKey {
    EngineKey { access_key: access_key.to_owned(), secret_key: secret_of(access_key) }
}

impl World {
    /// One with somebody on its engine.
    pub(crate) fn inhabited() -> Self {
        let world = Self::default();
        world.settle(somebody(SOMEBODY, "PANELKEY000000000007"));
        world
    }

    pub(crate) fn settle(&self, foreign: ForeignAccount) {
        self.state().foreign.insert(foreign.foreign.clone(), foreign);
    }
}

fn nobody() -> Status {
    refuse(Code::NotFound, ErrorReason::ForeignAccountNotFound)
}

#[async_trait]
impl AdoptionService for World {
    async fn list_foreign_accounts(
        &self,
        _request: Request<ListForeignAccountsRequest>,
    ) -> Result<Response<ListForeignAccountsResponse>, Status> {
        let accounts = self.state().foreign.values().cloned().collect();
        let next_page_token = String::new();
        Ok(Response::new(ListForeignAccountsResponse { accounts, next_page_token }))
    }

    async fn get_foreign_account(
        &self,
        request: Request<GetForeignAccountRequest>,
    ) -> Result<Response<ForeignAccount>, Status> {
        let foreign = request.into_inner().foreign;
        let found = self.state().foreign.get(&foreign).cloned();
        found.map(Response::new).ok_or_else(nobody)
    }

    async fn adopt_engine_account(
        &self,
        request: Request<AdoptEngineAccountRequest>,
    ) -> Result<Response<AdoptEngineAccountResponse>, Status> {
        let request = request.into_inner();
        self.change("AdoptEngineAccount", |state| {
            let uid = uid_of(&request.name);
            if !state.adopted.contains_key(&uid) {
                let foreign = state.foreign.remove(&request.foreign).ok_or_else(nobody)?;
                let buckets = foreign.buckets.iter().map(|bucket| (bucket.clone(), uid.clone()));
                state.buckets.extend(buckets);
                let ensured = EnsureEngineAccountRequest {
                    name: request.name.clone(),
                    customer_id: request.customer_id,
                    location: request.location.clone(),
                    keys: foreign.access_keys.iter().map(|id| key(id)).collect(),
                    quota_bytes: foreign.quota_bytes,
                    bucket_max: foreign.bucket_max,
                    suspended: false,
                    read_only: false,
                    may_delete: false,
                };
                state.engine.insert(uid.clone(), ensured);
                state.adopted.insert(uid.clone(), foreign);
            }
            let known = state.adopted.get(&uid).filter(|known| known.foreign == request.foreign);
            let known = known.ok_or_else(nobody)?;
            Ok(AdoptEngineAccountResponse {
                endpoint: ENDPOINT.to_owned(),
                keys: known.access_keys.iter().map(|id| key(id)).collect(),
                quota_bytes: known.quota_bytes,
                bucket_max: known.bucket_max,
            })
        })
    }
}
