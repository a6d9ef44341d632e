//! What a list shows of S3 accounts when little of them is asked for.

use stowage_auth::RequestContext;
use stowage_types::{Currency, CustomerId, S3uid};

use super::account::owner;
use super::life::State;
use super::{Domain, Page};
use crate::error::Error;
use crate::store;

/// Whose an account is, and in what state.
#[derive(Debug, Clone)]
pub(crate) struct Brief {
    pub(crate) s3uid: S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) currency: Currency,
    pub(crate) state: State,
    /// Of its subscription; 0: none.
    pub(crate) service_id: i64,
}

impl Domain {
    /// As [`Domain::list_accounts`].
    pub(crate) async fn list_briefs(
        &self,
        cx: &RequestContext,
        s3uids: &[S3uid],
        (after, size): (i64, i64),
    ) -> Result<Page<Brief>, Error> {
        let from = (after, size + 1);
        let rows = store::brief::list(&self.shared.db, owner(cx), s3uids, from).await?;
        Ok(Page::of(rows, size))
    }
}
