//! The sagas of a move: how it begins, and how it goes on where accounts has a say: the switch, its
//! confirmation, its end before that.
//!
//! Storage moves the data and knows how far it is; here is written where the account is and what it
//! is called by. Each runs under the lock of a change of the account, so that its keys and limits
//! are the same at both sides. A beginning that is refused turns back; the rest only goes forward.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_proto::accounts as pb;
use stowage_request::Pending;
use stowage_saga::{Action, Saga, Step, StepError, StepResult, Undo};
use stowage_types::name;
use uuid::Uuid;

use super::Shared;
use super::access_key::opened_keys;
use super::account::Account;
use super::change_saga::{ChangeState, metered_of};
use super::history::{Cause, Entry, Event};
use crate::roles::Switched;
use crate::store;

/// What is done about a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Start,
    Switch,
    Confirm,
    Cancel,
}

/// What it knows. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MoveState {
    pub(crate) what: What,
    pub(crate) id: Uuid,
    /// Code of the location that the account goes to.
    pub(crate) to: String,
    /// The account as it is, and the request that asked.
    pub(crate) change: ChangeState,
    /// Endpoint of the new location, once it is switched.
    pub(crate) endpoint: String,
}

impl What {
    fn event(self) -> Event {
        match self {
            Self::Start => Event::MoveBegun,
            Self::Switch => Event::AccountMoved,
            Self::Confirm => Event::MoveConfirmed,
            Self::Cancel => Event::MoveCancelled,
        }
    }
}

impl MoveState {
    fn cx(&self) -> RequestContext {
        RequestContext::background(self.change.request_id.clone())
    }

    fn name(&self) -> String {
        name::account_move(&self.change.s3uid, self.id)
    }
}

/// See the module.
pub(crate) struct StartMove;

impl Saga for StartMove {
    const KIND: &'static str = "accounts.start_move.v1";
    type Context = Shared;
    type State = MoveState;
    const STEPS: &'static [Step<Shared, MoveState>] = &[
        Step {
            name: "admit_move",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::Write(|_, state, tx| Box::pin(release(state, tx))),
        },
        Step {
            name: "start_copy",
            run: Action::Call(|shared, state| Box::pin(start(shared, state))),
            undo: Undo::Call(|shared, state| Box::pin(cancel(shared, state))),
        },
        Step {
            name: "note_move",
            run: Action::Write(|shared, state, tx| Box::pin(note(shared, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

/// See the module.
pub(crate) struct GoOnMove;

const NO_WAY_BACK: &str = "what is switched, deleted or given up does not come back";

impl Saga for GoOnMove {
    const KIND: &'static str = "accounts.go_on_move.v1";
    const FORWARD_ONLY: bool = true;
    type Context = Shared;
    type State = MoveState;
    const STEPS: &'static [Step<Shared, MoveState>] = &[
        Step {
            name: "admit_move",
            run: Action::Write(|_, state, tx| Box::pin(admit(state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "change_storage",
            run: Action::Call(|shared, state| Box::pin(change_storage(shared, state))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "change_meter",
            run: Action::Call(|shared, state| Box::pin(change_meter(shared, state))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "note_move",
            run: Action::Write(|shared, state, tx| Box::pin(note(shared, state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
    ];
}

/// Begins only where the account still is what it was when it was looked at.
async fn admit(state: &mut MoveState, tx: &mut Tx) -> StepResult {
    let (s3uid, overtaken) = (&state.change.s3uid, "the account has changed meanwhile");
    let admitted = match state.what {
        What::Start => store::account_move::begin(tx, s3uid, (state.id, &state.to)).await?,
        what => {
            let found = store::account::find(&mut *tx, s3uid, None).await?;
            let is_meant = |account: &Account| {
                account.move_id == Some(state.id)
                    && account.move_to.is_none() == (what == What::Confirm)
            };
            found.as_ref().is_some_and(is_meant)
        }
    };
    if admitted { Ok(()) } else { Err(StepError::fail("ACCOUNT_STATE", overtaken)) }
}

async fn release(state: &mut MoveState, tx: &mut Tx) -> StepResult {
    let s3uid = &state.change.s3uid;
    store::account_move::end(tx, s3uid, state.id).await?;
    Ok(store::account::end_change(tx, s3uid).await?)
}

async fn start(shared: &Shared, state: &mut MoveState) -> StepResult {
    let keys = opened_keys(shared, &state.change.s3uid, |_| true).await?;
    shared.roles.start_move(&state.cx(), (&state.name(), &state.to), &keys, false).await?;
    Ok(())
}

async fn cancel(shared: &Shared, state: &mut MoveState) -> StepResult {
    Ok(shared.roles.cancel_move(&state.cx(), &state.name()).await?)
}

async fn change_storage(shared: &Shared, state: &mut MoveState) -> StepResult {
    let (cx, name) = (state.cx(), state.name());
    match state.what {
        What::Confirm => Ok(shared.roles.confirm_move(&cx, &name).await?),
        What::Cancel => Ok(shared.roles.cancel_move(&cx, &name).await?),
        What::Start | What::Switch => {
            let shape = &state.change.before;
            let switched = Switched {
                name: &name,
                keys: &opened_keys(shared, &state.change.s3uid, |_| true).await?,
                quota_bytes: shape.quota_bytes,
                bucket_max: shape.bucket_max,
                suspended: shape.hold.suspends(),
                read_only: shape.is_read_only(),
                may_delete: shape.may_delete(),
            };
            state.endpoint = shared.roles.switch_move(&cx, &switched).await?;
            Ok(())
        }
    }
}

/// The account is metered where it is, and its figures there are told at once: what it stored
/// between its opening and the switch was not.
async fn change_meter(shared: &Shared, state: &mut MoveState) -> StepResult {
    if state.what != What::Switch {
        return Ok(());
    }
    let cx = state.cx();
    let mut metered = metered_of(&state.change, &state.change.before);
    metered.location = &state.to;
    shared.roles.open_meter(&cx, &metered).await?;
    Ok(shared.roles.collect_usage(&cx, &state.change.s3uid).await?)
}

async fn note(shared: &Shared, state: &mut MoveState, tx: &mut Tx) -> StepResult {
    let (change, now) = (&state.change, shared.clock.now());
    let (s3uid, id) = (&change.s3uid, state.id);
    match state.what {
        What::Start => {}
        What::Switch => {
            let there = (state.to.as_str(), state.endpoint.as_str());
            if !store::account_move::switch(tx, (s3uid, id), there).await? {
                return Err(StepError::retry("the account is not moved any more"));
            }
        }
        What::Confirm | What::Cancel => store::account_move::end(tx, s3uid, id).await?,
    }
    store::account::end_change(tx, s3uid).await?;
    Entry::new(state.what.event(), Cause::told(&change.actor, &change.request_id))
        .customer(change.customer)
        .account(s3uid, change.before.plan)
        .old_state(serde_json::json!({ "location": change.location }))
        .new_state(serde_json::json!({ "location": state.to, "move": id.to_string() }))
        .write(tx, now)
        .await?;
    answer(state, change.pending.as_ref(), tx, now).await
}

/// The messages differ in their names only.
async fn answer(
    state: &MoveState,
    pending: Option<&Pending>,
    tx: &mut Tx,
    now: time::OffsetDateTime,
) -> StepResult {
    let Some(pending) = pending else { return Ok(()) };
    let name = state.name();
    Ok(match state.what {
        What::Start => pending.answer(tx, &pb::MoveAccountResponse { r#move: name }, now).await,
        What::Confirm => {
            pending.answer(tx, &pb::ConfirmAccountMoveResponse { r#move: name }, now).await
        }
        What::Cancel => {
            pending.answer(tx, &pb::CancelAccountMoveResponse { r#move: name }, now).await
        }
        // Nobody asks for it: it is done when it can be.
        What::Switch => Ok(()),
    }?)
}
