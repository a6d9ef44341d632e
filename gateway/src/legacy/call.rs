//! One call of an action: what its handler gets, and how it asks the roles.

use std::sync::Arc;
use std::time::Duration;

use stowage_auth::{ACTION_KEY, ASSERTION_KEY, REQUEST_ID_KEY};
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{Account, BindRequestRequest, GetAccountRequest};
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::subscription_service_client::SubscriptionServiceClient;
use stowage_proto::common::PrincipalRole;
use stowage_proto::metering::usage_service_client::UsageServiceClient as MeteringClient;
use stowage_proto::storage::bucket_service_client::BucketServiceClient;
use stowage_proto::storage::location_service_client::LocationServiceClient;
use stowage_proto::storage::object_service_client::ObjectServiceClient;
use stowage_proto::storage::usage_service_client::UsageServiceClient as CollectClient;
use stowage_runtime::RoleChannel;
use stowage_types::{BucketName, Clock, Random, S3uid, name};
use tokio::time::Instant;
use tonic::metadata::MetadataValue;

use super::catalogue::Catalogue;
use super::errors::Failure;
use super::params::{self, Kind, Param};
use super::request::Params;
use super::table::Action;
use crate::Config;
use crate::identity::{Identities, Identity};
use crate::limits::Limits;

/// A call passes on less time than it has, so that a role's answer still finds a listener.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// The four roles, as they are called for a client: without an identity of their own.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    pub(crate) accounts: RoleChannel,
    pub(crate) storage: RoleChannel,
    pub(crate) billing: RoleChannel,
    pub(crate) metering: RoleChannel,
}

/// What the facade is made of.
#[derive(Debug)]
pub(crate) struct Facade {
    pub(crate) config: Config,
    pub(crate) roles: Roles,
    pub(crate) identities: Arc<Identities>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// One call of one action.
pub(crate) struct Call<'a> {
    pub(crate) facade: &'a Facade,
    pub(crate) action: &'static Action,
    pub(crate) params: &'a Params,
    pub(crate) who: Arc<Identity>,
    pub(crate) request_id: &'a str,
    pub(crate) deadline: Instant,
    /// From the header or the parameter; empty without one.
    pub(crate) idempotency_key: String,
}

/// How a request names an account.
enum Named {
    Uid(S3uid),
    Number(i64),
    Nonsense,
    NotAtAll,
}

impl Facade {
    /// A request to a role as `who`, or as nobody.
    pub(crate) fn request<T>(
        &self,
        message: T,
        who: Option<&Identity>,
        request_id: &str,
        deadline: Instant,
    ) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let left = deadline.saturating_duration_since(Instant::now());
        request.set_timeout(left.saturating_sub(ANSWER_MARGIN));
        let metadata = request.metadata_mut();
        if let Some(who) = who {
            metadata.insert(ASSERTION_KEY, who.assertion.clone());
        }
        if let Ok(id) = MetadataValue::try_from(request_id) {
            metadata.insert(REQUEST_ID_KEY, id);
        }
        request
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<RoleChannel> {
        SessionServiceClient::new(self.roles.accounts.clone())
    }
}

impl Call<'_> {
    /// A request to a role as the caller.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let (id, deadline) = (self.request_id, self.deadline);
        let mut request = self.facade.request(message, Some(&self.who), id, deadline);
        if !self.idempotency_key.is_empty() {
            let action = MetadataValue::from_static(self.action.name);
            request.metadata_mut().insert(ACTION_KEY, action);
        }
        request
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<RoleChannel> {
        AccountServiceClient::new(self.facade.roles.accounts.clone())
    }

    pub(crate) fn customers(&self) -> CustomerServiceClient<RoleChannel> {
        CustomerServiceClient::new(self.facade.roles.accounts.clone())
    }

    pub(crate) fn plans(&self) -> PlanServiceClient<RoleChannel> {
        PlanServiceClient::new(self.facade.roles.billing.clone())
    }

    pub(crate) fn subscriptions(&self) -> SubscriptionServiceClient<RoleChannel> {
        SubscriptionServiceClient::new(self.facade.roles.billing.clone())
    }

    pub(crate) fn metering(&self) -> MeteringClient<RoleChannel> {
        MeteringClient::new(self.facade.roles.metering.clone())
    }

    pub(crate) fn buckets(&self) -> BucketServiceClient<RoleChannel> {
        BucketServiceClient::new(self.facade.roles.storage.clone())
    }

    pub(crate) fn objects(&self) -> ObjectServiceClient<RoleChannel> {
        ObjectServiceClient::new(self.facade.roles.storage.clone())
    }

    pub(crate) fn locations(&self) -> LocationServiceClient<RoleChannel> {
        LocationServiceClient::new(self.facade.roles.storage.clone())
    }

    pub(crate) fn collector(&self) -> CollectClient<RoleChannel> {
        CollectClient::new(self.facade.roles.storage.clone())
    }

    /// Whether the caller is a customer, and not someone of the provider.
    pub(crate) fn is_customer(&self) -> bool {
        self.who.role == PrincipalRole::Customer
    }

    /// Whether the caller may read secrets; support staff may not.
    pub(crate) fn may_read_secrets(&self) -> bool {
        self.who.role != PrincipalRole::Staff
    }

    pub(crate) fn text(&self, param: &Param) -> String {
        param.of(self.params).unwrap_or_default().to_owned()
    }

    pub(crate) fn int(&self, param: &Param) -> Option<i64> {
        param.int(self.params)
    }

    /// An integer that is known to be small.
    pub(crate) fn small_int(&self, param: &Param, default: i32) -> i32 {
        self.int(param).map_or(default, |number| i32::try_from(number).unwrap_or(i32::MAX))
    }

    /// The bucket's name. The table has checked it.
    pub(crate) fn bucket(&self) -> Result<BucketName, Failure> {
        BucketName::new(params::BUCKET_NAME.of(self.params).unwrap_or_default())
            .map_err(|fault| Failure::invalid(params::BUCKET_NAME.name, fault.why))
    }

    /// `locations/{code}`, or nothing.
    pub(crate) fn location(&self) -> String {
        match params::LOCATION.of(self.params) {
            Some(code) => name::location(&code.to_ascii_uppercase()),
            None => String::new(),
        }
    }

    fn named(&self) -> Named {
        let Some(text) = params::S3UID.of(self.params).map(str::trim) else {
            return Named::NotAtAll;
        };
        match (S3uid::parse(text), text.parse()) {
            (Ok(uid), _) => Named::Uid(uid),
            (_, Ok(number)) if number > 0 => Named::Number(number),
            _ => Named::Nonsense,
        }
    }

    /// Filters by an account: its s3uid and its integer id, empty and 0 without a filter.
    pub(crate) fn account_filter(&self) -> Result<(String, i64), Failure> {
        match self.named() {
            Named::Uid(uid) => Ok((uid.to_string(), 0)),
            Named::Number(id) => Ok((String::new(), id)),
            Named::NotAtAll => Ok((String::new(), 0)),
            Named::Nonsense => Err(Failure::account_not_found()),
        }
    }

    /// The s3uid of the account that the request names. A foreign one is found out by the role that
    /// is asked next, with the same answer as for one that does not exist.
    pub(crate) async fn s3uid(&self) -> Result<S3uid, Failure> {
        let account = match self.named() {
            Named::Uid(uid) => return Ok(uid),
            Named::Number(id) => self.get_account(format!("accounts/{id}")).await?,
            Named::Nonsense => return Err(Failure::account_not_found()),
            Named::NotAtAll => self.only_account().await?,
        };
        S3uid::parse(&account.s3uid).map_err(|_| Failure::internal())
    }

    /// The name of the account, as the request names it: by its integer id too, which a role may
    /// still know when the account is gone.
    pub(crate) async fn named_account(&self) -> Result<String, Failure> {
        match self.named() {
            Named::Number(id) => Ok(format!("accounts/{id}")),
            _ => Ok(name::account(&self.s3uid().await?)),
        }
    }

    /// As [`Self::s3uid`], for actions that are executed by another role than accounts. That role
    /// does not know what else the client's key was used for, so accounts is asked first; it still
    /// knows the account of a repeat when that is gone.
    pub(crate) async fn bound_s3uid(&self) -> Result<S3uid, Failure> {
        if self.idempotency_key.is_empty() {
            return self.s3uid().await;
        }
        let message = BindRequestRequest {
            name: self.named_account().await?,
            action: self.action.name.to_owned(),
            request_id: self.idempotency_key.clone(),
        };
        let bound = self.accounts().bind_request(self.request(message)).await?.into_inner();
        name::parse_account(&bound.name).map_err(|_| Failure::internal())
    }

    async fn only_account(&self) -> Result<Account, Failure> {
        let found = self.get_account("accounts/-".to_owned()).await;
        let is_required = self.action.required.iter().any(|p| matches!(p.kind, Kind::Account));
        match found {
            Err(failure) if is_required && failure.is_not_found() => {
                Err(Failure::required(params::S3UID.name))
            }
            other => other,
        }
    }

    /// The account of that name.
    pub(crate) async fn get_account(&self, name: String) -> Result<Account, Failure> {
        let request = self.request(GetAccountRequest { name });
        Ok(self.accounts().get_account(request).await?.into_inner())
    }
}
