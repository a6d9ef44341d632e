//! `AdoptionService`.

use stowage_auth::RequestContext;
use stowage_engine::Foreign;
use stowage_proto::storage as pb;
use stowage_proto::storage::adoption_service_server::AdoptionService;
use stowage_types::{CustomerId, Violations, name, page};
use tonic::{Request, Response, Status};

use super::engine_account::{bucket_max_of, key_message};
use super::{Api, complete, signed};
use crate::domain::adoption::Adopt;
use crate::error::Error;

impl TryFrom<pb::AdoptEngineAccountRequest> for Adopt {
    type Error = Error;

    fn try_from(request: pb::AdoptEngineAccountRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let uid = violations.check("name", name::parse_account(&request.name));
        let location = violations.check("location", name::parse_location(&request.location));
        if request.customer_id <= 0 {
            violations.push("customer_id", "is not a positive number");
        }
        let foreign = violations.check("foreign", name::check_foreign(request.foreign));
        let (foreign, (uid, location)) = complete(foreign.zip(uid.zip(location)), violations)?;
        Ok(Self { uid, customer: CustomerId(request.customer_id), location, foreign })
    }
}

fn message_of(foreign: Foreign) -> pb::ForeignAccount {
    pb::ForeignAccount {
        foreign: foreign.name,
        account: foreign.uid.as_ref().map(name::account).unwrap_or_default(),
        display_name: foreign.display_name,
        email: foreign.email,
        access_keys: foreign.access_keys,
        quota_bytes: foreign.quota.bytes.map_or(0, signed),
        bucket_max: bucket_max_of(foreign.bucket_max),
        buckets: foreign.buckets,
        obstacle: foreign.obstacle.unwrap_or_default(),
    }
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
        let size = page::size(request.page_size, 100, 1000, &mut violations);
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
        let foreign = violations.check("foreign", name::check_foreign(request.foreign));
        let (location, foreign) = complete(location.zip(foreign), violations)?;
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
            keys: adopted.keys.into_iter().map(key_message).collect(),
            quota_bytes: adopted.quota.bytes.map_or(0, signed),
            bucket_max: bucket_max_of(adopted.bucket_max),
        }))
    }
}
