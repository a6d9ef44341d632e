//! Deletion of an account with everything in it. It never turns back: once the first object is
//! gone there is nothing to turn back to.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_request::{Once, Pending};
use stowage_saga::{Action, Outcome, Saga, Step, StepError, StepResult, Undo};
use stowage_types::{CustomerId, PlanId, S3uid};
use tonic::Code;
use uuid::Uuid;

use super::account::{Account, Lookup};
use super::change::TRIES;
use super::history::{Cause, Entry, Event};
use super::life::{Act, State};
use super::{Domain, Shared};
use crate::error::Error;
use crate::events;
use crate::store;

/// What a deletion knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeletionState {
    s3uid: S3uid,
    customer: CustomerId,
    plan: PlanId,
    service_id: i64,
    actor: String,
    reason: String,
    request_id: String,
    /// The request that asked for it, if it has an id: the last step answers it.
    #[serde(default)]
    pending: Option<Pending>,
    /// The state of the account before.
    #[serde(default = "active")]
    was: String,
}

/// What an account was before deletions noted it.
fn active() -> String {
    State::Active.text().to_owned()
}

impl DeletionState {
    fn cx(&self) -> RequestContext {
        RequestContext::background(self.request_id.clone())
    }

    fn entry(&self, event: Event, (from, to): (&str, State)) -> Entry {
        Entry::new(event, Cause::told(&self.actor, &self.request_id))
            .customer(self.customer)
            .account(&self.s3uid, self.plan)
            .old_state(serde_json::json!({ "state": from }))
            .new_state(serde_json::json!({ "state": to.text(), "reason": self.reason }))
    }
}

type DeletionStep = Step<Shared, DeletionState>;

const MARK_DELETING: DeletionStep = Step {
    name: "mark_deleting",
    run: Action::Write(|shared, state, tx| Box::pin(mark_deleting(shared, state, tx))),
    undo: Undo::None { because: NO_WAY_BACK },
};
const COLLECT_FINAL_USAGE: DeletionStep = Step {
    name: "collect_final_usage",
    run: Action::Call(|shared, state| Box::pin(collect(shared, state))),
    undo: Undo::None { because: NO_WAY_BACK },
};
const REMOVE_ENGINE_ACCOUNT: DeletionStep = Step {
    name: "remove_engine_account",
    run: Action::Call(|shared, state| Box::pin(remove(shared, state))),
    undo: Undo::None { because: NO_WAY_BACK },
};
const TERMINATE_SUBSCRIPTION: DeletionStep = Step {
    name: "terminate_subscription",
    run: Action::Call(|shared, state| Box::pin(terminate(shared, state))),
    undo: Undo::None { because: NO_WAY_BACK },
};
const CLOSE_METER: DeletionStep = Step {
    name: "close_meter",
    run: Action::Call(|shared, state| Box::pin(close_meter(shared, state))),
    undo: Undo::None { because: NO_WAY_BACK },
};
const MARK_DELETED: DeletionStep = Step {
    name: "mark_deleted",
    run: Action::Write(|shared, state, tx| Box::pin(mark_deleted(shared, state, tx))),
    undo: Undo::None { because: NO_WAY_BACK },
};

/// See the module.
pub(crate) struct DeleteAccount;

const NO_WAY_BACK: &str = "a deletion is not undone";

impl Saga for DeleteAccount {
    const KIND: &'static str = "accounts.delete_account.v2";
    const FORWARD_ONLY: bool = true;
    type Context = Shared;
    type State = DeletionState;
    const STEPS: &'static [DeletionStep] = &[
        MARK_DELETING,
        COLLECT_FINAL_USAGE,
        REMOVE_ENGINE_ACCOUNT,
        TERMINATE_SUBSCRIPTION,
        CLOSE_METER,
        MARK_DELETED,
    ];
}

/// As the first release had it, for those that were under way when the second came.
pub(crate) struct DeleteAccountV1;

impl Saga for DeleteAccountV1 {
    const KIND: &'static str = "accounts.delete_account.v1";
    const FORWARD_ONLY: bool = true;
    type Context = Shared;
    type State = DeletionState;
    const STEPS: &'static [DeletionStep] =
        &[MARK_DELETING, REMOVE_ENGINE_ACCOUNT, TERMINATE_SUBSCRIPTION, CLOSE_METER, MARK_DELETED];
}

async fn mark_deleting(shared: &Shared, state: &mut DeletionState, tx: &mut Tx) -> StepResult {
    if !store::account::begin_deletion(tx, &state.s3uid).await? {
        return Err(StepError::fail("ACCOUNT_STATE", "the account is not active"));
    }
    // From here on data is destroyed, whether or not the deletion ever comes to its end.
    let entry = state.entry(Event::DeletionBegun, (&state.was, State::Deleting));
    entry.write(tx, shared.clock.now()).await?;
    Ok(())
}

/// What is not billed yet must be known before it is gone.
async fn collect(shared: &Shared, state: &mut DeletionState) -> StepResult {
    match shared.roles.collect_usage(&state.cx(), &state.s3uid).await {
        // The engine has no such account: there is nothing to count.
        Err(error) if error.code == Code::NotFound => Ok(()),
        other => Ok(other?),
    }
}

async fn remove(shared: &Shared, state: &mut DeletionState) -> StepResult {
    Ok(shared.roles.remove_engine_account(&state.cx(), &state.s3uid, true).await?)
}

async fn terminate(shared: &Shared, state: &mut DeletionState) -> StepResult {
    Ok(shared.roles.terminate(&state.cx(), state.service_id).await?)
}

async fn close_meter(shared: &Shared, state: &mut DeletionState) -> StepResult {
    Ok(shared.roles.close_meter(&state.cx(), &state.s3uid).await?)
}

async fn mark_deleted(shared: &Shared, state: &mut DeletionState, tx: &mut Tx) -> StepResult {
    let (s3uid, now) = (&state.s3uid, shared.clock.now());
    store::access_key::erase(tx, s3uid).await?;
    if !store::account::set_state(tx, s3uid, State::Deleting, State::Deleted).await? {
        return Ok(());
    }
    let entry = state.entry(Event::AccountDeleted, (State::Deleting.text(), State::Deleted));
    entry.write(tx, now).await?;
    events::push_deleted(&shared.outbox, tx, s3uid, state.customer).await?;
    super::account::answer(tx, (s3uid, state.pending.as_ref()), now).await?;
    Ok(())
}

impl Domain {
    /// Deletes an account, and waits until it is gone.
    pub(crate) async fn delete_account(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        reason: String,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        for _ in 0..TRIES {
            let account = self.settled_account(cx, &lookup, Act::Delete).await?;
            let saga = match account.state {
                State::Deleted => return Ok(account),
                State::Failed | State::Pending => return Err(Error::AccountNotFound),
                State::Deleting => account.deletion_saga,
                State::Active | State::ReadOnly | State::Suspended | State::Ended => {
                    let begun = self.start_deletion(cx, &account, (reason.clone(), once.pending()));
                    let Some(saga) = begun.await? else {
                        // A twin or a change came first; readers must see it before the next look.
                        self.settle().await?;
                        continue;
                    };
                    Some(saga)
                }
            };
            let saga = saga.ok_or_else(|| Error::internal("a deletion without its saga"))?;
            return match self.wait_for(cx, saga).await? {
                Outcome::Completed => self.find_account(cx, &lookup).await,
                Outcome::Undone(failure) | Outcome::Stuck(failure) => {
                    Err(Error::internal(format!("deletion is stuck at {}", failure.step)))
                }
            };
        }
        Err(Error::AccountBusy)
    }

    /// `None`: something else of the account came first.
    async fn start_deletion(
        &self,
        cx: &RequestContext,
        account: &Account,
        (reason, pending): (String, Option<Pending>),
    ) -> Result<Option<Uuid>, Error> {
        let state = DeletionState {
            s3uid: account.s3uid.clone(),
            customer: account.customer,
            plan: account.plan,
            service_id: account.service_id,
            actor: cx.actor(),
            reason,
            request_id: cx.request_id.clone(),
            pending,
            was: account.state.text().to_owned(),
        };
        let mut tx = self.shared.db.begin().await?;
        let saga = match self.sagas.start::<DeleteAccount>(&mut tx, &state).await {
            Err(stowage_saga::Error::FirstStep(_)) => return Ok(None),
            started => started?,
        };
        store::account::set_deletion_saga(&mut tx, &account.s3uid, saga).await?;
        tx.commit().await?;
        Ok(Some(saga))
    }

    /// Begins the deletion of accounts whose data has been kept long enough; answers how many.
    pub(crate) async fn delete_kept(&self, max: i64) -> Result<usize, Error> {
        let now = self.shared.clock.now();
        let due = store::account::list_kept(&self.shared.db, now, max).await?;
        let cx = RequestContext::background("retention");
        for account in &due {
            let why = "the retention time is over".to_owned();
            match self.start_deletion(&cx, account, (why, None)).await {
                Ok(saga) => saga.into_iter().for_each(|saga| self.sagas.nudge(saga)),
                // Another process took it, or the database is away: the next round looks again.
                Err(error) => tracing::warn!(%error, "a deletion that is due could not begin"),
            }
        }
        Ok(due.len())
    }
}
