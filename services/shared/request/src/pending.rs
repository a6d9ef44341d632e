//! A request whose answer somebody else stores.

use prost::Message;
use serde::{Deserialize, Serialize};
use stowage_db::{Error, Tx};
use time::OffsetDateTime;

use crate::key::Key;
use crate::{KEPT, store};

/// A request whose answer is stored by what ends it, a saga in most cases: the answer is there as
/// soon as the effect is, whatever became of the call. Kept in the saga's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    scope: String,
    request_id: String,
    digest: [u8; 32],
}

impl Pending {
    pub(crate) fn of(key: &Key) -> Self {
        let (scope, request_id) = (key.scope.clone(), key.request_id.clone());
        Self { scope, request_id, digest: key.digest }
    }

    /// Stores the answer in the caller's transaction. A request that has one already, or that was
    /// forgotten meanwhile, is left alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn answer(
        &self,
        tx: &mut Tx,
        answer: &impl Message,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let request = (self.scope.as_str(), self.request_id.as_str(), self.digest);
        store::answer_pending(tx, request, (answer.encode_to_vec(), now + KEPT)).await?;
        Ok(())
    }
}
