//! The saga of an adoption: from a reserved account to an active one, and never back.
//!
//! What was on the engine before is somebody's; nothing here removes any of it, so there is nothing
//! that an undo could do. All that can be known to fail is asked before it begins; what fails all
//! the same leaves it stuck, until the cause is mended and it is tried again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stowage_db::{Tx, next_id};
use stowage_saga::{Action, Saga, Step, StepError, StepResult, Undo};

use super::Shared;
use super::access_key::SealedKey;
use super::history::Event;
use super::life::State;
use super::order_saga::{self, OrderState};
use crate::events;
use crate::store;

/// What an adoption knows. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AdoptionState {
    /// The account as an order would have it. Its bounds are those that were found.
    pub(crate) order: OrderState,
    /// What the engine calls it.
    pub(crate) foreign: String,
}

impl AdoptionState {
    /// What tells it from all others at all locations.
    pub(crate) fn adopted_from(location: &str, foreign: &str) -> String {
        format!("{location}/{foreign}")
    }
}

/// See the module.
pub(crate) struct AdoptAccount;

const NO_WAY_BACK: &str = "what was there before the account is never removed";

impl Saga for AdoptAccount {
    const KIND: &'static str = "accounts.adopt_account.v1";
    const FORWARD_ONLY: bool = true;
    type Context = Shared;
    type State = AdoptionState;
    const STEPS: &'static [Step<Shared, AdoptionState>] = &[
        Step {
            name: "reserve_account",
            run: Action::Write(|shared, state, tx| Box::pin(reserve(shared, state, tx))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "adopt_engine_account",
            run: Action::Call(|shared, state| Box::pin(adopt(shared, state))),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "place_order",
            run: Action::Call(|shared, state| {
                Box::pin(order_saga::place(shared, &mut state.order))
            }),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "open_meter",
            run: Action::Call(|shared, state| {
                Box::pin(order_saga::open_meter(shared, &mut state.order))
            }),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "activate_subscription",
            run: Action::Call(|shared, state| {
                Box::pin(order_saga::activate_subscription(shared, &mut state.order))
            }),
            undo: Undo::None { because: NO_WAY_BACK },
        },
        Step {
            name: "activate_account",
            run: Action::Write(|shared, state, tx| Box::pin(activate(shared, state, tx))),
            undo: Undo::None { because: "it is the last step, and one write" },
        },
    ];
}

async fn reserve(shared: &Shared, state: &mut AdoptionState, tx: &mut Tx) -> StepResult {
    let now = shared.clock.now();
    let AdoptionState { order, foreign } = state;
    order.account_id = next_id(tx, "account").await?;
    store::account::insert(tx, order, order.account_id, now);
    let from = AdoptionState::adopted_from(&order.location, foreign);
    store::account::set_adopted_from(tx, &order.s3uid, &from);
    order.entry(Event::AdoptionBegun, State::Pending).write(tx, now).await?;
    Ok(())
}

/// Its keys are written down at once: a saga's state holds no secret.
async fn adopt(shared: &Shared, state: &mut AdoptionState) -> StepResult {
    let AdoptionState { order, foreign } = state;
    let whose = (&order.s3uid, order.customer);
    let from = (order.location.as_str(), foreign.as_str());
    let adopted = shared.roles.adopt_engine_account(&order.cx(), whose, from).await?;
    order.endpoint = adopted.endpoint;
    (order.quota_bytes, order.bucket_max) = (adopted.quota_bytes, adopted.bucket_max);
    let now = shared.clock.now();
    let mut tx = shared.db.begin().await?;
    let known = store::access_key::list(&mut tx, &order.s3uid).await?;
    let known: BTreeSet<_> = known.into_iter().map(|key| key.access_key).collect();
    for key in adopted.keys.iter().filter(|key| !known.contains(&key.access_key)) {
        let sealed = SealedKey::seal(key, &shared.keyring, now);
        let sealed = sealed.map_err(|error| StepError::retry(error.to_string()))?;
        store::access_key::insert(&mut tx, &order.s3uid, &sealed);
    }
    let bounds = (order.quota_bytes, order.bucket_max);
    store::account::set_bounds(&mut tx, &order.s3uid, bounds);
    tx.commit().await?;
    Ok(())
}

async fn activate(shared: &Shared, state: &mut AdoptionState, tx: &mut Tx) -> StepResult {
    let (order, now) = (&state.order, shared.clock.now());
    if !store::account::activate(tx, order, now).await? {
        return Err(StepError::fail("ACCOUNT_STATE", "the account is not pending any more"));
    }
    order.entry(Event::AccountAdopted, State::Active).write(tx, now).await?;
    let of = (order.customer, order.plan);
    events::push_activated(&shared.outbox, tx, &order.s3uid, of).await?;
    super::account::answer(tx, (&order.s3uid, order.pending.as_ref()), now).await?;
    Ok(())
}
