//! Work on a timer: cancellations, deletions and revocations that fall due, and the removal
//! of what has had its time. Needs no
//! input; what one round does not do the next one does.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::Domain;
use crate::error::Error;
use crate::store;

const EVERY: Duration = Duration::from_secs(60);
/// Rows of one kind in one round: the writer is not held for long.
const ROWS_MAX: u32 = 1000;
/// Ends, deletions and revocations begun in one round, each.
const DUE_MAX: i64 = 20;
/// How long ended sagas can be looked into.
const SAGAS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Runs until `stop`.
pub(crate) async fn run(domain: Domain, stop: CancellationToken) {
    loop {
        if let Err(error) = round(&domain).await {
            tracing::warn!(%error, "a round of cleaning failed; the next one tries again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
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
