//! Figures of one account.

use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{Dimensions, Metering, Period, Step, WHOLE_ACCOUNT};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Latest figures of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketFigures {
    pub(crate) bucket: String,
    pub(crate) stored_bytes: i64,
    pub(crate) object_count: i64,
    pub(crate) as_of: OffsetDateTime,
}

/// Figures of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountFigures {
    pub(crate) dimensions: Dimensions,
    pub(crate) buckets: Vec<BucketFigures>,
    pub(crate) stored_bytes: i64,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Metering {
    /// Latest figures, and those of a period, taken to whole hours.
    pub(crate) async fn account_figures(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
    ) -> Result<AccountFigures, Error> {
        let now = self.clock.now();
        let meter = self.meter(cx, s3uid).await?;
        let hours = Period::of(from, to, now)?.widened(Step::Hour);
        let of = Of { s3uid, bucket: WHOLE_ACCOUNT, step: Step::Hour };
        let account = store::account::find(&self.db, s3uid).await?;
        let (received_bytes, sent_bytes) = store::traffic::sum(&self.db, of, hours).await?;
        Ok(AccountFigures {
            dimensions: meter.dimensions,
            buckets: store::bucket::list(&self.db, s3uid).await?,
            stored_bytes: account.as_ref().map_or(0, |row| row.stored_bytes),
            stored_bytes_peak: self.peak(of, hours, now).await?,
            received_bytes,
            sent_bytes,
            as_of: account.map(|row| row.as_of_time),
        })
    }

    /// Most bytes stored at once in a period.
    async fn peak(&self, of: Of<'_>, period: Period, now: OffsetDateTime) -> Result<i64, Error> {
        let rows = store::stored::peak(&self.db, of, period).await?;
        if period.from > now || rows.is_some_and(|(_, first)| first == period.from) {
            return Ok(rows.map_or(0, |(peak, _)| peak));
        }
        let carried = store::stored::last_before(&self.db, of, period.from).await?;
        Ok(rows.map_or(carried, |(peak, _)| peak.max(carried)))
    }
}
