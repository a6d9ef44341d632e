//! Forgets what is too old to be asked for.

use std::time::Duration;

use super::Domain;
use crate::error::Error;

const EVERY: Duration = Duration::from_secs(3600);
/// How long sagas that have ended are kept.
const SAGAS_KEPT: time::Duration = time::Duration::days(30);
/// Rows forgotten in one transaction.
const ROWS_MAX: u32 = 1000;

impl Domain {
    /// Forgets totals of hours that are taken no more, and deletions and sagas that ended long
    /// ago, once an hour, for ever.
    pub(crate) async fn forget_on(&self) {
        loop {
            let forgotten = [
                ("totals", self.storage.forget_totals().await),
                ("fronts", self.storage.forget_front_processes().await),
                ("deletions", self.storage.forget_bucket_deletions().await),
                ("sagas", self.forget_sagas().await),
            ];
            for (what, forgotten) in forgotten {
                if let Err(error) = forgotten {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, what, "old rows were not forgotten, the next round will");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn forget_sagas(&self) -> Result<(), Error> {
        let before = self.storage.clock.now() - SAGAS_KEPT;
        while self.sagas.purge(before, ROWS_MAX).await? >= u64::from(ROWS_MAX) {}
        Ok(())
    }
}
