//! A double of storage, billing and metering: the outer edge of this crate's tests only. It keeps
//! what they would keep, checks what they would check, and fails when told to, before or after the
//! effect of a call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stowage_proto::common::{ErrorReason, RoleKeyring};
use stowage_proto::{billing, metering, storage};
use stowage_runtime::status;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status, async_trait};

use crate::listing::engine_page;

use billing::subscription_service_server::SubscriptionService;
use metering::meter_service_server::MeterService;
use storage::bucket_service_server::BucketService;
use storage::engine_account_service_server::EngineAccountService;
use storage::usage_service_server::UsageService;

/// The plans and the locations that exist.
pub(crate) const PLAN: i64 = 1;
pub(crate) const BIGGER: i64 = 2;
/// Of another class of storage.
pub(crate) const ARCHIVE: i64 = 3;
pub(crate) const LOCATION: &str = "locations/NL";
pub(crate) const ENDPOINT: &str = "http://127.0.0.1:9000";

/// When a call fails, seen from its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

#[derive(Debug, Clone)]
struct Fault {
    method: &'static str,
    when: When,
    code: Code,
    reason: ErrorReason,
    times: u32,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Order key to its subscription.
    pub(crate) orders: BTreeMap<String, billing::Subscription>,
    /// What the engine knows of each account, by s3uid.
    pub(crate) engine: BTreeMap<String, storage::EnsureEngineAccountRequest>,
    /// Bucket to s3uid.
    pub(crate) buckets: BTreeMap<String, String>,
    /// What is unpaid.
    pub(crate) invoices: Vec<billing::Invoice>,
    /// Open meters.
    pub(crate) meters: BTreeMap<String, metering::Dimensions>,
    /// By name.
    pub(crate) moves: BTreeMap<String, storage::AccountMove>,
    /// Whether moves stay where they are.
    pub(crate) moves_held: bool,
    /// Whether the engine makes keys itself; then those that it has, by s3uid.
    pub(crate) issues_keys: bool,
    pub(crate) issued: BTreeMap<String, Vec<storage::EngineKey>>,
    /// Who is on the engine and no account, by what it calls them.
    pub(crate) foreign: BTreeMap<String, storage::ForeignAccount>,
    /// Who was, by s3uid.
    pub(crate) adopted: BTreeMap<String, storage::ForeignAccount>,
    /// What storage has sealed.
    pub(crate) keyring: RoleKeyring,
    /// What all three say of usage.
    pub(crate) figures: crate::double_figures::AllFigures,
    /// Every call that changes something.
    pub(crate) calls: Vec<&'static str>,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) state: Arc<Mutex<State>>,
    /// If set, creating a bucket takes a permit.
    pub(crate) gate: Option<Arc<Semaphore>>,
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next `times` calls of a method fail.
    pub(crate) fn fail(
        &self,
        method: &'static str,
        when: When,
        (code, reason): (Code, ErrorReason),
        times: u32,
    ) {
        self.state().faults.push(Fault { method, when, code, reason, times });
    }

    pub(crate) fn check(&self, method: &'static str, when: When) -> Result<(), Status> {
        let mut state = self.state();
        let wanted = |f: &&mut Fault| f.method == method && f.when == when && f.times > 0;
        let Some(fault) = state.faults.iter_mut().find(wanted) else { return Ok(()) };
        fault.times -= 1;
        Err(status(fault.code, fault.reason, "made to fail").build())
    }

    /// An effect between its two chances to fail.
    pub(crate) fn change<T>(
        &self,
        method: &'static str,
        effect: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        self.check(method, When::Before)?;
        let mut state = self.state();
        state.calls.push(method);
        let answer = effect(&mut state)?;
        drop(state);
        self.check(method, When::After)?;
        Ok(Response::new(answer))
    }

    /// What of orders, engine accounts, buckets and meters is there, as text.
    pub(crate) fn left(&self) -> String {
        let state = self.state();
        format!(
            "{} orders, {} engine accounts, {} buckets, {} meters",
            state.orders.values().filter(|order| is_open(order)).count(),
            state.engine.len(),
            state.buckets.len(),
            state.meters.len(),
        )
    }
}

fn is_open(order: &billing::Subscription) -> bool {
    let open = [billing::SubscriptionState::Pending, billing::SubscriptionState::Active];
    open.contains(&order.state())
}

pub(crate) fn refuse(code: Code, reason: ErrorReason) -> Status {
    status(code, reason, "refused").build()
}

fn plan() -> billing::Plan {
    billing::Plan {
        name: format!("plans/{PLAN}"),
        plan_id: PLAN,
        version: 3,
        storage_type: "standard".into(),
        location: LOCATION.into(),
        quota_bytes: 1 << 40,
        bucket_max: 10,
        key_max: 2,
        gb_bytes: 1 << 30,
        ..Default::default()
    }
}

fn not_found() -> Status {
    refuse(Code::NotFound, ErrorReason::SubscriptionNotFound)
}

fn by_name<'a>(state: &'a mut State, name: &str) -> Result<&'a mut billing::Subscription, Status> {
    state.orders.values_mut().find(|order| order.name == name).ok_or_else(not_found)
}

#[async_trait]
impl SubscriptionService for World {
    async fn quote_order(
        &self,
        request: Request<billing::QuoteOrderRequest>,
    ) -> Result<Response<billing::Quote>, Status> {
        self.check("QuoteOrder", When::Before)?;
        let plan = match name_id(&request.into_inner().plan) {
            PLAN => plan(),
            BIGGER => billing::Plan {
                name: format!("plans/{BIGGER}"),
                plan_id: BIGGER,
                quota_bytes: 2 << 40,
                bucket_max: 20,
                key_max: 3,
                gb_bytes: 1_000_000_000,
                ..plan()
            },
            ARCHIVE => billing::Plan { plan_id: ARCHIVE, storage_type: "archive".into(), ..plan() },
            _ => return Err(refuse(Code::NotFound, ErrorReason::PlanNotFound)),
        };
        Ok(Response::new(billing::Quote { plan: Some(plan), provider: "ledger".into() }))
    }

    async fn place_order(
        &self,
        request: Request<billing::PlaceOrderRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let request = request.into_inner();
        self.change("PlaceOrder", |state| {
            let id = 100 + i64::try_from(state.orders.len()).unwrap();
            let made = || billing::Subscription {
                name: format!("subscriptions/{id}"),
                service_id: id,
                order_id: id + 1000,
                invoice_id: id + 2000,
                provider: "ledger".into(),
                order_key: request.order_key.clone(),
                customer_id: request.customer_id,
                s3uid: request.s3uid.clone(),
                plan_id: name_id(&request.plan),
                plan_version: request.plan_version,
                state: billing::SubscriptionState::Pending.into(),
                ..Default::default()
            };
            Ok(state.orders.entry(request.order_key.clone()).or_insert_with(made).clone())
        })
    }

    async fn activate_subscription(
        &self,
        request: Request<billing::ActivateSubscriptionRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let key = request.into_inner().order_key;
        self.change("ActivateSubscription", |state| {
            let order = state.orders.get_mut(&key).ok_or_else(not_found)?;
            order.set_state(billing::SubscriptionState::Active);
            Ok(order.clone())
        })
    }

    async fn undo_order(
        &self,
        request: Request<billing::UndoOrderRequest>,
    ) -> Result<Response<billing::UndoOrderResponse>, Status> {
        let key = request.into_inner().order_key;
        self.change("UndoOrder", |state| {
            if let Some(order) = state.orders.get_mut(&key) {
                order.set_state(billing::SubscriptionState::Cancelled);
            }
            Ok(billing::UndoOrderResponse {})
        })
    }

    async fn terminate_subscription(
        &self,
        request: Request<billing::TerminateSubscriptionRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let name = request.into_inner().name;
        self.change("TerminateSubscription", |state| {
            let order = by_name(state, &name)?;
            order.set_state(billing::SubscriptionState::Terminated);
            Ok(order.clone())
        })
    }

    async fn change_subscription_plan(
        &self,
        request: Request<billing::ChangeSubscriptionPlanRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let request = request.into_inner();
        self.change("ChangeSubscriptionPlan", |state| {
            let order = by_name(state, &request.name)?;
            order.plan_id = name_id(&request.plan);
            order.plan_version = request.plan_version;
            Ok(order.clone())
        })
    }

    async fn schedule_cancellation(
        &self,
        request: Request<billing::ScheduleSubscriptionCancellationRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let name = request.into_inner().name;
        self.change("ScheduleCancellation", |state| {
            let order = by_name(state, &name)?;
            order.cancel_time = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
            Ok(order.clone())
        })
    }

    async fn withdraw_cancellation(
        &self,
        request: Request<billing::WithdrawSubscriptionCancellationRequest>,
    ) -> Result<Response<billing::Subscription>, Status> {
        let name = request.into_inner().name;
        self.change("WithdrawCancellation", |state| {
            let order = by_name(state, &name)?;
            order.cancel_time = None;
            Ok(order.clone())
        })
    }

    async fn batch_get_subscriptions(
        &self,
        request: Request<billing::BatchGetSubscriptionsRequest>,
    ) -> Result<Response<billing::BatchGetSubscriptionsResponse>, Status> {
        let ids = request.into_inner().service_ids;
        let mut subscriptions: Vec<_> = self.state().orders.values().cloned().collect();
        subscriptions.retain(|one| ids.contains(&one.service_id));
        Ok(Response::new(billing::BatchGetSubscriptionsResponse { subscriptions }))
    }

    async fn list_open_subscriptions(
        &self,
        _request: Request<billing::ListOpenSubscriptionsRequest>,
    ) -> Result<Response<billing::ListOpenSubscriptionsResponse>, Status> {
        let mut subscriptions: Vec<_> = self.state().orders.values().cloned().collect();
        subscriptions.retain(is_open);
        let next_page_token = String::new();
        Ok(Response::new(billing::ListOpenSubscriptionsResponse { subscriptions, next_page_token }))
    }
}

#[async_trait]
impl EngineAccountService for World {
    async fn ensure_engine_account(
        &self,
        request: Request<storage::EnsureEngineAccountRequest>,
    ) -> Result<Response<storage::EngineAccount>, Status> {
        let request = request.into_inner();
        self.change("EnsureEngineAccount", |state| {
            crate::double_keys::ensure(state, &uid_of(&request.name), &request.keys)?;
            state.engine.insert(uid_of(&request.name), request.clone());
            Ok(storage::EngineAccount {
                name: request.name.clone(),
                location: request.location.clone(),
                endpoint: ENDPOINT.into(),
                region: "nl".into(),
            })
        })
    }

    async fn issue_engine_key(
        &self,
        request: Request<storage::IssueEngineKeyRequest>,
    ) -> Result<Response<storage::EngineKey>, Status> {
        let uid = uid_of(&request.into_inner().name);
        self.change("IssueEngineKey", |state| crate::double_keys::issue(state, &uid))
    }

    async fn remove_engine_account(
        &self,
        request: Request<storage::RemoveEngineAccountRequest>,
    ) -> Result<Response<storage::RemoveEngineAccountResponse>, Status> {
        let request = request.into_inner();
        self.change("RemoveEngineAccount", |state| {
            let uid = uid_of(&request.name);
            if !request.purge && state.buckets.values().any(|owner| *owner == uid) {
                return Err(refuse(Code::FailedPrecondition, ErrorReason::BucketNotEmpty));
            }
            state.buckets.retain(|_, owner| *owner != uid);
            state.engine.remove(&uid);
            state.issued.remove(&uid);
            Ok(storage::RemoveEngineAccountResponse {})
        })
    }

    async fn list_key_usage(
        &self,
        _: Request<storage::ListKeyUsageRequest>,
    ) -> Result<Response<storage::ListKeyUsageResponse>, Status> {
        Ok(Response::new(storage::ListKeyUsageResponse::default()))
    }

    async fn list_engine_accounts(
        &self,
        request: Request<storage::ListEngineAccountsRequest>,
    ) -> Result<Response<storage::ListEngineAccountsResponse>, Status> {
        Ok(Response::new(engine_page(&self.state(), &request.into_inner().page_token)))
    }
}

/// `7` of `plans/7`.
fn name_id(name: &str) -> i64 {
    name.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default()
}

pub(crate) fn uid_of(name: &str) -> String {
    name.split('/').nth(1).unwrap_or_default().to_owned()
}

#[async_trait]
impl BucketService for World {
    async fn create_bucket(
        &self,
        request: Request<storage::CreateBucketRequest>,
    ) -> Result<Response<storage::Bucket>, Status> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        let request = request.into_inner();
        self.change("CreateBucket", |state| {
            let uid = uid_of(&request.parent);
            if !state.engine.contains_key(&uid) {
                return Err(refuse(Code::NotFound, ErrorReason::AccountNotFound));
            }
            let owner = state.buckets.entry(request.bucket.clone()).or_insert(uid.clone());
            if *owner != uid {
                return Err(refuse(Code::AlreadyExists, ErrorReason::BucketNameTaken));
            }
            Ok(storage::Bucket { bucket: request.bucket.clone(), ..Default::default() })
        })
    }

    async fn list_buckets(
        &self,
        _request: Request<storage::ListBucketsRequest>,
    ) -> Result<Response<storage::ListBucketsResponse>, Status> {
        Err(Status::unimplemented("accounts does not call this"))
    }

    async fn set_bucket_quota(
        &self,
        _request: Request<storage::SetBucketQuotaRequest>,
    ) -> Result<Response<storage::Bucket>, Status> {
        Err(Status::unimplemented("accounts does not call this"))
    }

    async fn delete_bucket(
        &self,
        request: Request<storage::DeleteBucketRequest>,
    ) -> Result<Response<storage::DeleteBucketResponse>, Status> {
        let name = request.into_inner().name;
        self.change("DeleteBucket", |state| {
            let bucket = name.rsplit('/').next().unwrap_or_default();
            if state.buckets.get(bucket) != Some(&uid_of(&name)) {
                return Err(refuse(Code::NotFound, ErrorReason::BucketNotFound));
            }
            state.buckets.remove(bucket);
            Ok(storage::DeleteBucketResponse {})
        })
    }

    async fn check_bucket_name(
        &self,
        request: Request<storage::CheckBucketNameRequest>,
    ) -> Result<Response<storage::CheckBucketNameResponse>, Status> {
        self.check("CheckBucketName", When::Before)?;
        let request = request.into_inner();
        if request.location != LOCATION {
            return Err(refuse(Code::NotFound, ErrorReason::LocationNotFound));
        }
        if self.state().buckets.contains_key(&request.bucket) {
            return Err(refuse(Code::AlreadyExists, ErrorReason::BucketNameTaken));
        }
        let storage_types = vec!["standard".to_owned()];
        Ok(Response::new(storage::CheckBucketNameResponse {
            endpoint: ENDPOINT.into(),
            storage_types,
            issues_keys: self.state().issues_keys,
        }))
    }
}

#[async_trait]
impl UsageService for World {
    async fn sum_engine_usage(
        &self,
        request: Request<storage::SumEngineUsageRequest>,
    ) -> Result<Response<storage::SumEngineUsageResponse>, Status> {
        self.check("SumEngineUsage", When::Before)?;
        Ok(Response::new(self.engine_usage(&request.into_inner())))
    }

    async fn collect_usage(
        &self,
        request: Request<storage::CollectUsageRequest>,
    ) -> Result<Response<storage::CollectUsageResponse>, Status> {
        let uid = uid_of(&request.into_inner().name);
        self.change("CollectUsage", |state| match state.engine.contains_key(&uid) {
            true => Ok(storage::CollectUsageResponse::default()),
            false => Err(refuse(Code::NotFound, ErrorReason::AccountNotFound)),
        })
    }
}

#[async_trait]
impl MeterService for World {
    async fn open_meter(
        &self,
        request: Request<metering::OpenMeterRequest>,
    ) -> Result<Response<metering::OpenMeterResponse>, Status> {
        let dimensions = request.into_inner().dimensions.unwrap_or_default();
        self.change("OpenMeter", |state| {
            state.meters.insert(dimensions.s3uid.clone(), dimensions);
            Ok(metering::OpenMeterResponse {})
        })
    }

    async fn close_meter(
        &self,
        request: Request<metering::CloseMeterRequest>,
    ) -> Result<Response<metering::CloseMeterResponse>, Status> {
        let s3uid = request.into_inner().s3uid;
        self.change("CloseMeter", |state| {
            state.meters.remove(&s3uid);
            Ok(metering::CloseMeterResponse {})
        })
    }
}
