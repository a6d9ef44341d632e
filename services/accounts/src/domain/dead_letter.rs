//! Dead letters as operators see them and hand them over again. What they are is in
//! `services/shared/bus`.

use stowage_auth::RequestContext;
use stowage_bus::{DeadLetter, LetterFilter};
use stowage_request::Once;
use uuid::Uuid;

use super::history::{Cause, Entry, Event};
use super::{Domain, check_operator};
use crate::error::Error;

impl Domain {
    /// Dead letters, newest first.
    pub(crate) async fn list_dead_letters(
        &self,
        cx: &RequestContext,
        filter: &LetterFilter,
    ) -> Result<Vec<DeadLetter>, Error> {
        check_operator(cx, "operate dead letters")?;
        Ok(self.letters.list(filter).await?)
    }

    /// One dead letter.
    pub(crate) async fn get_dead_letter(
        &self,
        cx: &RequestContext,
        id: Uuid,
    ) -> Result<DeadLetter, Error> {
        check_operator(cx, "operate dead letters")?;
        Ok(self.letters.find(id).await?)
    }

    /// Hands the event of a dead letter to its consumer again.
    pub(crate) async fn replay_dead_letter(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<DeadLetter>,
    ) -> Result<DeadLetter, Error> {
        check_operator(cx, "operate dead letters")?;
        self.letters.replay(id).await?;
        let mut tx = self.shared.db.begin().await?;
        let letter = self.letters.set_taken(&mut tx, id).await?;
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
