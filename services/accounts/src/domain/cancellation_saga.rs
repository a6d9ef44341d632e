//! The saga of a cancellation at the end of the period, and of its withdrawal.
//!
//! Billing decides the date and keeps it; the account carries a copy, written in the last step with
//! the entry of history and the answer.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_request::Pending;
use stowage_saga::{Action, Saga, Step, StepError, StepResult, Undo};
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;

use super::Shared;
use super::account::Account;
use super::history::{Cause, Entry, Event};
use super::life::Act;
use crate::store;

/// What a cancellation or its withdrawal knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CancellationState {
    pub(crate) s3uid: S3uid,
    pub(crate) customer: CustomerId,
    pub(crate) plan: PlanId,
    pub(crate) service_id: i64,
    /// Whether it schedules an end where there is none, or withdraws the one that there is.
    pub(crate) schedules: bool,
    /// The end that billing has scheduled; absent before it is asked.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) cancel_time: Option<OffsetDateTime>,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) request_id: String,
    pub(crate) pending: Option<Pending>,
}

impl CancellationState {
    pub(crate) fn act(&self) -> Act {
        match self.schedules {
            true => Act::ScheduleCancellation,
            false => Act::WithdrawCancellation,
        }
    }

    fn cx(&self) -> RequestContext {
        RequestContext::background(self.request_id.clone())
    }
}

/// See the module.
pub(crate) struct ChangeCancellation;

impl Saga for ChangeCancellation {
    const KIND: &'static str = "accounts.change_cancellation.v1";
    type Context = Shared;
    type State = CancellationState;
    const STEPS: &'static [Step<Shared, CancellationState>] = &[
        Step {
            name: "admit_cancellation",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::Write(|_, state, tx| Box::pin(release(state, tx))),
        },
        Step {
            name: "change_scheduled_end",
            run: Action::Call(|shared, state| Box::pin(ask_billing(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(ask_back(shared, state))),
        },
        Step {
            name: "note_cancellation",
            run: Action::Write(|shared, state, tx| Box::pin(note(shared, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

/// Begins only where the account still is what it was when it was looked at.
async fn admit(state: &mut CancellationState, tx: &mut Tx) -> StepResult {
    let found = store::account::find(&mut *tx, &state.s3uid, None).await?;
    let is_same = |account: Account| {
        account.allow(state.act()).is_ok() && account.cancel_time.is_some() != state.schedules
    };
    if found.is_some_and(is_same) {
        return Ok(());
    }
    Err(StepError::fail("ACCOUNT_STATE", "the account has changed meanwhile"))
}

async fn release(state: &mut CancellationState, tx: &mut Tx) -> StepResult {
    Ok(store::account::end_change(tx, &state.s3uid).await?)
}

/// Asking again answers the same: billing keeps a date that it has scheduled.
async fn ask_billing(shared: &Shared, state: &mut CancellationState) -> StepResult {
    state.cancel_time = set_end(shared, state, state.schedules).await?;
    Ok(())
}

/// A date that was there is scheduled anew, if it went: billing finds the same end of the period.
async fn ask_back(shared: &Shared, state: &mut CancellationState) -> StepResult {
    set_end(shared, state, !state.schedules).await.map(|_| ())
}

async fn set_end(
    shared: &Shared,
    state: &CancellationState,
    schedules: bool,
) -> Result<Option<OffsetDateTime>, StepError> {
    let (cx, service_id) = (state.cx(), state.service_id);
    if !schedules {
        shared.roles.withdraw_cancellation(&cx, service_id).await?;
        return Ok(None);
    }
    let scheduled = shared.roles.schedule_cancellation(&cx, service_id).await?;
    match scheduled.cancel_time {
        None => Err(StepError::fail("INTERNAL", "billing scheduled no date")),
        time => Ok(time),
    }
}

async fn note(shared: &Shared, state: &mut CancellationState, tx: &mut Tx) -> StepResult {
    let now = shared.clock.now();
    let account = store::account::find(&mut *tx, &state.s3uid, None).await?;
    let mut account = account.ok_or_else(|| StepError::retry("the account is not there"))?;
    let before = account.summary();
    account.cancel_time = state.cancel_time;
    let mut after = account.summary();
    if !state.reason.is_empty() {
        after["reason"] = state.reason.clone().into();
    }
    let event = match state.schedules {
        true => Event::CancellationScheduled,
        false => Event::CancellationWithdrawn,
    };
    if store::account::set_cancel_time(tx, &state.s3uid, state.cancel_time).await? {
        Entry::new(event, Cause::told(&state.actor, &state.request_id))
            .customer(state.customer)
            .account(&state.s3uid, state.plan)
            .old_state(before)
            .new_state(after)
            .write(tx, now)
            .await?;
    }
    store::account::end_change(tx, &state.s3uid).await?;
    Ok(super::account::answer(tx, (&state.s3uid, state.pending.as_ref()), now).await?)
}
