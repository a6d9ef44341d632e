//! Who consumes what, known to everyone who publishes.
//!
//! A broker drops an event for which no queue is bound. So a role that publishes must know the
//! queues of consumers that it never met: whoever connects declares all of them, from this table.
//! The queue of a consumer then exists before the first event that it wants, whichever process
//! starts first. An event of a kind that is in the table is published as mandatory besides: if its
//! queue was removed by hand, the broker gives it back, the outbox keeps it, and the topology is
//! declared anew.
//!
//! Rejected: queues declared by their consumers only (what is published before the first start of
//! a consumer is lost), and a catch-all queue for what nobody wants (it grows without a reader).

use crate::{Audience, Subscription};

/// A consumer that hears each event once, however many replicas of it run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, as in its [`Subscription`] and its inbox.
    pub name: &'static str,
    /// Types of events it takes.
    pub kinds: &'static [&'static str],
}

/// Every consumer of Stowage whose events wait for it.
pub const CONSUMERS: &[Consumer] = &[
    Consumer { name: "metering", kinds: &["stowage.storage.usage.collected.v1"] },
    Consumer { name: "metering.limits", kinds: &["stowage.billing.limits.changed.v1"] },
    Consumer {
        name: "accounts.history",
        kinds: &[
            "stowage.billing.payment.recorded.v1",
            "stowage.billing.standing.changed.v1",
            "stowage.billing.plan.changed.v1",
            "stowage.storage.content.changed.v1",
            "stowage.storage.location.changed.v1",
            "stowage.metering.usage.corrected.v1",
        ],
    },
    Consumer {
        name: "accounts.dunning",
        kinds: &[
            "stowage.billing.invoice.overdue.v1",
            "stowage.billing.invoice.eased.v1",
            "stowage.billing.invoice.settled.v1",
        ],
    },
    Consumer { name: "accounts.caps", kinds: &["stowage.metering.cap.changed.v1"] },
    Consumer {
        name: "accounts.webhooks",
        kinds: &[
            "stowage.accounts.account.activated.v1",
            "stowage.accounts.account.deleted.v1",
            "stowage.accounts.drift.found.v1",
            "stowage.billing.invoice.overdue.v1",
            "stowage.billing.invoice.eased.v1",
            "stowage.billing.invoice.settled.v1",
            "stowage.billing.payment.recorded.v1",
            "stowage.billing.standing.changed.v1",
            "stowage.billing.plan.changed.v1",
            "stowage.metering.alert.raised.v1",
            "stowage.metering.cap.changed.v1",
        ],
    },
];

/// Names of the subscriptions that are not in the table as they are.
pub(crate) fn undeclared(subscriptions: &[Subscription]) -> Vec<&'static str> {
    let is_declared = |subscription: &&Subscription| {
        subscription.audience == Audience::EveryProcess
            || CONSUMERS.iter().any(|consumer| {
                consumer.name == subscription.consumer && consumer.kinds == subscription.kinds
            })
    };
    subscriptions.iter().filter(|s| !is_declared(s)).map(|s| s.consumer).collect()
}

/// Names of consumers in the table without a subscription.
pub(crate) fn unserved(subscriptions: &[Subscription]) -> Vec<&'static str> {
    let is_served = |name| subscriptions.iter().any(|s| s.consumer == name);
    CONSUMERS.iter().map(|consumer| consumer.name).filter(|name| !is_served(*name)).collect()
}
