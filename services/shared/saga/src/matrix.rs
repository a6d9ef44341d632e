//! Faults for tests, and the list of all that a saga must survive.
//!
//! A step runs twice whenever it is retried, or repeated after a crash, once its effect is there:
//! so "retry after" and "crash after" are the tests of repeating. An answer that is unclear is
//! "retry": "before" means that the call did not arrive, "after" that its answer did not. A plain
//! unit of code, not bound to a test framework, since roles use it in theirs.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::{Action, Saga, Step, Undo};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A definite failure.
    Fail,
    /// An unclear one.
    Retry,
    /// Every attempt is unclear, until they are used up.
    Away,
    /// An operator turns the saga back at this moment; the step goes on, and what it comes to is
    /// not stored.
    TurnBack,
    /// The process dies: nothing more is stored.
    Crash,
}

/// When, seen from the effect of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it.
    Before,
    /// After it, and before its outcome is stored.
    After,
}

/// One fault, made once, or each time if it is [`Fault::Away`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// Name of the step.
    pub step: &'static str,
    /// Whether in its undo.
    pub is_undo: bool,
    /// When.
    pub when: Moment,
    /// What.
    pub fault: Fault,
}

/// Faults that are still to be made.
#[derive(Debug, Default)]
pub struct Faults {
    /// With whether it was made.
    all: Mutex<Vec<(Injection, bool)>>,
    crashed: Notify,
}

impl Faults {
    /// These faults.
    #[must_use]
    pub fn new(faults: Vec<Injection>) -> Self {
        let all = faults.into_iter().map(|fault| (fault, false)).collect();
        Self { all: Mutex::new(all), crashed: Notify::new() }
    }

    /// Makes these too.
    pub fn add(&self, faults: Vec<Injection>) {
        let faults = faults.into_iter().map(|fault| (fault, false));
        self.all.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// Makes no more faults.
    pub fn clear(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends when a crash was made.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// Whether every fault was made.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|(_, is_made)| *is_made)
    }

    pub(crate) fn take(&self, step: &str, is_undo: bool, when: Moment) -> Option<Fault> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (injection, is_made) = all.iter_mut().find(|(f, is_made)| {
            let is_left = !is_made || f.fault == Fault::Away;
            is_left && f.step == step && f.is_undo == is_undo && f.when == when
        })?;
        *is_made = true;
        Some(injection.fault)
    }

    pub(crate) fn report_crash(&self) {
        self.crashed.notify_one();
    }
}

/// One row of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The faults.
    pub faults: Vec<Injection>,
    /// Whether the saga must end undone; else completed.
    pub is_undone: bool,
}

const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

/// All that a saga must survive. Writes at its head belong to its start and are not failed.
///
/// - Every step fails, is unclear once, and is cut off by a crash; before and after its effect.
/// - Every call is unclear until its attempts are used up, before and after its effect.
/// - Every step is overtaken by an operator who turns the saga back.
/// - Every undo fails, is unclear once, and is cut off by a crash, where there is something to
///   undo; and runs twice where there is nothing.
///
/// A saga without a way back is not turned back, and what fails for ever gets stuck there, so of
/// these it has the first only.
#[must_use]
pub fn cases<K: Saga>() -> Vec<Case> {
    let first = K::STEPS.iter().take_while(|step| is_write(step)).count();
    let steps = &K::STEPS[first..];
    let mut cases = Vec::new();
    for step in steps {
        for (when, fault) in once() {
            let is_undone = fault == Fault::Fail && !K::FORWARD_ONLY;
            cases.push(Case { faults: vec![forward(step, when, fault)], is_undone });
        }
    }
    if K::FORWARD_ONLY {
        return cases;
    }
    for step in steps {
        for when in MOMENTS {
            let is_call = !is_write(step);
            let mut faults = Vec::new();
            if is_call {
                faults.push(Fault::Away);
            }
            // Nobody gets in between a write and its outcome: they are one transaction.
            if is_call || when == Moment::Before {
                faults.push(Fault::TurnBack);
            }
            for fault in faults {
                cases.push(Case { faults: vec![forward(step, when, fault)], is_undone: true });
            }
        }
    }
    cases.extend(undo_cases::<K>(steps));
    cases
}

fn undo_cases<K: Saga>(steps: &[Step<K::Context, K::State>]) -> Vec<Case> {
    let has_undo = |step: &&Step<_, _>| !matches!(step.undo, Undo::None { .. });
    let mut cases = Vec::new();
    if let Some(last) = steps.last() {
        let turn = forward(last, Moment::After, Fault::Fail);
        for step in K::STEPS.iter().filter(has_undo) {
            for (when, fault) in once() {
                let injected = Injection { is_undo: true, ..forward(step, when, fault) };
                cases.push(Case { faults: vec![turn, injected], is_undone: true });
            }
        }
    }
    for step in steps.iter().filter(has_undo) {
        let turn = forward(step, Moment::Before, Fault::Fail);
        let again = Injection { is_undo: true, ..forward(step, Moment::After, Fault::Retry) };
        cases.push(Case { faults: vec![turn, again], is_undone: true });
    }
    cases
}

/// The faults that are made once, at either moment.
fn once() -> impl Iterator<Item = (Moment, Fault)> {
    let faults = [Fault::Fail, Fault::Retry, Fault::Crash];
    MOMENTS.into_iter().flat_map(move |when| faults.map(|fault| (when, fault)))
}

fn forward<C, S>(step: &Step<C, S>, when: Moment, fault: Fault) -> Injection {
    Injection { step: step.name, is_undo: false, when, fault }
}

fn is_write<C, S>(step: &Step<C, S>) -> bool {
    matches!(step.run, Action::Write(_))
}
