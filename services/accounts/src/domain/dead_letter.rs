//! Dead letters as operators see them and hand them over again. What they are is in
//! `services/shared/bus`.

use stowage_auth::{RequestContext, Scope};
use stowage_bus::{DeadLetter, LetterFilter, ReplayError};
use stowage_request::Once;
use uuid::Uuid;

use super::Domain;
use super::history::{Cause, Entry, Event};
use crate::error::Error;

impl Domain {
    /// Dead letters, newest first.
    pub(crate) async fn list_dead_letters(
        &self,
        cx: &RequestContext,
        filter: &LetterFilter,
    ) -> Result<Vec<DeadLetter>, Error> {
        check_operator(cx)?;
        Ok(self.letters.list(filter).await?)
    }

    /// One dead letter.
    pub(crate) async fn get_dead_letter(
        &self,
        cx: &RequestContext,
        id: Uuid,
    ) -> Result<DeadLetter, Error> {
        check_operator(cx)?;
        self.letters.find(id).await.map_err(refusal_of)
    }

    /// Hands the event of a dead letter to its consumer again.
    pub(crate) async fn replay_dead_letter(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<DeadLetter>,
    ) -> Result<DeadLetter, Error> {
        check_operator(cx)?;
        self.letters.replay(id).await.map_err(refusal_of)?;
        let mut tx = self.shared.db.begin().await?;
        let letter = self.letters.set_taken(&mut tx, id).await.map_err(refusal_of)?;
        let (consumer, event) = (&letter.consumer, letter.event.id);
        let told = serde_json::json!({ "letter": id, "consumer": consumer, "event": event });
        Entry::new(Event::DeadLetterReplayed, Cause::of(cx))
            .new_state(told)
            .write(&mut tx, self.shared.clock.now())
            .await?;
        once.answer(&mut tx, &letter).await?;
        tx.commit().await?;
        Ok(letter)
    }
}

/// Dead letters are of the whole installation: who acts for a customer sees none.
fn check_operator(cx: &RequestContext) -> Result<(), Error> {
    match cx.principal.scope() {
        Scope::Everything => Ok(()),
        Scope::Customer(_) => Err(Error::RoleNotAllowed { what: "operate dead letters" }),
    }
}

fn refusal_of(error: ReplayError) -> Error {
    match error {
        ReplayError::NotFound => Error::DeadLetterNotFound,
        ReplayError::Taken => Error::DeadLetterTaken,
        ReplayError::Refused { why } => Error::DeadLetterRefused { why },
        ReplayError::UnknownConsumer(consumer) => Error::DeadLetterConsumerUnknown { consumer },
        ReplayError::NotNow { why } => Error::DeadLetterNotNow { why },
        ReplayError::Db(error) => error.into(),
    }
}
