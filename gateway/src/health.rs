//! What is ready: one list of checks behind `/readyz` and `grpc.health.v1`.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use stowage_runtime::ReadyCheck;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// A role that does not say within this time that it is ready is not.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// How old what `grpc.health.v1` says may be.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// The checks, by role.
#[derive(Clone)]
pub(crate) struct Checks(Vec<(&'static str, ReadyCheck)>);

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Checks {
    pub(crate) fn new(checks: Vec<(&'static str, ReadyCheck)>) -> Self {
        Self(checks)
    }

    /// Runs all checks at once: each role's name, and what is wrong with it if anything is.
    pub(crate) async fn run(&self) -> Vec<(&'static str, Result<(), String>)> {
        join_all(self.0.iter().map(|(name, check)| async move {
            let result = tokio::time::timeout(CHECK_MAX, check()).await;
            (*name, result.unwrap_or_else(|_| Err("does not answer".to_owned())))
        }))
        .await
    }

    /// Makes the names known to `grpc.health.v1` before anyone asks: not ready until checked.
    pub(crate) async fn announce(&self, reporter: &HealthReporter) {
        for (name, _) in &self.0 {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    /// Keeps `grpc.health.v1` up to date: the empty name stands for all roles, each role has its
    /// own.
    pub(crate) async fn report(self, reporter: HealthReporter, stop: CancellationToken) {
        loop {
            let results = self.run().await;
            let all_are_ready = results.iter().all(|(_, result)| result.is_ok());
            reporter.set_service_status("", serving(all_are_ready)).await;
            for (name, result) in results {
                reporter.set_service_status(name, serving(result.is_ok())).await;
            }
            if stop.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_none() {
                reporter.set_service_status("", ServingStatus::NotServing).await;
                return;
            }
        }
    }
}

fn serving(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}
