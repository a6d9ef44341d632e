//! Ids that were used for two facts, as operators see them.

use stowage_auth::{RequestContext, Scope};
use time::OffsetDateTime;

use super::Metering;
use crate::error::Error;
use crate::store;
use crate::store::conflict::Wanted;

/// An id under which a source told two things. The first holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) source: String,
    pub(crate) id: String,
    /// The account of the last one that was refused.
    pub(crate) s3uid: String,
    /// What that one said.
    pub(crate) refused: String,
    /// How often one was refused.
    pub(crate) count: i64,
    pub(crate) last_time: OffsetDateTime,
}

impl Metering {
    /// A page of them, the last one first.
    pub(crate) async fn list_conflicts(
        &self,
        cx: &RequestContext,
        wanted: &Wanted,
    ) -> Result<Vec<Conflict>, Error> {
        match cx.principal.scope() {
            Scope::Everything => Ok(store::conflict::list(&self.db, wanted).await?),
            Scope::Customer(_) => Err(Error::RoleNotAllowed { what: "list conflicts of facts" }),
        }
    }
}
