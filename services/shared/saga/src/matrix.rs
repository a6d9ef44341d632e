//! Faults for tests, and the list of all that a saga must survive.
//!
//! A step runs twice whenever it is retried, or repeated after a crash, once its effect is there:
//! so "retry after" and "crash after" are the tests of repeating. A plain unit of code, not bound
//! to a test framework, since roles use it in theirs.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::{Saga, Undo};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A definite failure.
    Fail,
    /// An unclear one.
    Retry,
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

/// One fault, made once.
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
    left: Mutex<Vec<Injection>>,
    crashed: Notify,
}

impl Faults {
    /// These faults, each once.
    #[must_use]
    pub fn new(faults: Vec<Injection>) -> Self {
        Self { left: Mutex::new(faults), crashed: Notify::new() }
    }

    /// Makes these too, each once.
    pub fn add(&self, faults: Vec<Injection>) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// Ends when a crash was made.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// Whether every fault was made.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn take(&self, step: &str, is_undo: bool, when: Moment) -> Option<Fault> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let at =
            left.iter().position(|f| f.step == step && f.is_undo == is_undo && f.when == when)?;
        Some(left.remove(at).fault)
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

/// Every single fault in every step from number `first` on (the writes at the head of a saga
/// belong to its start), and every fault of an undo after a definite failure of the last step.
#[must_use]
pub fn cases<K: Saga>(first: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let moments = [Moment::Before, Moment::After];
    for step in K::STEPS.iter().skip(first) {
        for when in moments {
            for fault in [Fault::Fail, Fault::Retry, Fault::Crash] {
                let injected = Injection { step: step.name, is_undo: false, when, fault };
                let is_undone = fault == Fault::Fail && !K::FORWARD_ONLY;
                cases.push(Case { faults: vec![injected], is_undone });
            }
        }
    }
    let Some(last) = K::STEPS.last().filter(|_| !K::FORWARD_ONLY) else { return cases };
    let turn =
        Injection { step: last.name, is_undo: false, when: Moment::After, fault: Fault::Fail };
    for step in K::STEPS.iter().filter(|step| !matches!(step.undo, Undo::None { .. })) {
        for when in moments {
            for fault in [Fault::Fail, Fault::Retry, Fault::Crash] {
                let injected = Injection { step: step.name, is_undo: true, when, fault };
                cases.push(Case { faults: vec![turn, injected], is_undone: true });
            }
        }
    }
    cases
}
