//! Tasks that run until they are told to stop. One that ends before is a fault of the process:
//! what it did is no longer done, and only a restart brings it back.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

/// A task that ended before it was told to.
#[derive(Debug)]
pub struct Failure {
    /// Its name.
    pub task: &'static str,
    /// How it ended.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.task, self.why)
    }
}

/// A group of tasks that stop together.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.set.spawn(future);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the first task to end; for ever, if there is none.
    pub(crate) async fn first_end(&mut self) -> Failure {
        match self.set.join_next_with_id().await {
            Some(ended) => self.failure(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until every task has ended, `limit` at most; names those that had to be cut off.
    pub(crate) async fn drain(&mut self, limit: Duration) -> Vec<&'static str> {
        let ends = async {
            while let Some(ended) = self.set.join_next_with_id().await {
                match ended {
                    Ok((id, ())) => {
                        self.names.remove(&id);
                    }
                    Err(error) => {
                        let name = self.names.remove(&error.id()).unwrap_or("a task");
                        tracing::error!(task = name, why = %error, "ended badly while stopping");
                    }
                }
            }
        };
        if tokio::time::timeout(limit, ends).await.is_ok() {
            return Vec::new();
        }
        self.set.abort_all();
        self.names.drain().map(|(_, name)| name).collect()
    }

    fn failure(&mut self, ended: Result<(Id, ()), JoinError>) -> Failure {
        let (id, why) = match ended {
            Ok((id, ())) => (id, "ended without being told to".to_owned()),
            Err(error) => (error.id(), format!("failed: {error}")),
        };
        Failure { task: self.names.remove(&id).unwrap_or("a task"), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("short", async {});
        assert_eq!(tasks.first_end().await.task, "short");
        tasks.spawn("clumsy", async { panic!("oh") });
        let failure = tasks.first_end().await;
        assert_eq!(failure.task, "clumsy");
        assert!(failure.why.contains("panic"), "{failure}");
    }

    #[tokio::test]
    async fn those_that_do_not_stop_in_time_are_cut_off_and_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("short", async {});
        assert_eq!(tasks.drain(Duration::from_millis(20)).await, ["patient"]);
        assert_eq!(tasks.drain(Duration::from_secs(1)).await, Vec::<&str>::new());
    }
}
