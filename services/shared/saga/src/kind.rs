//! A kind of saga without its types, so that one engine drives them all.

use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use stowage_db::Tx;

use crate::matrix::{self, Case};
use crate::{Action, Saga, StepError, Undo};

/// Which way a saga goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From step to step.
    Forward,
    /// Back to the first.
    Undoing,
}

/// Where an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Call,
    Write,
    Nothing,
}

pub(crate) trait Kind<C>: Send + Sync {
    fn name(&self) -> &'static str;
    fn is_forward_only(&self) -> bool;
    fn step_count(&self) -> usize;
    fn step_name(&self, step: usize) -> &'static str;
    fn mode(&self, step: usize, direction: Direction) -> Mode;
    /// See [`matrix::cases`].
    fn cases(&self) -> Vec<Case>;
    /// Acts on `state` and answers the state after it. `tx` is given for [`Mode::Write`].
    fn act<'a>(
        &self,
        at: (usize, Direction),
        context: &'a C,
        state: &'a str,
        tx: Option<&'a mut Tx>,
    ) -> BoxFuture<'a, Result<String, StepError>>;
}

pub(crate) struct Of<K>(PhantomData<fn() -> K>);

pub(crate) fn kind_of<K: Saga>() -> Arc<dyn Kind<K::Context>> {
    Arc::new(Of::<K>(PhantomData))
}

impl<K: Saga> Kind<K::Context> for Of<K> {
    fn name(&self) -> &'static str {
        K::KIND
    }

    fn is_forward_only(&self) -> bool {
        K::FORWARD_ONLY
    }

    fn step_count(&self) -> usize {
        K::STEPS.len()
    }

    fn step_name(&self, step: usize) -> &'static str {
        K::STEPS.get(step).map_or("?", |step| step.name)
    }

    fn mode(&self, step: usize, direction: Direction) -> Mode {
        let Some(step) = K::STEPS.get(step) else { return Mode::Nothing };
        match (direction, &step.run, &step.undo) {
            (Direction::Forward, Action::Call(_), _) => Mode::Call,
            (Direction::Forward, Action::Write(_), _) => Mode::Write,
            (Direction::Undoing, _, Undo::Call(_)) => Mode::Call,
            (Direction::Undoing, _, Undo::Write(_)) => Mode::Write,
            (Direction::Undoing, _, Undo::None { .. }) => Mode::Nothing,
        }
    }

    fn cases(&self) -> Vec<Case> {
        matrix::cases::<K>()
    }

    fn act<'a>(
        &self,
        (step, direction): (usize, Direction),
        context: &'a K::Context,
        state: &'a str,
        tx: Option<&'a mut Tx>,
    ) -> BoxFuture<'a, Result<String, StepError>> {
        Box::pin(async move {
            let Some(step) = K::STEPS.get(step) else { return Ok(state.to_owned()) };
            let mut typed: K::State = serde_json::from_str(state).map_err(|error| {
                StepError::fail("STATE_UNREADABLE", format!("the stored state: {error}"))
            })?;
            let no_tx = || StepError::retry("a write without a transaction");
            match (direction, &step.run, &step.undo) {
                (Direction::Forward, Action::Call(call), _)
                | (Direction::Undoing, _, Undo::Call(call)) => call(context, &mut typed).await?,
                (Direction::Forward, Action::Write(write), _)
                | (Direction::Undoing, _, Undo::Write(write)) => {
                    write(context, &mut typed, tx.ok_or_else(no_tx)?).await?;
                }
                (Direction::Undoing, _, Undo::None { .. }) => {}
            }
            serde_json::to_string(&typed)
                .map_err(|error| StepError::fail("STATE_UNREADABLE", error.to_string()))
        })
    }
}
