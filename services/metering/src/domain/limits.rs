//! What accounts may use, as billing tells it: its rules, and how it is taken in.

use stowage_auth::RequestContext;
use stowage_bus::{Event, first_time};
use stowage_types::{CustomerId, S3uid, Span, span_at};
use time::OffsetDateTime;

use super::check::Used;
use super::{Metering, check};
use crate::error::Error;
use crate::{LIMITS_CONSUMER, store};

/// What a limit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LimitKind {
    Quota,
    IncludedStorage,
    IncludedTraffic,
    StorageCap,
    TrafficCap,
}

impl LimitKind {
    /// Every kind, in its order.
    pub(crate) const ALL: [Self; 5] = [
        Self::Quota,
        Self::IncludedStorage,
        Self::IncludedTraffic,
        Self::StorageCap,
        Self::TrafficCap,
    ];

    /// Whether whoever comes to it can only read any more.
    pub(crate) fn is_cap(self) -> bool {
        matches!(self, Self::StorageCap | Self::TrafficCap)
    }

    /// Whether it is of what moves in a period, and not of what is stored.
    pub(crate) fn is_of_traffic(self) -> bool {
        matches!(self, Self::IncludedTraffic | Self::TrafficCap)
    }
}

/// What an account may use, in bytes; 0: no such limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) s3uid: S3uid,
    pub(crate) customer: CustomerId,
    /// Of what billing told: what comes with a lower one is out of date.
    pub(crate) sequence: i64,
    pub(crate) quota_bytes: i64,
    pub(crate) included_storage_bytes: i64,
    pub(crate) included_traffic_bytes: i64,
    pub(crate) storage_cap_bytes: i64,
    pub(crate) traffic_cap_bytes: i64,
    /// When its first period began; absent: no limit holds.
    pub(crate) anchor_time: Option<OffsetDateTime>,
    pub(crate) period_months: i64,
}

impl Limits {
    fn bytes_of(&self, kind: LimitKind) -> i64 {
        match kind {
            LimitKind::Quota => self.quota_bytes,
            LimitKind::IncludedStorage => self.included_storage_bytes,
            LimitKind::IncludedTraffic => self.included_traffic_bytes,
            LimitKind::StorageCap => self.storage_cap_bytes,
            LimitKind::TrafficCap => self.traffic_cap_bytes,
        }
    }

    /// The limits that hold, with their bytes.
    pub(crate) fn held(&self) -> impl Iterator<Item = (LimitKind, i64)> {
        let holds = self.anchor_time.is_some();
        let with_bytes = LimitKind::ALL.map(|kind| (kind, self.bytes_of(kind)));
        with_bytes.into_iter().filter(move |(_, bytes)| holds && *bytes > 0)
    }

    /// The billing period at a moment; `None`: no limit holds.
    pub(crate) fn period_at(&self, at: OffsetDateTime) -> Option<Span> {
        span_at(self.anchor_time?, self.period_months, at)
    }
}

/// The cap that an account has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capped {
    pub(crate) cap: Option<LimitKind>,
    /// Since when.
    pub(crate) time: Option<OffsetDateTime>,
    /// Counts its changes.
    pub(crate) sequence: i64,
}

/// Limits of an account, with what of them is used.
#[derive(Debug, Clone)]
pub(crate) struct LimitsUsed {
    pub(crate) period: Option<Span>,
    /// Kind, bytes of the limit, and bytes used.
    pub(crate) limits: Vec<(LimitKind, i64, i64)>,
    pub(crate) capped: Capped,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Metering {
    /// Takes what billing tells, once; what is out of date changes nothing.
    pub(crate) async fn take_limits(&self, event: &Event, limits: &Limits) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if !first_time(&mut tx, LIMITS_CONSUMER, event, &*self.clock).await? {
            return Ok(());
        }
        // The account first, as everybody else holds it.
        store::account::set_unchecked(&mut tx, &limits.s3uid).await?;
        store::limits::put(&mut tx, limits).await?;
        tx.commit().await?;
        self.unchecked.notify_one();
        Ok(())
    }

    /// The limits of an account that the caller sees, and what of them is used.
    pub(crate) async fn limits(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<LimitsUsed, Error> {
        self.check_visible(cx, s3uid).await?;
        let account = store::account::find(&self.db, s3uid).await?;
        let as_of = account.as_ref().map(|account| account.as_of_time);
        let found = store::limits::find(&self.db, s3uid).await?;
        let Some((limits, capped)) = found else {
            let (limits, capped) = (Vec::new(), Capped::default());
            return Ok(LimitsUsed { period: None, limits, capped, as_of });
        };
        let now = self.clock.now();
        let moved = check::moved(&self.db, &[&limits], now).await?;
        let used = Used {
            stored_bytes: account.map_or(0, |account| account.stored_bytes),
            moved_bytes: moved.get(&0).copied().unwrap_or(0),
        };
        let period = limits.period_at(now);
        let limits = limits.held().map(|(kind, bytes)| (kind, bytes, used.of(kind))).collect();
        Ok(LimitsUsed { period, limits, capped, as_of })
    }
}
