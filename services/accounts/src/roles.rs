//! The other roles as this one calls them: domain types in and out, through the generated clients.

use stowage_auth::RequestContext;
use stowage_proto::common::ErrorReason;
use stowage_proto::{billing, metering, storage};
use stowage_runtime::{RoleChannel, is_transient, reason_of};
use stowage_saga::StepError;
use stowage_types::{
    Currency, CustomerId, ExposeSecret as _, PlanId, S3uid, SecretString, from_timestamp, name,
};
use time::OffsetDateTime;
use tonic::{Code, Status};

mod adopting;
mod comparing;
mod issuing;
mod listing;
mod moving;
mod owing;

pub(crate) use adopting::Foreign;
pub(crate) use comparing::Ask;
pub(crate) use issuing::Place;
pub(crate) use listing::{OnEngine, Open};
pub(crate) use moving::{Moving, Switched};

use crate::error::Error;

use billing::invoice_service_client::InvoiceServiceClient;
use billing::subscription_service_client::SubscriptionServiceClient;
use metering::meter_service_client::MeterServiceClient;
use metering::usage_service_client::UsageServiceClient as MeteredServiceClient;
use storage::account_move_service_client::AccountMoveServiceClient;
use storage::adoption_service_client::AdoptionServiceClient;
use storage::bucket_service_client::BucketServiceClient;
use storage::engine_account_service_client::EngineAccountServiceClient;
use storage::keyring_service_client::KeyringServiceClient;
use storage::location_service_client::LocationServiceClient;
use storage::usage_service_client::UsageServiceClient;

/// A call to another role that did not succeed.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) code: Code,
    pub(crate) reason: ErrorReason,
    pub(crate) message: String,
    /// Whether it may have been executed, or may succeed later.
    pub(crate) is_unclear: bool,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        // A fault or a short-lived assertion that ran out says nothing about the effect.
        let is_fault = matches!(status.code(), Code::Internal | Code::Unauthenticated);
        Self {
            code: status.code(),
            reason: reason_of(&status).unwrap_or_default(),
            is_unclear: is_fault || is_transient(&status),
            message: status.message().to_owned(),
        }
    }
}

impl From<CallError> for StepError {
    fn from(error: CallError) -> Self {
        let reason = error.reason.as_str_name().trim_start_matches("ERROR_REASON_");
        match error.is_unclear {
            true => Self::retry(format!("{reason}: {}", error.message)),
            false => Self::fail(reason, error.message),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let text = format!("{:?}: {}", error.code, error.message);
        match error.code {
            // Only calls that change nothing are passed on like this.
            Code::DeadlineExceeded
            | Code::Unavailable
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown => Self::Unavailable { source: text.into() },
            Code::Internal | Code::Unauthenticated | Code::PermissionDenied => Self::internal(text),
            _ if error.reason == ErrorReason::Unspecified => Self::internal(text),
            code => Self::Refused { code, reason: error.reason, message: error.message },
        }
    }
}

/// The terms of an order.
#[derive(Debug)]
pub(crate) struct Quote {
    pub(crate) plan_version: i32,
    pub(crate) storage_type: String,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    pub(crate) key_max: i32,
    pub(crate) gb_bytes: i64,
    pub(crate) billing: String,
}

/// An order as it is placed.
pub(crate) struct Order<'a> {
    pub(crate) s3uid: &'a S3uid,
    pub(crate) customer: CustomerId,
    pub(crate) email: &'a str,
    pub(crate) currency: Currency,
    pub(crate) plan: PlanId,
    pub(crate) plan_version: i32,
    pub(crate) location: &'a str,
}

/// What billing answers about a placed order.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) service_id: i64,
    pub(crate) order_id: i64,
    pub(crate) invoice_id: i64,
    pub(crate) billing: String,
    pub(crate) cancel_time: Option<OffsetDateTime>,
}

impl From<billing::Subscription> for Subscription {
    fn from(wire: billing::Subscription) -> Self {
        Self {
            service_id: wire.service_id,
            order_id: wire.order_id,
            invoice_id: wire.invoice_id,
            billing: wire.provider,
            cancel_time: wire.cancel_time.and_then(|time| from_timestamp(&time).ok()),
        }
    }
}

/// An account as its engine is to know it.
pub(crate) struct EngineAccount<'a> {
    pub(crate) s3uid: &'a S3uid,
    pub(crate) customer: CustomerId,
    pub(crate) location: &'a str,
    /// All its keys: others stop working.
    pub(crate) keys: &'a [EngineKey],
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    pub(crate) suspended: bool,
    pub(crate) read_only: bool,
    /// Its customer may delete while it is read-only.
    pub(crate) may_delete: bool,
}

/// A key pair, for the engine.
pub(crate) struct EngineKey {
    pub(crate) access_key: String,
    pub(crate) secret_key: SecretString,
}

impl From<storage::EngineKey> for EngineKey {
    fn from(storage::EngineKey { access_key, secret_key }: storage::EngineKey) -> Self {
        Self { access_key, secret_key: secret_key.into() }
    }
}

impl From<&EngineKey> for storage::EngineKey {
    fn from(key: &EngineKey) -> Self {
        Self {
            access_key: key.access_key.clone(),
            secret_key: key.secret_key.expose_secret().to_owned(),
        }
    }
}

/// What metering knows an account by.
pub(crate) struct Metered<'a> {
    pub(crate) s3uid: &'a S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) email: &'a str,
    pub(crate) plan: PlanId,
    pub(crate) location: &'a str,
    pub(crate) storage_type: &'a str,
    pub(crate) billing: &'a str,
    pub(crate) gb_bytes: i64,
}

/// Clients of the three roles. Calls of sagas carry the saga's own service identity.
#[derive(Clone)]
pub(crate) struct Roles {
    buckets: BucketServiceClient<RoleChannel>,
    engine_accounts: EngineAccountServiceClient<RoleChannel>,
    moves: AccountMoveServiceClient<RoleChannel>,
    adoptions: AdoptionServiceClient<RoleChannel>,
    subscriptions: SubscriptionServiceClient<RoleChannel>,
    invoices: InvoiceServiceClient<RoleChannel>,
    meters: MeterServiceClient<RoleChannel>,
    usage: UsageServiceClient<RoleChannel>,
    metered: MeteredServiceClient<RoleChannel>,
    locations: LocationServiceClient<RoleChannel>,
    keyring: KeyringServiceClient<RoleChannel>,
}

/// Makes a call and takes its message.
macro_rules! call {
    ($client:expr, $method:ident, $cx:expr, $message:expr) => {
        $client.clone().$method($cx.outgoing($message)).await.map(tonic::Response::into_inner)
    };
}

impl Roles {
    pub(crate) fn new(storage: RoleChannel, billing: RoleChannel, metering: RoleChannel) -> Self {
        Self {
            buckets: BucketServiceClient::new(storage.clone()),
            engine_accounts: EngineAccountServiceClient::new(storage.clone()),
            moves: AccountMoveServiceClient::new(storage.clone()),
            adoptions: AdoptionServiceClient::new(storage.clone()),
            usage: UsageServiceClient::new(storage.clone()),
            keyring: KeyringServiceClient::new(storage.clone()),
            locations: LocationServiceClient::new(storage),
            subscriptions: SubscriptionServiceClient::new(billing.clone()),
            invoices: InvoiceServiceClient::new(billing),
            metered: MeteredServiceClient::new(metering.clone()),
            meters: MeterServiceClient::new(metering),
        }
    }

    pub(crate) async fn quote(
        &self,
        cx: &RequestContext,
        (customer, currency, email): (CustomerId, Currency, &str),
        (plan, location): (PlanId, &str),
    ) -> Result<Quote, CallError> {
        let message = billing::QuoteOrderRequest {
            customer_id: customer.0,
            currency: currency.to_string(),
            plan: name::plan(plan),
            location: name::location(location),
            customer_email: email.to_owned(),
        };
        let quote = call!(self.subscriptions, quote_order, cx, message)?;
        let plan = quote.plan.unwrap_or_default();
        Ok(Quote {
            plan_version: plan.version,
            storage_type: plan.storage_type,
            quota_bytes: plan.quota_bytes,
            bucket_max: plan.bucket_max,
            key_max: plan.key_max,
            gb_bytes: plan.gb_bytes,
            billing: quote.provider,
        })
    }

    pub(crate) async fn place_order(
        &self,
        cx: &RequestContext,
        order: &Order<'_>,
    ) -> Result<Subscription, CallError> {
        let message = billing::PlaceOrderRequest {
            order_key: order.s3uid.to_string(),
            customer_id: order.customer.0,
            currency: order.currency.to_string(),
            plan: name::plan(order.plan),
            plan_version: order.plan_version,
            location: name::location(order.location),
            s3uid: order.s3uid.to_string(),
            customer_email: order.email.to_owned(),
        };
        Ok(call!(self.subscriptions, place_order, cx, message)?.into())
    }

    pub(crate) async fn activate_subscription(
        &self,
        cx: &RequestContext,
        order: &S3uid,
    ) -> Result<Subscription, CallError> {
        let message = billing::ActivateSubscriptionRequest { order_key: order.to_string() };
        Ok(call!(self.subscriptions, activate_subscription, cx, message)?.into())
    }

    pub(crate) async fn undo_order(
        &self,
        cx: &RequestContext,
        order: &S3uid,
    ) -> Result<(), CallError> {
        let message = billing::UndoOrderRequest { order_key: order.to_string() };
        call!(self.subscriptions, undo_order, cx, message)?;
        Ok(())
    }

    /// Ends a subscription. One that is not there is not billed either, which is what is wanted.
    pub(crate) async fn terminate(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<(), CallError> {
        let message =
            billing::TerminateSubscriptionRequest { name: name::subscription(service_id) };
        match call!(self.subscriptions, terminate_subscription, cx, message)
            .map_err(CallError::from)
        {
            Err(error) if error.code == Code::NotFound => Ok(()),
            other => other.map(|_| ()),
        }
    }

    pub(crate) async fn change_plan(
        &self,
        cx: &RequestContext,
        service_id: i64,
        (change_key, (plan, plan_version)): (&str, (PlanId, i32)),
    ) -> Result<(), CallError> {
        let message = billing::ChangeSubscriptionPlanRequest {
            name: name::subscription(service_id),
            plan: name::plan(plan),
            plan_version,
            change_key: change_key.to_owned(),
        };
        call!(self.subscriptions, change_subscription_plan, cx, message)?;
        Ok(())
    }

    /// Has the last figures of an account sent to metering.
    pub(crate) async fn collect_usage(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<(), CallError> {
        let name = name::account(s3uid);
        let message = storage::CollectUsageRequest { name, ..Default::default() };
        call!(self.usage, collect_usage, cx, message)?;
        Ok(())
    }

    pub(crate) async fn schedule_cancellation(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<Subscription, CallError> {
        let name = name::subscription(service_id);
        let message = billing::ScheduleSubscriptionCancellationRequest { name };
        Ok(call!(self.subscriptions, schedule_cancellation, cx, message)?.into())
    }

    pub(crate) async fn withdraw_cancellation(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<(), CallError> {
        let name = name::subscription(service_id);
        let message = billing::WithdrawSubscriptionCancellationRequest { name };
        call!(self.subscriptions, withdraw_cancellation, cx, message)?;
        Ok(())
    }

    /// Answers the endpoint.
    pub(crate) async fn ensure_engine_account(
        &self,
        cx: &RequestContext,
        account: &EngineAccount<'_>,
    ) -> Result<String, CallError> {
        let message = storage::EnsureEngineAccountRequest {
            name: name::account(account.s3uid),
            customer_id: account.customer.0,
            location: name::location(account.location),
            keys: account.keys.iter().map(storage::EngineKey::from).collect(),
            quota_bytes: account.quota_bytes,
            bucket_max: account.bucket_max,
            suspended: account.suspended,
            read_only: account.read_only,
            may_delete: account.may_delete,
        };
        Ok(call!(self.engine_accounts, ensure_engine_account, cx, message)?.endpoint)
    }

    pub(crate) async fn remove_engine_account(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        purge: bool,
    ) -> Result<(), CallError> {
        let message = storage::RemoveEngineAccountRequest { name: name::account(s3uid), purge };
        call!(self.engine_accounts, remove_engine_account, cx, message)?;
        Ok(())
    }

    pub(crate) async fn create_bucket(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        bucket: &str,
    ) -> Result<(), CallError> {
        let parent = name::account(s3uid);
        let message = storage::CreateBucketRequest {
            parent,
            bucket: bucket.to_owned(),
            ..Default::default()
        };
        call!(self.buckets, create_bucket, cx, message)?;
        Ok(())
    }

    /// Deletes a bucket of the account if it is there and empty.
    pub(crate) async fn delete_bucket(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        bucket: &str,
    ) -> Result<(), CallError> {
        let name = format!("{}/buckets/{bucket}", name::account(s3uid));
        let message = storage::DeleteBucketRequest { name, ..Default::default() };
        match call!(self.buckets, delete_bucket, cx, message).map_err(CallError::from) {
            // Not there, or another account's: there is nothing of ours.
            Err(error) if error.code == Code::NotFound => Ok(()),
            other => other.map(|_| ()),
        }
    }

    pub(crate) async fn open_meter(
        &self,
        cx: &RequestContext,
        metered: &Metered<'_>,
    ) -> Result<(), CallError> {
        let dimensions = metering::Dimensions {
            s3uid: metered.s3uid.to_string(),
            account_id: metered.account_id,
            customer_id: metered.customer.0,
            email: metered.email.to_owned(),
            plan_id: metered.plan.0,
            location: metered.location.to_owned(),
            storage_type: metered.storage_type.to_owned(),
            billing: metered.billing.to_owned(),
            gb_bytes: metered.gb_bytes,
        };
        let message = metering::OpenMeterRequest { dimensions: Some(dimensions) };
        call!(self.meters, open_meter, cx, message)?;
        Ok(())
    }

    pub(crate) async fn close_meter(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<(), CallError> {
        let message = metering::CloseMeterRequest { s3uid: s3uid.to_string() };
        call!(self.meters, close_meter, cx, message)?;
        Ok(())
    }
}
