//! Events a consumer has seen, so that the second delivery of one has no effect.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::{Db, Error, Tx, args};
use stowage_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::Event;

/// How long a seen event is remembered: longer than facts are taken late (35 days), so that no
/// event that could still have an effect is forgotten.
const KEPT: time::Duration = time::Duration::days(40);
/// Rows forgotten per transaction, so that the writer is never held for long.
const BATCH_ROWS: i64 = 1000;
/// Time between two rounds of forgetting.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(3600);

/// Records in the caller's transaction that `consumer` takes `event`. `false`: it took it before,
/// and must do nothing.
///
/// # Errors
/// Those of the database; the caller's transaction is of no use then.
pub async fn first_time(
    tx: &mut Tx,
    consumer: &str,
    event: &Event,
    clock: &dyn Clock,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO inbox (consumer, source, id, time) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (consumer, source, id) DO NOTHING",
            args![consumer, event.source.as_str(), event.id, clock.now()],
        )
        .await?;
    Ok(rows == 1)
}

/// Forgets events seen more than 40 days ago; answers how many.
///
/// # Errors
/// Those of the database. What was forgotten until then stays forgotten.
pub async fn forget_old(db: &Db, clock: &dyn Clock) -> Result<u64, Error> {
    let before = clock.now() - KEPT;
    let mut forgotten = 0;
    loop {
        let mut tx = db.begin().await?;
        let rows = tx
            .execute(
                "DELETE FROM inbox WHERE (consumer, source, id) IN \
                 (SELECT consumer, source, id FROM inbox WHERE time < $1 LIMIT $2)",
                args![before, BATCH_ROWS],
            )
            .await?;
        tx.commit().await?;
        forgotten += rows;
        if rows < BATCH_ROWS.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}

/// The task that calls [`forget_old`] every hour until `stop`.
#[must_use]
pub fn clean_up(db: Db, clock: Arc<dyn Clock>, stop: CancellationToken) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let rounds = async {
            loop {
                tokio::time::sleep(CLEAN_UP_EVERY).await;
                if let Err(error) = forget_old(&db, &*clock).await {
                    tracing::warn!(%error, "inbox could not be cleaned up, next round will");
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(rounds).await;
    })
}
