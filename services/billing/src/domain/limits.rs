//! Tells metering what accounts may use, so that it can say when they near it.
//!
//! Whatever changes a subscription's limits counts them up in its own transaction; what was not
//! told is told in order, each with its number, so that it may come twice or late.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::Turns;
use stowage_provider::OrderKey;
use stowage_types::{CustomerId, S3uid, name};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Billing, LEASE};
use crate::error::Error;
use crate::{events, store};

/// Most subscriptions told of in one transaction.
const BATCH: i64 = 200;
/// How long an order waits until metering knows its limits; those of a moment go together.
const EVERY: Duration = Duration::from_secs(2);

/// What an account may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) key: OrderKey,
    pub(crate) s3uid: S3uid,
    pub(crate) customer: CustomerId,
    /// Counts its changes.
    pub(crate) version: i64,
    /// Up to which version metering was told.
    pub(crate) told: i64,
    /// When its first period began; absent: its subscription is not active.
    pub(crate) anchor_time: Option<OffsetDateTime>,
    pub(crate) period_months: i64,
    /// 0, here and below: none.
    pub(crate) quota_bytes: i64,
    pub(crate) included_storage_bytes: i64,
    pub(crate) included_traffic_bytes: i64,
    pub(crate) storage_cap_bytes: i64,
    pub(crate) traffic_cap_bytes: i64,
}

impl Limits {
    /// Whether metering has nothing to learn from it: it was never told of any limit of the
    /// account, and there is none.
    fn is_nothing(&self) -> bool {
        let limits = [
            self.quota_bytes,
            self.included_storage_bytes,
            self.included_traffic_bytes,
            self.storage_cap_bytes,
            self.traffic_cap_bytes,
        ];
        let is_bound = self.anchor_time.is_some() && limits.iter().any(|bytes| *bytes > 0);
        self.told == 0 && !is_bound
    }
}

impl Billing {
    /// Tells metering of limits as they change, until `stop`, in one replica at a time, named by
    /// `owner`.
    pub(crate) fn tell_limits_until(
        self: Arc<Self>,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                loop {
                    if let Err(error) = self.tell_limits().await {
                        tracing::warn!(%error, "metering was not told of limits; it will be");
                    }
                    tokio::time::sleep(EVERY).await;
                }
            };
            let turns = Turns::new("limits", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// Tells metering of all limits that have changed. In one replica at a time.
    pub(crate) async fn tell_limits(&self) -> Result<(), Error> {
        loop {
            let untold = store::limits::list_untold(&self.db, BATCH).await?;
            if untold.is_empty() {
                return Ok(());
            }
            let mut tx = self.db.begin().await?;
            for limits in &untold {
                if !limits.is_nothing() {
                    let (message, subject) =
                        (events::limits_changed(limits), name::account(&limits.s3uid));
                    self.outbox.push(&mut tx, events::LIMITS_CHANGED, &subject, &message).await?;
                }
                store::limits::set_told(&mut tx, &limits.key, limits.version);
            }
            tx.commit().await?;
        }
    }
}
