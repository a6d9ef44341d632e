//! The saga of an order: from a reserved account to an active one, or back to nothing.
//!
//! The account's s3uid is the key of every step, at billing too, so that each step finds its own
//! earlier effect whether or not an answer came.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::{Tx, next_id};
use stowage_proto::common::ErrorReason;
use stowage_request::Pending;
use stowage_saga::{Action, Saga, Step, StepError, StepResult, Undo};
use stowage_types::{Currency, CustomerId, PlanId, S3uid};

use super::Shared;
use super::access_key::{SealedKey, opened_keys};
use super::history::{Cause, Entry, Event};
use super::issued;
use super::life::State;
use crate::events;
use crate::roles::{CallError, EngineAccount, Metered, Order, Subscription};
use crate::store;

/// Name of the step whose failure is a failure of the bucket.
pub(crate) const BUCKET_STEP: &str = "create_bucket";

/// What an order knows. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OrderState {
    pub(crate) s3uid: S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) email: String,
    pub(crate) currency: Currency,
    pub(crate) plan: PlanId,
    pub(crate) plan_version: i32,
    pub(crate) location: String,
    pub(crate) storage_type: String,
    pub(crate) endpoint: String,
    /// Whether the engine makes the key.
    #[serde(default)]
    pub(crate) issues_keys: bool,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    #[serde(default = "key_max_before")]
    pub(crate) key_max: i32,
    pub(crate) gb_bytes: i64,
    pub(crate) bucket: String,
    pub(crate) billing: String,
    pub(crate) service_id: i64,
    pub(crate) order_id: i64,
    pub(crate) invoice_id: i64,
    /// Who ordered, for history.
    pub(crate) actor: String,
    /// Id of the request that ordered: every call of the saga carries it.
    pub(crate) request_id: String,
    pub(crate) guard_key: Option<String>,
    /// The request that ordered, if it has an id: the last step answers it.
    #[serde(default)]
    pub(crate) pending: Option<Pending>,
}

/// The key pairs of an account whose change or order began before plans said how many.
pub(super) fn key_max_before() -> i32 {
    2
}

impl OrderState {
    pub(super) fn cx(&self) -> RequestContext {
        RequestContext::background(self.request_id.clone())
    }

    fn learn(&mut self, subscription: Subscription) {
        self.service_id = subscription.service_id;
        self.order_id = subscription.order_id;
        self.invoice_id = subscription.invoice_id;
        self.billing = subscription.billing;
    }

    pub(super) fn entry(&self, event: Event, state: State) -> Entry {
        let summary = serde_json::json!({
            "account_id": self.account_id,
            "plan_id": self.plan,
            "location": self.location,
            "state": state.text(),
        });
        Entry::new(event, Cause::told(&self.actor, &self.request_id))
            .customer(self.customer)
            .account(&self.s3uid, self.plan)
            .new_state(summary)
    }
}

/// See the module.
pub(crate) struct CreateAccount;

impl Saga for CreateAccount {
    const KIND: &'static str = "accounts.create_account.v1";
    type Context = Shared;
    type State = OrderState;
    const STEPS: &'static [Step<Shared, OrderState>] = &[
        Step {
            name: "reserve_account",
            run: Action::Write(|shared, state, tx| Box::pin(reserve(shared, state, tx))),
            undo: Undo::Write(|shared, state, tx| Box::pin(mark_failed(shared, state, tx))),
        },
        Step {
            name: "place_order",
            run: Action::Call(|shared, state| Box::pin(place(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(undo_order(shared, state))),
        },
        Step {
            name: "create_engine_account",
            run: Action::Call(|shared, state| Box::pin(ensure_engine_account(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(remove_engine_account(shared, state))),
        },
        Step {
            name: BUCKET_STEP,
            run: Action::Call(|shared, state| Box::pin(create_bucket(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(delete_bucket(shared, state))),
        },
        Step {
            name: "open_meter",
            run: Action::Call(|shared, state| Box::pin(open_meter(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(close_meter(shared, state))),
        },
        Step {
            name: "activate_subscription",
            run: Action::Call(|shared, state| Box::pin(activate_subscription(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(undo_order(shared, state))),
        },
        Step {
            name: "activate_account",
            run: Action::Write(|shared, state, tx| Box::pin(activate(shared, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

async fn reserve(shared: &Shared, state: &mut OrderState, tx: &mut Tx) -> StepResult {
    let now = shared.clock.now();
    state.account_id = next_id(tx, "account").await?;
    store::account::insert(tx, state, state.account_id, now);
    if !state.issues_keys {
        let key = SealedKey::generate(&shared.keyring, &*shared.random, now)
            .map_err(|error| StepError::retry(error.to_string()))?;
        store::access_key::insert(tx, &state.s3uid, &key);
    }
    state.entry(Event::AccountOrdered, State::Pending).write(tx, now).await?;
    Ok(())
}

async fn mark_failed(shared: &Shared, state: &mut OrderState, tx: &mut Tx) -> StepResult {
    store::access_key::erase(tx, &state.s3uid).await?;
    if store::account::set_state(tx, &state.s3uid, State::Pending, State::Failed).await? {
        let entry = state.entry(Event::AccountFailed, State::Failed);
        entry.write(tx, shared.clock.now()).await?;
    }
    Ok(())
}

pub(super) async fn place(shared: &Shared, state: &mut OrderState) -> StepResult {
    let order = Order {
        s3uid: &state.s3uid,
        customer: state.customer,
        email: &state.email,
        currency: state.currency,
        plan: state.plan,
        plan_version: state.plan_version,
        location: &state.location,
    };
    let subscription = shared.roles.place_order(&state.cx(), &order).await?;
    state.learn(subscription);
    Ok(())
}

async fn undo_order(shared: &Shared, state: &mut OrderState) -> StepResult {
    Ok(shared.roles.undo_order(&state.cx(), &state.s3uid).await?)
}

async fn ensure_engine_account(shared: &Shared, state: &mut OrderState) -> StepResult {
    let mut keys = opened_keys(shared, &state.s3uid, |_| true).await?;
    let cx = state.cx();
    let account = |keys| EngineAccount {
        s3uid: &state.s3uid,
        customer: state.customer,
        location: &state.location,
        keys,
        quota_bytes: state.quota_bytes,
        bucket_max: state.bucket_max,
        suspended: false,
        read_only: false,
        may_delete: false,
    };
    match (keys.is_empty(), state.issues_keys) {
        (true, true) => keys.push(issued::issue(shared, &cx, &account(&[])).await?),
        (true, false) => return Err(StepError::fail("INTERNAL", "the key is gone")),
        (false, _) => {}
    }
    state.endpoint = shared.roles.ensure_engine_account(&cx, &account(&keys)).await?;
    Ok(())
}

/// Without purging: what a customer may have put there meanwhile is not ours to delete.
async fn remove_engine_account(shared: &Shared, state: &mut OrderState) -> StepResult {
    Ok(shared.roles.remove_engine_account(&state.cx(), &state.s3uid, false).await?)
}

async fn create_bucket(shared: &Shared, state: &mut OrderState) -> StepResult {
    let created = shared.roles.create_bucket(&state.cx(), &state.s3uid, &state.bucket).await;
    created.map_err(|error| {
        let why = describe_bucket_error(&error, &state.bucket);
        match StepError::from(error) {
            StepError::Fail { reason, .. } => StepError::Fail { reason, why },
            retry @ StepError::Retry { .. } => retry,
        }
    })
}

/// Why a bucket could not be made, in words for customers.
pub(crate) fn describe_bucket_error(error: &CallError, bucket: &str) -> String {
    match error.reason {
        ErrorReason::BucketNameTaken => format!("bucket name {bucket:?} is taken"),
        ErrorReason::BucketLimit => "the plan allows no more buckets".to_owned(),
        ErrorReason::QuotaExceeded => "the quota is used up".to_owned(),
        ErrorReason::InvalidField => format!("bucket name {bucket:?} is not allowed"),
        _ => "the storage refused it".to_owned(),
    }
}

async fn delete_bucket(shared: &Shared, state: &mut OrderState) -> StepResult {
    Ok(shared.roles.delete_bucket(&state.cx(), &state.s3uid, &state.bucket).await?)
}

pub(super) async fn open_meter(shared: &Shared, state: &mut OrderState) -> StepResult {
    let metered = Metered {
        s3uid: &state.s3uid,
        account_id: state.account_id,
        customer: state.customer,
        email: &state.email,
        plan: state.plan,
        location: &state.location,
        storage_type: &state.storage_type,
        billing: &state.billing,
        gb_bytes: state.gb_bytes,
    };
    Ok(shared.roles.open_meter(&state.cx(), &metered).await?)
}

async fn close_meter(shared: &Shared, state: &mut OrderState) -> StepResult {
    Ok(shared.roles.close_meter(&state.cx(), &state.s3uid).await?)
}

pub(super) async fn activate_subscription(shared: &Shared, state: &mut OrderState) -> StepResult {
    let active = shared.roles.activate_subscription(&state.cx(), &state.s3uid).await?;
    state.learn(active);
    Ok(())
}

async fn activate(shared: &Shared, state: &mut OrderState, tx: &mut Tx) -> StepResult {
    let now = shared.clock.now();
    if !store::account::activate(tx, state, now).await? {
        return Err(StepError::fail("ACCOUNT_STATE", "the account is not pending any more"));
    }
    state.entry(Event::AccountActivated, State::Active).write(tx, now).await?;
    let of = (state.customer, state.plan);
    events::push_activated(&shared.outbox, tx, &state.s3uid, of).await?;
    super::account::answer(tx, (&state.s3uid, state.pending.as_ref()), now).await?;
    Ok(())
}
