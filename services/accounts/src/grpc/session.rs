//! `SessionService`.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::{
    CustomerId, ExposeSecret as _, Malformed, SecretString, Violations, name, page, timestamp,
};
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{Service, read_page};
use crate::domain::api_key::{ApiKey, MadeKey};
use crate::domain::session::{LoggedIn, Login, Resolved, canonical_address};
use crate::error::Error;

const LISTING: &str = "api_keys";
const LABEL_CHARS_MAX: usize = 100;

#[async_trait]
impl pb::session_service_server::SessionService for Service {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let read = |pb::CreateApiKeyRequest { customer, label, .. }| {
            let mut violations = Violations::default();
            violations.check_length("label", &label, LABEL_CHARS_MAX);
            Ok((read_customer(&customer, violations)?, label))
        };
        let work = async |cx, (customer, label), once| {
            self.domain.create_api_key(&cx, customer, label, &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ListApiKeysRequest { customer: of, page_size, page_token } = request.into_inner();
        let customer = read_customer(&of, Violations::default())?;
        let (after, size) = read_page::<Uuid>((LISTING, &of), page_size, &page_token)?;
        let from = (after.unwrap_or(Uuid::nil()), size);
        let page = self.domain.list_api_keys(&cx, customer, from).await?;
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token =
            last.map(|row| page::encode(LISTING, &of, &row.id.to_string())).unwrap_or_default();
        let api_keys = page.rows.into_iter().map(pb::ApiKey::from).collect();
        Ok(Response::new(pb::ListApiKeysResponse { api_keys, next_page_token }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::ApiKey>, Status> {
        let read = |request: pb::RevokeApiKeyRequest| {
            let id = request.name.strip_prefix("apiKeys/").and_then(|id| id.parse().ok());
            id.ok_or_else(|| Error::field("name", "is not the name of an API key"))
        };
        let work = async |cx, id, once| self.domain.revoke_api_key(&cx, id, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn login(
        &self,
        request: Request<pb::LoginRequest>,
    ) -> Result<Response<pb::LoginResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let login = Login::try_from(request.into_inner())?;
        let LoggedIn { token, expire_time, claims, email } = self.domain.login(&cx, login).await?;
        Ok(Response::new(pb::LoginResponse {
            token: token.expose_secret().to_owned(),
            expire_time: Some(timestamp(expire_time)),
            claims: Some(claims),
            email,
        }))
    }

    async fn logout(
        &self,
        request: Request<pb::LogoutRequest>,
    ) -> Result<Response<pb::LogoutResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let token = SecretString::from(request.into_inner().token);
        self.domain.logout(&cx, &token).await?;
        Ok(Response::new(pb::LogoutResponse {}))
    }

    async fn resolve_token(
        &self,
        request: Request<pb::ResolveTokenRequest>,
    ) -> Result<Response<pb::ResolveTokenResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ResolveTokenRequest { token, address, act_for_customer_id } = request.into_inner();
        let token = SecretString::from(token);
        let act_for = (act_for_customer_id != 0).then_some(CustomerId(act_for_customer_id));
        let resolved = self.domain.resolve_token(&cx, (&token, &address), act_for).await?;
        let Resolved { claims, assertion, expire_time, email, currency } = resolved;
        Ok(Response::new(pb::ResolveTokenResponse {
            claims: Some(claims),
            assertion,
            token_expire_time: expire_time.map(timestamp),
            email,
            currency,
        }))
    }
}

fn read_customer(text: &str, mut violations: Violations) -> Result<CustomerId, Error> {
    let customer = violations.check("customer", name::parse_customer(text));
    violations.finish()?;
    customer.ok_or_else(|| Error::internal("a checked field is missing"))
}

impl TryFrom<pb::LoginRequest> for Login {
    type Error = Error;

    fn try_from(request: pb::LoginRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let address = canonical_address(&request.fixed_address);
        let fixed_address = violations.check("fixed_address", address);
        let life = request.ttl.map(|ttl| {
            // Negative is below the least, which it is then taken as.
            Duration::new(u64::try_from(ttl.seconds).unwrap_or(0), 0)
        });
        if request.api_key.is_empty() {
            violations.check::<()>("api_key", Err(Malformed::new("is empty")));
        }
        violations.finish()?;
        Ok(Self {
            api_key: SecretString::from(request.api_key),
            life,
            fixed_address: fixed_address.unwrap_or_default(),
        })
    }
}

impl From<MadeKey> for pb::CreateApiKeyResponse {
    fn from(made: MadeKey) -> Self {
        let secret = made.secret.expose_secret().to_owned();
        Self { api_key: Some(made.key.into()), secret }
    }
}

impl From<ApiKey> for pb::ApiKey {
    fn from(key: ApiKey) -> Self {
        Self {
            name: format!("apiKeys/{}", key.id),
            customer: name::customer(key.customer),
            hint: key.hint,
            label: key.label,
            create_time: Some(timestamp(key.create_time)),
            revoke_time: key.revoke_time.map(timestamp),
        }
    }
}
