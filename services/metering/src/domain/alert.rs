//! Alerts: an account has come to a share of a limit.

use stowage_auth::RequestContext;
use stowage_types::{CustomerId, S3uid, Span};
use time::OffsetDateTime;

use super::Metering;
use super::limits::LimitKind;
use super::meter::visible_to;
use crate::error::Error;
use crate::store;

/// How long alerts are listed.
pub(super) const KEPT: time::Duration = time::Duration::days(400);

/// One that was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) s3uid: S3uid,
    pub(crate) customer: CustomerId,
    pub(crate) kind: LimitKind,
    pub(crate) percent: u32,
    pub(crate) limit_bytes: i64,
    pub(crate) used_bytes: i64,
    pub(crate) period: Span,
    pub(crate) time: OffsetDateTime,
}

/// What is raised once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Threshold {
    pub(crate) s3uid: S3uid,
    pub(crate) kind: LimitKind,
    pub(crate) period_start: OffsetDateTime,
    pub(crate) percent: u32,
    pub(crate) limit_bytes: i64,
}

impl Alert {
    pub(crate) fn threshold(&self) -> Threshold {
        Threshold {
            s3uid: self.s3uid.clone(),
            kind: self.kind,
            // As exact as a database keeps it.
            period_start: self.period.start.truncate_to_microsecond(),
            percent: self.percent,
            limit_bytes: self.limit_bytes,
        }
    }
}

/// Which alerts are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct WantedAlerts {
    /// Of this account alone.
    pub(crate) s3uid: Option<S3uid>,
    /// Of this customer alone.
    pub(crate) customer: Option<CustomerId>,
    /// Those before this one.
    pub(crate) before: Option<i64>,
    pub(crate) max: i64,
}

impl Metering {
    /// A page of those that the caller sees, newest first, each with its place.
    pub(crate) async fn list_alerts(
        &self,
        cx: &RequestContext,
        wanted: WantedAlerts,
    ) -> Result<Vec<(i64, Alert)>, Error> {
        let wanted = WantedAlerts { customer: visible_to(cx), ..wanted };
        Ok(store::alert::list(&self.db, &wanted).await?)
    }
}
