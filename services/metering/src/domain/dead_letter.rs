//! Dead letters as operators see them and hand them over again. What they are is in
//! `services/shared/bus`.

use stowage_auth::{RequestContext, Scope};
use stowage_bus::{DeadLetter, LetterFilter};
use stowage_request::Once;
use uuid::Uuid;

use super::Metering;
use crate::error::Error;

impl Metering {
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
        Ok(self.letters.find(id).await?)
    }

    /// Hands the event of a dead letter to its consumer again.
    pub(crate) async fn replay_dead_letter(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<DeadLetter>,
    ) -> Result<DeadLetter, Error> {
        check_operator(cx)?;
        self.letters.replay(id).await?;
        let mut tx = self.db.begin().await?;
        let letter = self.letters.set_taken(&mut tx, id).await?;
        once.answer(&mut tx, &letter).await?;
        tx.commit().await?;
        let actor = cx.actor();
        tracing::info!(actor, letter.id = %id, "an operator had a dead letter taken");
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
