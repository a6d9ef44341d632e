//! Work on a timer: cancellations, deletions and revocations that fall due, and the removal
//! of what has had its time. Needs no
//! input; what one round does not do the next one does.

use std::time::Duration;

use stowage_db::lease::Turns;
use stowage_types::new_id;
use tokio_util::sync::CancellationToken;

use crate::domain::Domain;
use crate::error::Error;
use crate::store;

/// What the last comparison found and could not mend.
const FINDINGS: &str = "stowage_accounts_findings";
/// Accounts whose engine, meter and bill differed in the last round.
const DRIFTING: &str = "stowage_accounts_drifting";
const EVERY: Duration = Duration::from_secs(60);
/// An account that is moved is read-only until it is switched.
const MOVES_EVERY: Duration = Duration::from_secs(1);
/// Rows of one kind in one round: the writer is not held for long.
const ROWS_MAX: u32 = 1000;
/// Ends, deletions and revocations begun in one round, each.
const DUE_MAX: i64 = 20;
/// How long ended sagas can be looked into.
const SAGAS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How long a replica that vanished holds up the work of another.
const LEASE: Duration = Duration::from_secs(30);

/// Runs until `stop`, in one replica at a time.
pub(crate) async fn run(domain: Domain, stop: CancellationToken) {
    let rounds = || async {
        loop {
            if let Err(error) = round(&domain).await {
                tracing::warn!(%error, "a round of cleaning failed; the next one tries again");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    in_turn("janitor", &domain, &stop, rounds).await;
}

/// Compares accounts with engines and billing now and then, until `stop`, in one replica at a
/// time.
pub(crate) async fn reconcile(domain: Domain, stop: CancellationToken) {
    let minutes = domain.config.reconcile_minutes;
    if minutes == 0 {
        return stop.cancelled().await;
    }
    let every = Duration::from_secs(u64::from(minutes) * 60);
    let rounds = || async {
        loop {
            tokio::time::sleep(every).await;
            match domain.reconcile_all().await {
                Ok(left) => {
                    metrics::gauge!(FINDINGS).set(u32::try_from(left.len()).unwrap_or(u32::MAX))
                }
                Err(error) => {
                    tracing::warn!(%error, "accounts were not compared; the next round will")
                }
            }
        }
    };
    in_turn("reconcile", &domain, &stop, rounds).await;
}

/// Compares engines, metering and bills now and then, until `stop`, in one replica at a time.
pub(crate) async fn drift(domain: Domain, stop: CancellationToken) {
    let hours = domain.config.drift_hours;
    if hours == 0 {
        return stop.cancelled().await;
    }
    let times = domain.config.drift;
    let every = Duration::from_secs(u64::from(hours) * 3600).min(times.every_max);
    let rounds = || async {
        tokio::time::sleep(times.first.min(every)).await;
        loop {
            match domain.drift_round().await {
                Ok(drifting) => {
                    metrics::gauge!(DRIFTING).set(u32::try_from(drifting).unwrap_or(u32::MAX));
                }
                Err(error) => {
                    tracing::warn!(%error, "engines and meter were not compared; they will be")
                }
            }
            tokio::time::sleep(every).await;
        }
    };
    in_turn("drift", &domain, &stop, rounds).await;
}

/// Watches accounts that are being moved, until `stop`, in one replica at a time.
pub(crate) async fn moves(domain: Domain, stop: CancellationToken) {
    let rounds = || async {
        loop {
            tokio::time::sleep(MOVES_EVERY).await;
            if let Err(error) = domain.watch_moves().await {
                tracing::warn!(%error, "moves of accounts are not watched now");
            }
        }
    };
    in_turn("moves", &domain, &stop, rounds).await;
}

/// Has `rounds` run by one replica at a time, and by the next at once when this one stops.
async fn in_turn<F: Future<Output = ()>>(
    name: &'static str,
    domain: &Domain,
    stop: &CancellationToken,
    rounds: impl Fn() -> F,
) {
    let shared = &domain.shared;
    let owner = new_id(&*shared.clock, &*shared.random);
    let turns = Turns::new(name, owner, LEASE, shared.db.clone());
    turns.run_until(stop.cancelled(), || shared.clock.now(), rounds).await;
}

/// One round.
pub(crate) async fn round(domain: &Domain) -> Result<(), Error> {
    domain.end_due(DUE_MAX).await?;
    domain.delete_kept(DUE_MAX).await?;
    domain.revoke_due(DUE_MAX).await?;
    let now = domain.shared.clock.now();
    let max = i64::from(ROWS_MAX);
    let mut tx = domain.shared.db.begin().await?;
    store::token::delete_ended(&mut tx, now, max).await?;
    tx.commit().await?;
    domain.sagas.purge(now - SAGAS_KEPT, ROWS_MAX).await?;
    Ok(())
}
