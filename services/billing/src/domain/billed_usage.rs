//! By which figures the last closed periods of accounts were billed, for whoever holds them against
//! what others have.

use stowage_auth::{RequestContext, Scope};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::Billing;
use super::period::Span;
use crate::error::Error;
use crate::store;

/// What was used in a part of a period, as it was last corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BilledSegment {
    pub(crate) span: Span,
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) stored_peak_bytes: i64,
    /// Decimal: it may pass 64 bits.
    pub(crate) stored_byte_seconds: String,
}

/// The last closed period of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BilledUsage {
    pub(crate) s3uid: String,
    pub(crate) period: Span,
    /// When it was billed, or last corrected.
    pub(crate) bill_time: OffsetDateTime,
    /// Whether a later bill still corrects what comes in for it.
    pub(crate) is_corrected_later: bool,
    /// In the order of their times.
    pub(crate) segments: Vec<BilledSegment>,
}

impl Billing {
    /// The last closed period of each of these accounts that has one, by s3uid.
    pub(crate) async fn billed_usage(
        &self,
        cx: &RequestContext,
        s3uids: &[S3uid],
    ) -> Result<Vec<BilledUsage>, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "compare figures for one customer" });
        }
        let uids: Vec<&str> = s3uids.iter().map(S3uid::as_str).collect();
        Ok(store::billed_usage::list_last(&self.db, &uids).await?)
    }
}
