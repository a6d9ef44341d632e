//! `EngineAccountService`.

use stowage_auth::RequestContext;
use stowage_engine::{AccountAccess, AccountInfo, AccountSpec, KeyPair, KeyUsage, Quota};
use stowage_proto::storage as pb;
use stowage_proto::storage::engine_account_service_server::EngineAccountService;
use stowage_types::{CustomerId, ExposeSecret as _, S3uid, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::engine_account::{Account, Ensure, State};
use crate::domain::engine_view::View;
use crate::domain::location::Location;
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
        // None is for the engine to say something to.
        let keys = match request.keys.is_empty() {
            true => Vec::new(),
            false => keys_of(request.keys, &mut violations),
        };
        let (bytes, bucket_max) =
            bounds_of((request.quota_bytes, request.bucket_max), &mut violations);
        let (uid, location) = complete(uid.zip(location), violations)?;
        Ok(Self {
            customer: CustomerId(request.customer_id),
            location,
            may_delete: request.may_delete,
            spec: AccountSpec {
                uid,
                keys,
                quota: Quota { bytes, objects: None },
                bucket_max,
                access: access_of((request.suspended, request.read_only)),
            },
        })
    }
}

/// Bytes and buckets that an account may have; 0 is no bound.
pub(super) fn bounds_of(
    (quota_bytes, bucket_max): (i64, i32),
    violations: &mut Violations,
) -> (Option<u64>, Option<u32>) {
    let quota_bytes = u64::try_from(quota_bytes);
    if quota_bytes.is_err() {
        violations.push("quota_bytes", "must not be negative");
    }
    let bucket_max = u32::try_from(bucket_max);
    if bucket_max.is_err() {
        violations.push("bucket_max", "must not be negative");
    }
    (quota_bytes.ok().filter(|bytes| *bytes > 0), bucket_max.ok().filter(|max| *max > 0))
}

/// What its keys open. Suspended is the stronger.
pub(super) fn access_of((is_suspended, is_read_only): (bool, bool)) -> AccountAccess {
    match (is_suspended, is_read_only) {
        (true, _) => AccountAccess::Suspended,
        (false, true) => AccountAccess::ReadOnly,
        (false, false) => AccountAccess::Full,
    }
}

/// An account as it is at a location.
pub(super) fn message_at(uid: &S3uid, location: Location) -> pb::EngineAccount {
    pb::EngineAccount {
        name: name::account(uid),
        location: name::location(&location.code),
        endpoint: location.endpoint,
        region: location.region,
    }
}

pub(super) fn keys_of(keys: Vec<pb::EngineKey>, violations: &mut Violations) -> Vec<KeyPair> {
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

/// A key as the roles that keep it get it.
pub(super) fn key_message(KeyPair { access_key, secret_key }: KeyPair) -> pb::EngineKey {
    pb::EngineKey { access_key, secret_key: secret_key.expose_secret().to_owned() }
}

/// 0 is no bound.
pub(super) fn bucket_max_of(max: Option<u32>) -> i32 {
    max.map_or(0, |max| i32::try_from(max).unwrap_or(i32::MAX))
}

fn on_engine(info: AccountInfo) -> pb::AccountOnEngine {
    pb::AccountOnEngine {
        access_keys: info.access_keys,
        quota_bytes: info.quota.bytes.map_or(0, signed),
        bucket_max: bucket_max_of(info.bucket_max),
        suspended: info.access == AccountAccess::Suspended,
        read_only: info.access == AccountAccess::ReadOnly,
        bucket_count: i32::try_from(info.bucket_count).unwrap_or(i32::MAX),
    }
}

impl From<Account> for pb::AccountInStorage {
    fn from(account: Account) -> Self {
        let state = match account.state {
            State::Pending => pb::EngineAccountState::Pending,
            State::Active => pb::EngineAccountState::Active,
            State::Removing => pb::EngineAccountState::Removing,
            State::Removed => pb::EngineAccountState::Removed,
        };
        Self {
            state: state.into(),
            customer_id: account.customer.map_or(0, |customer| customer.0),
            location: account.location.as_deref().map(name::location).unwrap_or_default(),
            quota_bytes: account.limits.quota_bytes.map_or(0, signed),
            bucket_max: bucket_max_of(account.limits.bucket_max),
            suspended: account.limits.access == AccountAccess::Suspended,
            read_only: account.limits.access == AccountAccess::ReadOnly,
        }
    }
}

fn view_of((uid, view): (S3uid, View)) -> pb::EngineAccountView {
    pb::EngineAccountView {
        name: name::account(&uid),
        on_engine: view.on_engine.map(on_engine),
        in_storage: view.in_storage.map(Into::into),
    }
}

fn key_usage_of(key: KeyUsage) -> pb::KeyUsage {
    let last_use_time = key.last_use_time.map(timestamp);
    pb::KeyUsage { access_key: key.access_key, last_use_time }
}

#[tonic::async_trait]
impl EngineAccountService for Api {
    async fn ensure_engine_account(
        &self,
        request: Request<pb::EnsureEngineAccountRequest>,
    ) -> Result<Response<pb::EngineAccount>, Status> {
        let cx = RequestContext::of(&request)?;
        let ensure = Ensure::try_from(request.into_inner())?;
        let uid = ensure.spec.uid.clone();
        let location = self.0.storage.ensure_account(&cx, ensure).await?;
        Ok(Response::new(message_at(&uid, location)))
    }

    async fn issue_engine_key(
        &self,
        request: Request<pb::IssueEngineKeyRequest>,
    ) -> Result<Response<pb::EngineKey>, Status> {
        let cx = RequestContext::of(&request)?;
        let mut violations = Violations::default();
        let uid = violations.check("name", name::parse_account(&request.get_ref().name));
        let uid = complete(uid, violations)?;
        let made = self.0.storage.issue_key(&cx, &uid).await?;
        Ok(Response::new(key_message(made)))
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
        self.0.storage.remove_account(&cx, &uid, request.purge).await?;
        Ok(Response::new(pb::RemoveEngineAccountResponse {}))
    }

    async fn list_key_usage(
        &self,
        request: Request<pb::ListKeyUsageRequest>,
    ) -> Result<Response<pb::ListKeyUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let uid = violations.check("parent", name::parse_account(&request.parent));
        let size = page::size(request.page_size, 100, 100, &mut violations);
        let uid = complete(uid, violations)?;
        let page = self.0.storage.key_usage(&cx, &uid, (size, &request.page_token)).await?;
        Ok(Response::new(pb::ListKeyUsageResponse {
            keys: page.keys.into_iter().map(key_usage_of).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_engine_accounts(
        &self,
        request: Request<pb::ListEngineAccountsRequest>,
    ) -> Result<Response<pb::ListEngineAccountsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let location = violations.check("parent", name::parse_location(&request.parent));
        let size = page::size(request.page_size, 100, 1000, &mut violations);
        let location = complete(location, violations)?;
        let page =
            self.0.storage.engine_accounts(&cx, &location, (size, &request.page_token)).await?;
        Ok(Response::new(pb::ListEngineAccountsResponse {
            accounts: page.views.into_iter().map(view_of).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
