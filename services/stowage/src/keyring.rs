//! Follows the source of the master keys while serving: a rotation or a retirement by another
//! process, or by whoever fills the source, takes effect within a second or two.

use std::sync::Arc;
use std::time::Duration;

use stowage_keyring::Keyring;
use stowage_runtime::Task;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The task that looks at the source until `stop`. A source that is of no use leaves the master
/// keys of before in use, and is told in the log.
pub(crate) fn follow(keyring: Arc<Keyring>, stop: CancellationToken) -> Task {
    let looks = async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let keyring = Arc::clone(&keyring);
            // A command may take seconds.
            let looked = tokio::task::spawn_blocking(move || {
                keyring.refresh().map(|has_changed| has_changed.then(|| keyring.versions()))
            });
            match looked.await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(versions))) => {
                    let versions: Vec<u32> = versions.iter().map(|key| key.version).collect();
                    tracing::info!(?versions, "the master keys have changed");
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "changed master keys are of no use; the old stay");
                }
                Err(error) => tracing::error!(%error, "the master keys could not be looked at"),
            }
        }
    };
    Task::new("keyring", async move {
        let _: Option<()> = stop.run_until_cancelled(looks).await;
    })
}
