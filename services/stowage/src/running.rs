//! What runs in a process, and its orderly end: no new calls, calls in flight to their end, then
//! the tasks behind them, then the databases, so that nothing that was acknowledged is waited for
//! in vain.

use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_bus::backlog;
use stowage_db::Db;
use stowage_runtime::{Task, telemetry};
use tokio_util::sync::CancellationToken;

use crate::roles::Common;
use crate::tasks::{Failure, Tasks};

/// Longest time that the listeners get to stop; they cut calls off after ten seconds themselves.
const CALLS_STOP_MAX: Duration = Duration::from_secs(11);
/// Longest time that events on their way get; those that stay behind are sent at the next start.
const EVENTS_STOP_MAX: Duration = Duration::from_millis(500);
/// Longest time that the tasks behind the calls get.
const TASKS_STOP_MAX: Duration = Duration::from_secs(2);
/// How often recorded metrics are folded into their buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Listeners, and the work behind them.
#[derive(Debug)]
pub(crate) struct Running {
    dbs: Vec<Db>,
    listeners: Tasks,
    stop_listeners: CancellationToken,
    work: Tasks,
    stop_work: CancellationToken,
}

impl Running {
    /// The bus alone, whose consumers have all subscribed by now, and databases that are closed at
    /// the end.
    pub(crate) fn new(dbs: Vec<Db>, common: &Common) -> Self {
        let (mut work, listeners) = (Tasks::default(), Tasks::default());
        let stop_work = common.stop.clone();
        work.spawn("bus", common.bus.run(stop_work.clone()));
        work.spawn("metrics", upkeep(stop_work.clone()));
        Self { dbs, listeners, stop_listeners: CancellationToken::new(), work, stop_work }
    }

    /// Runs the tasks of a role.
    pub(crate) fn work_on(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            self.work.spawn(task.name, task.future);
        }
    }

    /// Runs a listener.
    pub(crate) fn serve(
        &mut self,
        name: &'static str,
        listener: impl FnOnce(CancellationToken) -> BoxFuture<'static, ()>,
    ) {
        self.listeners.spawn(name, listener(self.stop_listeners.clone()));
    }

    /// Waits until a part ends that should not; for ever, if all is well.
    pub(crate) async fn failed(&mut self) -> Failure {
        tokio::select! {
            failure = self.listeners.first_end() => failure,
            failure = self.work.first_end() => failure,
        }
    }

    /// Stops everything: calls in flight may end, ten seconds at most.
    pub(crate) async fn stop(mut self) {
        self.stop_listeners.cancel();
        for task in self.listeners.drain(CALLS_STOP_MAX).await {
            tracing::warn!(task, "calls in flight were cut off");
        }
        self.events_delivered().await;
        self.stop_work.cancel();
        for task in self.work.drain(TASKS_STOP_MAX).await {
            tracing::warn!(task, "cut off; it goes on at the next start");
        }
        for db in &self.dbs {
            db.close().await;
        }
        tracing::info!("stopped");
    }

    /// Gives events in the outboxes a moment to arrive.
    async fn events_delivered(&self) {
        let arrived = async {
            for db in &self.dbs {
                while backlog(db).await.is_ok_and(|backlog| backlog.pending > 0) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        if tokio::time::timeout(EVENTS_STOP_MAX, arrived).await.is_err() {
            tracing::info!("events are left in an outbox; they are sent at the next start");
        }
    }

    #[cfg(test)]
    pub(crate) fn work_mut(&mut self) -> &mut Tasks {
        &mut self.work
    }
}

/// Folds recorded metrics into their buckets now and then, or the samples would pile up.
async fn upkeep(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
        telemetry::upkeep_metrics();
    }
}
