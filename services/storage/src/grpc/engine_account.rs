//! `EngineAccountService`.

use stowage_auth::RequestContext;
use stowage_engine::{AccountSpec, KeyPair};
use stowage_proto::storage as pb;
use stowage_proto::storage::engine_account_service_server::EngineAccountService;
use stowage_types::{CustomerId, Violations, name};
use tonic::{Request, Response, Status};

use super::{Api, complete};
use crate::domain::engine_account::Ensure;
use crate::error::Error;

/// Most keys an account may have.
const KEYS_MAX: usize = 100;

impl TryFrom<pb::EnsureEngineAccountRequest> for Ensure {
    type Error = Error;

    fn try_from(request: pb::EnsureEngineAccountRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let uid = violations.check("name", name::parse_account(&request.name));
        let location = violations.check("location", name::parse_location(&request.location));
        if request.customer_id <= 0 {
            violations.push("customer_id", "is not a positive number");
        }
        let keys = keys_of(request.keys, &mut violations);
        let quota_bytes = u64::try_from(request.quota_bytes);
        if quota_bytes.is_err() {
            violations.push("quota_bytes", "must not be negative");
        }
        let bucket_max = u32::try_from(request.bucket_max);
        if bucket_max.is_err() {
            violations.push("bucket_max", "must not be negative");
        }
        let (uid, location) = complete(uid.zip(location), violations)?;
        Ok(Self {
            customer: CustomerId(request.customer_id),
            location,
            spec: AccountSpec {
                uid,
                keys,
                quota_bytes: quota_bytes.ok().filter(|bytes| *bytes > 0),
                bucket_max: bucket_max.ok().filter(|max| *max > 0),
            },
        })
    }
}

fn keys_of(keys: Vec<pb::EngineKey>, violations: &mut Violations) -> Vec<KeyPair> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        violations.push("keys", format!("must hold 1 to {KEYS_MAX} keys"));
    }
    for (at, key) in keys.iter().enumerate() {
        if key.access_key.is_empty() {
            violations.push(format!("keys[{at}].access_key"), "must not be empty");
        }
        if key.secret_key.is_empty() {
            violations.push(format!("keys[{at}].secret_key"), "must not be empty");
        }
    }
    keys.into_iter()
        .map(|key| KeyPair { access_key: key.access_key, secret_key: key.secret_key.into() })
        .collect()
}

#[tonic::async_trait]
impl EngineAccountService for Api {
    async fn ensure_engine_account(
        &self,
        request: Request<pb::EnsureEngineAccountRequest>,
    ) -> Result<Response<pb::EngineAccount>, Status> {
        let cx = RequestContext::of(&request)?;
        let ensure = Ensure::try_from(request.into_inner())?;
        let name = name::account(&ensure.spec.uid);
        let location = self.0.ensure_account(&cx, ensure).await?;
        Ok(Response::new(pb::EngineAccount {
            name,
            location: name::location(&location.code),
            endpoint: location.endpoint,
            region: location.region,
        }))
    }

    async fn remove_engine_account(
        &self,
        request: Request<pb::RemoveEngineAccountRequest>,
    ) -> Result<Response<pb::RemoveEngineAccountResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let uid = violations.check("name", name::parse_account(&request.name));
        let uid = complete(uid, violations)?;
        self.0.remove_account(&cx, &uid, request.purge).await?;
        Ok(Response::new(pb::RemoveEngineAccountResponse {}))
    }
}
