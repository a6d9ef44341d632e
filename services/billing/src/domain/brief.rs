//! What a list shows of subscriptions when little of them is asked for.

use stowage_auth::RequestContext;
use stowage_provider::Period;
use stowage_types::{Decimal, Money, S3uid};
use time::{Duration, OffsetDateTime};

use super::Billing;
use super::period::{Span, span_at};
use super::subscription::State;
use crate::error::Error;
use crate::store;

/// What a subscription costs, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brief {
    /// 0: the provider's answer is not recorded.
    pub(crate) service_id: i64,
    pub(crate) s3uid: S3uid,
    pub(crate) state: State,
    pub(crate) period: Period,
    pub(crate) period_price: Money,
    pub(crate) base_price: Decimal,
    /// When it was accepted.
    pub(crate) anchor_time: Option<OffsetDateTime>,
    /// When it was terminated or undone.
    pub(crate) end_time: Option<OffsetDateTime>,
    pub(crate) cancel_time: Option<OffsetDateTime>,
}

impl Brief {
    /// The period it is in at `now`, or was in when it ended. Absent before it was accepted.
    pub(crate) fn current_period(&self, now: OffsetDateTime) -> Option<Span> {
        // An end, past or scheduled, lies in the period that it closes, and keeps the next one
        // from starting.
        let end = self.end_time.or(self.cancel_time);
        let at = end.map_or(now, |end| now.min(end - Duration::microseconds(1)));
        span_at(self.anchor_time?, self.period, at)
    }

    /// When the next period is charged; absent when it ends before.
    pub(crate) fn next_charge_time(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let goes_on = self.state == State::Active && self.cancel_time.is_none();
        if goes_on { self.current_period(now).map(|span| span.end) } else { None }
    }
}

impl Billing {
    /// As [`Billing::batch_get_subscriptions`].
    pub(crate) async fn batch_get_briefs(
        &self,
        cx: &RequestContext,
        service_ids: &[i64],
    ) -> Result<Vec<Brief>, Error> {
        let scope = cx.principal.scope();
        Ok(store::brief::list(&self.db, self.provider.name(), scope, service_ids).await?)
    }
}
