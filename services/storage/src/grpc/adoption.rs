//! `AdoptionService`.

use stowage_auth::RequestContext;
use stowage_engine::{Foreign, KeyPair};
use stowage_proto::storage as pb;
use stowage_proto::storage::adoption_service_server::AdoptionService;
use stowage_types::{CustomerId, ExposeSecret as _, Violations, name, page};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::adoption::Adopt;
use crate::error::Error;

/// Rows of a page: an engine may have to ask for each by several calls.
const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 100;
/// Longest name that an engine may have for somebody, in bytes.
const FOREIGN_BYTES_MAX: usize = 1024;

impl TryFrom<pb::AdoptEngineAccountRequest> for Adopt {
    type Error = Error;

    fn try_from(request: pb::AdoptEngineAccountRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let uid = violations.check("name", name::parse_account(&request.name));
        let location = violations.check("location", name::parse_location(&request.location));
        if request.customer_id <= 0 {
            violations.push("customer_id", "is not a positive number");
        }
        let foreign = read_foreign(request.foreign, &mut violations);
        let (uid, location) = complete(uid.zip(location), violations)?;
        Ok(Self { uid, customer: CustomerId(request.customer_id), location, foreign })
    }
}

fn read_foreign(foreign: String, violations: &mut Violations) -> String {
    if foreign.is_empty() || foreign.len() > FOREIGN_BYTES_MAX {
        violations.push("foreign", format!("must have 1 to {FOREIGN_BYTES_MAX} bytes"));
    }
    foreign
}

fn message_of(foreign: Foreign) -> pb::ForeignAccount {
    pb::ForeignAccount {
        foreign: foreign.name,
        account: foreign.uid.as_ref().map(name::account).unwrap_or_default(),
        display_name: foreign.display_name,
        email: foreign.email,
        access_keys: foreign.access_keys,
        quota_bytes: foreign.quota.bytes.map_or(0, signed),
        bucket_max: foreign.bucket_max.map_or(0, count),
        buckets: foreign.buckets,
        obstacle: foreign.obstacle.unwrap_or_default(),
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn key_of(KeyPair { access_key, secret_key }: KeyPair) -> pb::EngineKey {
    pb::EngineKey { access_key, secret_key: secret_key.expose_secret().to_owned() }
}

#[tonic::async_trait]
impl AdoptionService for Api {
    async fn list_foreign_accounts(
        &self,
        request: Request<pb::ListForeignAccountsRequest>,
    ) -> Result<Response<pb::ListForeignAccountsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let location = violations.check("parent", name::parse_location(&request.parent));
        let size = page::size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let location = complete(location, violations)?;
        let from = (size, request.page_token.as_str());
        let page = self.0.storage.foreign_accounts(&cx, &location, from).await?;
        Ok(Response::new(pb::ListForeignAccountsResponse {
            accounts: page.accounts.into_iter().map(message_of).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_foreign_account(
        &self,
        request: Request<pb::GetForeignAccountRequest>,
    ) -> Result<Response<pb::ForeignAccount>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let location = violations.check("parent", name::parse_location(&request.parent));
        let foreign = read_foreign(request.foreign, &mut violations);
        let location = complete(location, violations)?;
        let found = self.0.storage.foreign_account(&cx, &location, &foreign).await?;
        Ok(Response::new(message_of(found)))
    }

    async fn adopt_engine_account(
        &self,
        request: Request<pb::AdoptEngineAccountRequest>,
    ) -> Result<Response<pb::AdoptEngineAccountResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let adopt = Adopt::try_from(request.into_inner())?;
        let (location, adopted) = self.0.storage.adopt(&cx, &adopt).await?;
        Ok(Response::new(pb::AdoptEngineAccountResponse {
            endpoint: location.endpoint,
            keys: adopted.keys.into_iter().map(key_of).collect(),
            quota_bytes: adopted.quota.bytes.map_or(0, signed),
            bucket_max: adopted.bucket_max.map_or(0, count),
        }))
    }
}
