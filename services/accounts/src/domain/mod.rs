//! Rules, transactions and events. Names no proto type and no column.

pub(crate) mod access_key;
pub(crate) mod account;
pub(crate) mod account_move;
pub(crate) mod account_move_saga;
pub(crate) mod adoption;
pub(crate) mod adoption_saga;
pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod brief;
pub(crate) mod cancellation;
pub(crate) mod cancellation_saga;
pub(crate) mod cap;
pub(crate) mod change;
pub(crate) mod change_saga;
pub(crate) mod customer;
pub(crate) mod dead_letter;
pub(crate) mod deletion;
pub(crate) mod drift;
pub(crate) mod drift_rule;
pub(crate) mod drift_side;
mod drift_watch;
pub(crate) mod dunning;
pub(crate) mod finding;
pub(crate) mod history;
mod issued;
pub(crate) mod keyring;
pub(crate) mod life;
pub(crate) mod order;
pub(crate) mod order_saga;
pub(crate) mod reconcile;
pub(crate) mod reconcile_cursor;
pub(crate) mod saga;
pub(crate) mod session;
pub(crate) mod webhook;
pub(crate) mod webhook_delivery;

use std::sync::Arc;

use stowage_auth::{RequestContext, Scope, Signer};
use stowage_bus::{DeadLetters, Outbox};
use stowage_db::Db;
use stowage_keyring::Keyring;
use stowage_request::Requests;
use stowage_saga::{Outcome, Sagas};
use stowage_types::{Clock, Random};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::roles::Roles;
use webhook::Webhooks;

/// What sagas and calls both work with.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) outbox: Outbox,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) roles: Roles,
}

/// The role's rules. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Domain {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sagas: Sagas<Shared>,
    pub(crate) requests: Requests,
    pub(crate) letters: DeadLetters,
    pub(crate) signer: Signer,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) config: Arc<Config>,
}

impl Domain {
    /// Waits for a saga as long as the caller and the configuration allow. It goes on after that.
    pub(crate) async fn wait_for(&self, cx: &RequestContext, saga: Uuid) -> Result<Outcome, Error> {
        let bound = Instant::now() + self.config.order_wait();
        let until = cx.deadline.map_or(bound, |deadline| deadline.min(bound));
        match tokio::time::timeout_at(until, self.sagas.run(saga)).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }
}

impl Domain {
    /// Waits until all can read what a transaction here has seen of a twin's: transactions that
    /// come together are made durable together, and readers see them only then.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        Ok(self.shared.db.begin().await?.commit().await?)
    }
}

/// Refuses who acts for a customer what is of the whole installation.
fn check_operator(cx: &RequestContext, what: &'static str) -> Result<(), Error> {
    match cx.principal.scope() {
        Scope::Everything => Ok(()),
        Scope::Customer(_) => Err(Error::RoleNotAllowed { what }),
    }
}

/// A page of a listing: the rows, and where the next page begins.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) is_last: bool,
}

impl<T> Page<T> {
    /// Makes a page of what was read with one row too many.
    pub(crate) fn of(mut rows: Vec<T>, size: i64) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let is_last = rows.len() <= size;
        rows.truncate(size);
        Self { rows, is_last }
    }

    /// The page with each of its rows made another.
    pub(crate) fn map<U>(self, row: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(row).collect(), is_last: self.is_last }
    }
}
