//! Figures as young as what an engine was asked for.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{AccountFigures, Metering};
use crate::error::Error;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From when on equal figures are taken for fresh ones: an account without a bucket sends no
/// sample, so nothing would ever be as young as the question.
const EQUAL_AFTER: Duration = Duration::from_millis(500);

/// What storage collected, whose events are on their way.
#[derive(Debug, Clone)]
pub(crate) struct Collected {
    pub(crate) s3uid: S3uid,
    /// When the engine was asked; absent: any time will do.
    pub(crate) collect_time: Option<OffsetDateTime>,
    pub(crate) stored_bytes: i64,
    pub(crate) object_count: i64,
}

impl Collected {
    fn is_younger_than(&self, figures: &AccountFigures) -> bool {
        match (self.collect_time, figures.as_of) {
            (Some(collected), Some(as_of)) => as_of < collected,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn equals(&self, figures: &AccountFigures) -> bool {
        let object_count: i64 = figures.buckets.iter().map(|bucket| bucket.object_count).sum();
        (self.stored_bytes, self.object_count) == (figures.stored_bytes, object_count)
    }
}

impl Metering {
    /// The figures of an account once the events of `collected` are in them, or when the bound is
    /// reached.
    pub(crate) async fn fresh_figures(
        &self,
        cx: &RequestContext,
        collected: &Collected,
    ) -> Result<AccountFigures, Error> {
        let start = Instant::now();
        loop {
            let figures = self.account_figures(cx, &collected.s3uid, (None, None)).await?;
            let waited = start.elapsed();
            let is_equal = waited >= EQUAL_AFTER && collected.equals(&figures);
            let is_late = waited + LOOK_EVERY > self.fresh_wait;
            if !collected.is_younger_than(&figures) || is_equal || is_late {
                return Ok(figures);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
