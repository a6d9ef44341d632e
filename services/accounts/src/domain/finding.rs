//! What reconciliation finds.

use super::account::Account;
use super::change_saga::is_read_only;
use crate::roles::OnEngine;

/// What does not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    EngineAccountMissing,
    EngineAccountDiffers,
    EngineAccountOrphan,
    SubscriptionMissing,
    SubscriptionDiffers,
    CancellationDiffers,
    SubscriptionOrphan,
    SagaStuck,
    SagaAbandoned,
    EventsDead,
    EventsOverdue,
    EngineUnlisted,
}

/// One thing that does not agree.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// Empty: of no account.
    pub(crate) s3uid: String,
    pub(crate) what: String,
    /// Why it is not mended; `None`: it is.
    pub(crate) why_not: Option<String>,
}

/// What differs on the engine, in words.
pub(crate) fn difference(
    account: &Account,
    keys: &[String],
    on_engine: &OnEngine,
) -> Option<String> {
    let (mut keys, mut theirs) = (keys.to_vec(), on_engine.keys.clone());
    keys.sort();
    theirs.sort();
    let mut differs = Vec::new();
    if keys != theirs {
        differs.push(format!("keys {} instead of {}", theirs.join(", "), keys.join(", ")));
    }
    for (what, ours, theirs) in [
        ("quota", account.quota_bytes, on_engine.quota_bytes),
        ("bound of buckets", account.bucket_max.into(), on_engine.bucket_max.into()),
    ] {
        if ours != theirs {
            differs.push(format!("{what} {theirs} instead of {ours}"));
        }
    }
    if account.hold.suspends() != on_engine.suspended {
        let is = if on_engine.suspended { "suspended" } else { "not suspended" };
        differs.push(is.to_owned());
    }
    if is_read_only(account.hold, account.capped) != on_engine.read_only {
        let is = if on_engine.read_only { "read-only" } else { "not read-only" };
        differs.push(is.to_owned());
    }
    (!differs.is_empty()).then(|| format!("the engine has {}", differs.join(", ")))
}
