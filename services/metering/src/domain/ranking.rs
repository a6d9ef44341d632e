//! Rankings.

use stowage_auth::RequestContext;
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;

use super::meter::visible_to;
use super::{Dimensions, Metering, Period, Step};
use crate::error::Error;
use crate::store;

/// What to rank by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RankField {
    #[default]
    Traffic,
    StoragePeak,
}

/// Order and filters. Those that are `None` match all.
#[derive(Debug, Clone, Default)]
pub(crate) struct RankBy {
    pub(crate) field: RankField,
    pub(crate) ascending: bool,
    pub(crate) s3uid: Option<S3uid>,
    pub(crate) account_id: Option<i64>,
    pub(crate) customer: Option<CustomerId>,
    /// Whatever its case.
    pub(crate) email: Option<String>,
    pub(crate) plan: Option<PlanId>,
    pub(crate) location: Option<String>,
    pub(crate) storage_type: Option<String>,
    pub(crate) billing: Option<String>,
    pub(crate) bucket: Option<String>,
}

/// A page of a ranking, as the store makes it.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    pub(crate) by: RankBy,
    /// Whole days.
    pub(crate) days: Period,
    /// The period has not begun: nothing is carried into it.
    pub(crate) is_future: bool,
    /// The customer whose meters alone are seen.
    pub(crate) visible_to: Option<CustomerId>,
    pub(crate) skip: i64,
    pub(crate) max: i64,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub(crate) dimensions: Dimensions,
    pub(crate) traffic_bytes: i64,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) stored_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Metering {
    /// One page of the accounts the caller sees, and how many match in all.
    pub(crate) async fn rank(
        &self,
        cx: &RequestContext,
        by: RankBy,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
        (skip, max): (i64, i64),
    ) -> Result<(Vec<Ranked>, i64), Error> {
        let now = self.clock.now();
        let days = Period::of(from, to, now)?.widened(Step::Day);
        let is_future = days.from > now;
        let visible_to = visible_to(cx);
        let ranking = Ranking { by, days, is_future, visible_to, skip, max };
        let total = store::ranking::count(&self.db, &ranking).await?;
        let rows = store::ranking::list(&self.db, &ranking).await?;
        Ok((rows, total))
    }
}
