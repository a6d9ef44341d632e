//! Subscriptions that a message of the provider has led to, and that seem to differ.
//!
//! Such a message comes in the middle of what it tells of, which may be a call of ours that waits
//! for it: what differs then may agree a moment later. So nothing is told of it before it was
//! looked at again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_provider::OrderKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::finding::{Finding, Outcome};
use crate::domain::Billing;
use crate::domain::subscription::Subscription;
use crate::error::Error;
use crate::store;

/// How long what is under way may take to come to its end.
const SETTLING: Duration = Duration::from_secs(5);
/// Suspects at once; of more, the round of the timer sees the rest.
const SUSPECTS_MAX: usize = 1000;

/// What was found so far, by kind.
const FINDINGS: &str = "stowage_billing_findings_total";

/// Keys of subscriptions to look at again.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    keys: Mutex<BTreeSet<OrderKey>>,
    added: Notify,
}

impl Suspects {
    fn add(&self, key: OrderKey) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < SUSPECTS_MAX {
            keys.insert(key);
            self.added.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<OrderKey> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Billing {
    /// Compares a subscription with the provider's service, now; what seems to differ is told once
    /// it has had time to settle.
    pub(crate) async fn compare_now(&self, own: Subscription) -> Result<(), Error> {
        let (own, found) = self.differences(own).await?;
        if !found.is_empty() {
            self.suspects.add(own.key);
        }
        Ok(())
    }

    /// Looks at suspects again, until `stop`. Each process looks at its own.
    pub(crate) fn suspect_until(
        self: Arc<Self>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let looking = async {
                loop {
                    self.suspects.added.notified().await;
                    tokio::time::sleep(SETTLING).await;
                    for key in self.suspects.take() {
                        if let Err(error) = self.look_again(&key).await {
                            tracing::warn!(order.key = %key, %error, "it is compared later");
                        }
                    }
                }
            };
            let _: Option<()> = stop.run_until_cancelled(looking).await;
        })
    }

    async fn look_again(&self, key: &OrderKey) -> Result<(), Error> {
        let Some(own) = store::subscription::find_by_key(&self.db, key).await? else {
            return Ok(());
        };
        let (own, found) = self.differences(own).await?;
        for difference in found {
            tell(&Finding::of(&own, &self.installation_of(&own), difference, Outcome::Left));
        }
        Ok(())
    }

    /// The installation that a subscription is billed by.
    pub(super) fn installation_of(&self, own: &Subscription) -> String {
        own.billed_by().to_owned()
    }
}

/// Tells of a finding in the log and counts it.
pub(super) fn tell(finding: &Finding) {
    metrics::counter!(FINDINGS, "kind" => finding.kind.text()).increment(1);
    let outcome = match &finding.outcome {
        Outcome::Left => "left",
        Outcome::Mended => "mended",
        Outcome::Failed(why) => why,
    };
    tracing::warn!(
        kind = finding.kind.text(),
        installation = finding.installation,
        service = finding.service_id,
        s3uid = finding.s3uid,
        here = finding.here,
        there = finding.there,
        outcome,
        advice = finding.kind.advice(),
        "billing and its provider do not agree"
    );
}
