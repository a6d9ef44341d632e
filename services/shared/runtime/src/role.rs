//! What `build` of a role's crate gives back.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::RoleChannel;

/// Says whether a role can serve now, and if not, why.
pub type ReadyCheck = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Work that runs beside the calls, until the role's stop token says so.
pub struct Task {
    /// Names it in logs: `accounts.outbox`.
    pub name: &'static str,
    /// Ends only when the role stops; an earlier end is a fault.
    pub future: BoxFuture<'static, ()>,
}

impl Task {
    /// Makes one.
    pub fn new(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, future: Box::pin(future) }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A role, built and not yet running its tasks.
pub struct Role {
    /// `accounts`, `storage`, `billing`, `metering`.
    pub name: &'static str,
    /// Its server, layers included.
    pub channel: RoleChannel,
    /// To be spawned by who builds it.
    pub tasks: Vec<Task>,
    /// Whether it can serve.
    pub ready: ReadyCheck,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role")
            .field("name", &self.name)
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}
