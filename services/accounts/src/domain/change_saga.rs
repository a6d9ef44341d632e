//! The saga of a change: of plan, keys, or what holds the account.
//!
//! It knows what the account was and what it is to be, and each step makes one part of the
//! installation be so, or be as before: run twice, it does nothing new. The row of the account is
//! written last, so that it never says what is not true yet.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_proto::accounts as pb;
use stowage_request::Pending;
use stowage_saga::{Action, Saga, Step, StepError, StepResult, Undo};
use stowage_types::{CustomerId, PlanId, S3uid, timestamp};
use time::OffsetDateTime;

use super::Shared;
use super::access_key::opened_keys;
use super::account::Account;
use super::cap::{Cap, Capped};
use super::dunning::Dunned;
use super::history::{Cause, Entry, Event};
use super::issued;
use super::life::Hold;
use super::order_saga::key_max_before;
use crate::roles::{EngineAccount, EngineKey, Metered};
use crate::store;

/// What an account is, as far as it can be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) plan: PlanId,
    pub(crate) plan_version: i32,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    #[serde(default = "key_max_before")]
    pub(crate) key_max: i32,
    pub(crate) gb_bytes: i64,
    pub(crate) hold: Hold,
    /// Ids of the key pairs that work.
    pub(crate) keys: Vec<String>,
    /// When its subscription ends, since an invoice is unpaid to the last.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(crate) unpaid_end_time: Option<OffsetDateTime>,
    /// What billing said last of its unpaid invoices.
    #[serde(default)]
    pub(crate) dunned: Dunned,
    /// What metering said last of its caps.
    #[serde(default)]
    pub(crate) capped: Capped,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Suspend,
    Resume,
    /// Reading is left, since an invoice is unpaid.
    KeepReading,
    /// It is suspended, and its end is scheduled, since an invoice is unpaid to the last.
    ScheduleEnd,
    /// That end is withdrawn; what holds the account stays.
    WithdrawEnd,
    /// Reading is left, since it has come to a cap of its plan.
    Cap,
    /// It is below its caps again.
    Uncap,
    ChangePlan,
    RotateKey,
    RevokeKey,
    End,
    /// Nothing: its parts are made to agree again.
    Mend,
}

/// What a change knows. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChangeState {
    pub(crate) s3uid: S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) email: String,
    pub(crate) location: String,
    pub(crate) storage_type: String,
    pub(crate) billing: String,
    pub(crate) service_id: i64,
    pub(crate) what: What,
    pub(crate) before: Shape,
    pub(crate) after: Shape,
    /// Whether the engine makes the new pair: then it is not in `after` before it is made.
    #[serde(default)]
    pub(crate) issues_key: bool,
    /// When the pairs of before are revoked by themselves, where a new one is made.
    #[serde(with = "time::serde::timestamp::option")]
    pub(crate) retire_time: Option<OffsetDateTime>,
    /// How long the data of an ended account is kept, in seconds.
    pub(crate) retention_seconds: i64,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) request_id: String,
    /// What billing knows a change of plan by, so that an undo takes back this one. Empty: one that
    /// began before there was a key.
    #[serde(default)]
    pub(crate) change_key: String,
    pub(crate) pending: Option<Pending>,
}

impl Shape {
    pub(crate) fn of(account: &Account, keys: Vec<String>) -> Self {
        Self {
            plan: account.plan,
            plan_version: account.plan_version,
            quota_bytes: account.quota_bytes,
            bucket_max: account.bucket_max,
            key_max: account.key_max,
            gb_bytes: account.gb_bytes,
            hold: account.hold,
            keys,
            unpaid_end_time: account.unpaid_end_time,
            dunned: account.dunned,
            capped: account.capped,
        }
    }

    /// Whether the engine refuses requests that would change something, and no others.
    pub(crate) fn is_read_only(&self) -> bool {
        is_read_only(self.hold, self.capped)
    }

    /// Whether its customer may delete all the same: who is at a cap, and owes nothing.
    pub(crate) fn may_delete(&self) -> bool {
        self.capped.cap.is_some() && self.hold == Hold::Nothing
    }

    fn has_plan_of(&self, other: &Self) -> bool {
        (self.plan, self.plan_version) == (other.plan, other.plan_version)
    }

    fn summary(&self) -> serde_json::Value {
        let mut summary = serde_json::json!({
            "plan_id": self.plan,
            "plan_version": self.plan_version,
            "quota_bytes": self.quota_bytes,
            "bucket_max": self.bucket_max,
            "key_max": self.key_max,
            "hold": self.hold.text(),
            "access_keys": self.keys,
        });
        if self.capped.cap.is_some() {
            summary["cap"] = Cap::text(self.capped.cap).into();
        }
        if let Some(time) = self.unpaid_end_time {
            summary["unpaid_end_time"] = time.date().to_string().into();
        }
        summary
    }
}

/// Whether an account that is held so, and has come to that cap, can only be read.
pub(crate) fn is_read_only(hold: Hold, capped: Capped) -> bool {
    hold.is_read_only() || (capped.cap.is_some() && !hold.suspends())
}

impl What {
    fn event(self) -> Event {
        match self {
            Self::Suspend => Event::AccountSuspended,
            Self::Resume => Event::AccountResumed,
            Self::KeepReading => Event::AccountReadOnly,
            Self::ScheduleEnd => Event::AccountEndScheduled,
            Self::WithdrawEnd => Event::AccountEndWithdrawn,
            Self::Cap => Event::AccountCapped,
            Self::Uncap => Event::AccountUncapped,
            Self::ChangePlan => Event::AccountPlanChanged,
            Self::RotateKey => Event::KeyRotated,
            Self::RevokeKey => Event::KeyRevoked,
            Self::End => Event::AccountEnded,
            Self::Mend => Event::AccountMended,
        }
    }
}

impl ChangeState {
    fn cx(&self) -> RequestContext {
        RequestContext::background(self.request_id.clone())
    }

    /// Whether nothing is to be done about the plan.
    fn is_plan_kept(&self) -> bool {
        self.what != What::Mend && self.before.has_plan_of(&self.after)
    }

    /// Pairs that the account did not have before.
    pub(crate) fn new_keys(&self) -> impl Iterator<Item = &str> {
        Self::keys_but(&self.after, &self.before)
    }

    /// Pairs that only one of the two has.
    fn keys_but<'a>(some: &'a Shape, others: &'a Shape) -> impl Iterator<Item = &'a str> {
        let is_other = |key: &&String| !others.keys.contains(*key);
        some.keys.iter().filter(is_other).map(String::as_str)
    }
}

/// See the module.
pub(crate) struct ChangeAccount;

impl Saga for ChangeAccount {
    const KIND: &'static str = "accounts.change_account.v1";
    type Context = Shared;
    type State = ChangeState;
    const STEPS: &'static [Step<Shared, ChangeState>] = &[
        Step {
            name: "admit_change",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::Write(|_, state, tx| Box::pin(release(state, tx))),
        },
        Step {
            name: "change_subscription",
            run: Action::Call(|shared, state| {
                Box::pin(change_subscription(shared, state, |state| &state.after))
            }),
            undo: Undo::Call(|shared, state| {
                Box::pin(change_subscription(shared, state, |state| &state.before))
            }),
        },
        Step {
            name: "change_engine_account",
            run: Action::Call(|shared, state| Box::pin(change_engine_to_after(shared, state))),
            undo: Undo::Call(|shared, state| {
                Box::pin(change_engine(shared, state, |state| &state.before))
            }),
        },
        Step {
            name: "change_meter",
            run: Action::Call(|shared, state| {
                Box::pin(change_meter(shared, state, |state| &state.after))
            }),
            undo: Undo::Call(|shared, state| {
                Box::pin(change_meter(shared, state, |state| &state.before))
            }),
        },
        Step {
            name: "note_change",
            run: Action::Write(|shared, state, tx| Box::pin(note(shared, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

/// The end of a subscription: what it paid for is closed, and its data waits to be deleted.
pub(crate) struct EndAccount;

const NO_WAY_BACK: &str = "a subscription that has ended does not begin again";

impl Saga for EndAccount {
    const KIND: &'static str = "accounts.end_account.v1";
    const FORWARD_ONLY: bool = true;
    type Context = Shared;
    type State = ChangeState;
    const STEPS: &'static [Step<Shared, ChangeState>] = &[
        Step {
            name: "admit_end",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "suspend_engine_account",
            run: Action::Call(|shared, state| {
                Box::pin(change_engine(shared, state, |state| &state.after))
            }),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "terminate_subscription",
            run: Action::Call(|shared, state| Box::pin(terminate(shared, state))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "note_end",
            run: Action::Write(|shared, state, tx| Box::pin(note(shared, state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
    ];
}

/// Begins only where the account still is what the change was made for.
async fn admit(state: &mut ChangeState, tx: &mut Tx) -> StepResult {
    let found = store::account::find(&mut *tx, &state.s3uid, None).await?;
    let is_same = |account: Account| {
        // Where it is has changed too, if it was moved.
        account.location == state.location
            && !account.is_frozen
            && Shape::of(&account, state.before.keys.clone()) == state.before
    };
    if found.is_some_and(is_same) {
        return Ok(());
    }
    Err(StepError::fail("ACCOUNT_STATE", "the account has changed meanwhile"))
}

async fn release(state: &mut ChangeState, tx: &mut Tx) -> StepResult {
    // What the engine has made may be known to the table alone.
    if state.issues_key {
        let listed = store::access_key::list(&mut *tx, &state.s3uid).await?;
        for key in listed.iter().filter(|key| !state.before.keys.contains(&key.access_key)) {
            store::access_key::erase_one(tx, &key.access_key).await?;
        }
    }
    for key in state.new_keys() {
        store::access_key::erase_one(tx, key).await?;
    }
    Ok(store::account::end_change(tx, &state.s3uid).await?)
}

async fn change_subscription(
    shared: &Shared,
    state: &ChangeState,
    shape: fn(&ChangeState) -> &Shape,
) -> StepResult {
    // What has ended is not billed any more.
    if state.is_plan_kept() || state.after.hold == Hold::Ended {
        return Ok(());
    }
    let to = (shape(state).plan, shape(state).plan_version);
    let to = (state.change_key.as_str(), to);
    Ok(shared.roles.change_plan(&state.cx(), state.service_id, to).await?)
}

/// Has the new pair made first, where the engine makes it.
async fn change_engine_to_after(shared: &Shared, state: &mut ChangeState) -> StepResult {
    if state.issues_key && state.new_keys().next().is_none() {
        let listed = store::access_key::list(&shared.db, &state.s3uid).await?;
        // One that an attempt before this one has written down.
        let mut listed = listed.into_iter().map(|key| key.access_key);
        let written = listed.find(|key| !state.before.keys.contains(key));
        let access_key = match written {
            Some(access_key) => access_key,
            None => {
                let had = |key: &String| state.before.keys.contains(key);
                let keys = opened_keys(shared, &state.s3uid, had).await?;
                let known = engine_account(state, &state.before, &keys);
                issued::issue(shared, &state.cx(), &known).await?.access_key
            }
        };
        state.after.keys.push(access_key);
    }
    change_engine(shared, state, |state| &state.after).await
}

async fn change_engine(
    shared: &Shared,
    state: &ChangeState,
    shape: fn(&ChangeState) -> &Shape,
) -> StepResult {
    let shape = shape(state);
    let keys = opened_keys(shared, &state.s3uid, |key| shape.keys.contains(key)).await?;
    let account = engine_account(state, shape, &keys);
    shared.roles.ensure_engine_account(&state.cx(), &account).await?;
    Ok(())
}

fn engine_account<'a>(
    state: &'a ChangeState,
    shape: &Shape,
    keys: &'a [EngineKey],
) -> EngineAccount<'a> {
    EngineAccount {
        s3uid: &state.s3uid,
        customer: state.customer,
        location: &state.location,
        keys,
        quota_bytes: shape.quota_bytes,
        bucket_max: shape.bucket_max,
        suspended: shape.hold.suspends(),
        read_only: shape.is_read_only(),
        may_delete: shape.may_delete(),
    }
}

async fn change_meter(
    shared: &Shared,
    state: &ChangeState,
    shape: fn(&ChangeState) -> &Shape,
) -> StepResult {
    if state.is_plan_kept() {
        return Ok(());
    }
    Ok(shared.roles.open_meter(&state.cx(), &metered_of(state, shape(state))).await?)
}

/// What metering is told of an account.
pub(super) fn metered_of<'a>(state: &'a ChangeState, shape: &Shape) -> Metered<'a> {
    Metered {
        s3uid: &state.s3uid,
        account_id: state.account_id,
        customer: state.customer,
        email: &state.email,
        plan: shape.plan,
        location: &state.location,
        storage_type: &state.storage_type,
        billing: &state.billing,
        gb_bytes: shape.gb_bytes,
    }
}

async fn terminate(shared: &Shared, state: &mut ChangeState) -> StepResult {
    Ok(shared.roles.terminate(&state.cx(), state.service_id).await?)
}

async fn note(shared: &Shared, state: &mut ChangeState, tx: &mut Tx) -> StepResult {
    let now = shared.clock.now();
    let retention = time::Duration::seconds(state.retention_seconds);
    // An account that has ended already keeps its time.
    let is_new = state.before.hold != Hold::Ended && state.after.hold == Hold::Ended;
    let delete_time = is_new.then(|| now + retention);
    if !store::account::change(tx, &state.s3uid, &state.after, delete_time).await? {
        return Err(StepError::fail("ACCOUNT_STATE", "the account is not active any more"));
    }
    note_keys(state, tx, now).await?;
    let mut after = state.after.summary();
    if !state.reason.is_empty() {
        after["reason"] = state.reason.clone().into();
    }
    Entry::new(state.what.event(), Cause::told(&state.actor, &state.request_id))
        .customer(state.customer)
        .account(&state.s3uid, state.after.plan)
        .old_state(state.before.summary())
        .new_state(after)
        .write(tx, now)
        .await?;
    answer(state, tx, now).await
}

async fn note_keys(state: &ChangeState, tx: &mut Tx, now: OffsetDateTime) -> StepResult {
    if let Some(time) = state.retire_time {
        for key in &state.before.keys {
            store::access_key::retire(tx, key, time).await?;
        }
    }
    for key in ChangeState::keys_but(&state.before, &state.after) {
        store::access_key::set_revoke_time(tx, key, Some(now)).await?;
        store::access_key::erase_one(tx, key).await?;
    }
    // The last pair of an account is not revoked by itself.
    if let (What::RevokeKey, [last]) = (state.what, state.after.keys.as_slice()) {
        store::access_key::set_revoke_time(tx, last, None).await?;
    }
    Ok(())
}

/// Answers the request that asked for the change. One that reads a secret answers by itself.
async fn answer(state: &ChangeState, tx: &mut Tx, now: OffsetDateTime) -> StepResult {
    let revoked = ChangeState::keys_but(&state.before, &state.after).next();
    match (&state.pending, revoked) {
        (Some(pending), Some(key)) if state.what == What::RevokeKey => {
            let access_key = key.to_owned();
            let revoke_time = Some(timestamp(now));
            let message = pb::AccessKey { access_key, revoke_time, ..Default::default() };
            Ok(pending.answer(tx, &message, now).await?)
        }
        (pending, _) => {
            Ok(super::account::answer(tx, (&state.s3uid, pending.as_ref()), now).await?)
        }
    }
}
