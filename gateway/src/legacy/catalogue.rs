//! Remembers for a moment what `list_plans` answered: the call that clients make most, of what
//! changes least. Nothing is sold by what is remembered here; an order asks billing.
//!
//! A change through this gateway is forgotten before its caller has the answer, a change elsewhere
//! when its event comes, and nothing outlives [`KEPT`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stowage_bus::{BoxError, Event, Handler};
use time::OffsetDateTime;

/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(1);

/// How many answers are remembered; when it is full, all are forgotten.
const ANSWERS_MAX: usize = 1024;

/// Who asked for what: plans and prices depend on nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) role: i32,
    pub(crate) customer_id: i64,
    pub(crate) location: String,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts what was forgotten, so that an answer asked for before a change is not kept after.
    generation: u64,
    answers: HashMap<Asked, (OffsetDateTime, String)>,
}

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct Catalogue(Mutex<Inner>);

impl Catalogue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, as JSON; else what to hand to [`Self::keep`] with it.
    pub(crate) fn recall(&self, asked: &Asked, now: OffsetDateTime) -> Result<String, u64> {
        let inner = self.lock();
        match inner.answers.get(asked) {
            Some((until, answer)) if now < *until => Ok(answer.clone()),
            _ => Err(inner.generation),
        }
    }

    /// Remembers an answer, unless something was forgotten since `generation`.
    pub(crate) fn keep(&self, asked: Asked, answer: &str, since: (u64, OffsetDateTime)) {
        let (generation, now) = since;
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        if inner.answers.len() >= ANSWERS_MAX {
            inner.answers.clear();
        }
        inner.answers.insert(asked, (now + KEPT, answer.to_owned()));
    }

    /// Forgets all: a plan may have changed.
    pub(crate) fn forget(&self) {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.answers.clear();
    }
}

/// Takes `stowage.billing.plan.changed.v1`.
#[async_trait]
impl Handler for Catalogue {
    async fn handle(&self, _: &Event) -> Result<(), BoxError> {
        self.forget();
        Ok(())
    }

    async fn missed(&self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(customer_id: i64) -> Asked {
        Asked { role: 1, customer_id, location: String::new() }
    }

    #[test]
    fn an_answer_is_kept_for_a_moment_and_for_who_asked() {
        let (catalogue, now) = (Catalogue::default(), OffsetDateTime::UNIX_EPOCH);
        let generation = catalogue.recall(&asked(1), now).unwrap_err();
        catalogue.keep(asked(1), "[]", (generation, now));
        assert_eq!(catalogue.recall(&asked(1), now), Ok("[]".to_owned()));
        assert!(catalogue.recall(&asked(2), now).is_err());
        assert!(catalogue.recall(&asked(1), now + KEPT).is_err());
    }

    #[test]
    fn an_answer_asked_for_before_a_change_is_not_kept_after_it() {
        let (catalogue, now) = (Catalogue::default(), OffsetDateTime::UNIX_EPOCH);
        let generation = catalogue.recall(&asked(1), now).unwrap_err();
        catalogue.forget();
        catalogue.keep(asked(1), "[]", (generation, now));
        assert!(catalogue.recall(&asked(1), now).is_err());
    }
}
