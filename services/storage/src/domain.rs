//! Rules of the role; one file per resource.

mod account_copy;
pub(crate) mod account_move;
mod account_move_job;
mod account_move_pass;
pub(crate) mod account_move_start;
mod account_move_switch;
pub(crate) mod adoption;
pub(crate) mod bucket;
mod bucket_change;
pub(crate) mod bucket_deletion;
mod bucket_deletion_job;
pub(crate) mod bucket_saga;
pub(crate) mod change;
pub(crate) mod engine_account;
pub(crate) mod engine_usage;
pub(crate) mod engine_view;
mod forget;
mod front;
pub(crate) mod keyring;
pub(crate) mod location;
pub(crate) mod location_change;
mod location_follow;
pub(crate) mod object;
pub(crate) mod saga;
mod site;
pub(crate) mod upload;
pub(crate) mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use stowage_auth::{PageKey, PrincipalRole, RequestContext, Scope};
use stowage_bus::Outbox;
use stowage_db::Db;
use stowage_engine::Engine;
use stowage_keyring::Keyring;
use stowage_request::Requests;
use stowage_saga::Sagas;
use stowage_types::{Clock, Random, S3uid};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::Config;
use crate::error::Error;
use crate::opener::EngineOpener;
use crate::store;
use engine_account::{Account, State};
pub(crate) use site::{Site, Sites};

/// A count as tables and contracts have it.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Refuses who acts for a customer what is of the whole installation.
///
/// # Errors
/// [`Error::RoleNotAllowed`]
pub(crate) fn check_operator(cx: &RequestContext, what: &'static str) -> Result<(), Error> {
    match cx.principal.scope() {
        Scope::Everything => Ok(()),
        Scope::Customer(_) => Err(Error::RoleNotAllowed { what }),
    }
}

/// The role's rules over its database and engines.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
    pub(crate) requests: Requests,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    /// Names this process in leases.
    pub(crate) process: Uuid,
    /// Woken when a move of an account may have to be worked on.
    pub(crate) move_due: Notify,
    /// Woken when a deletion of a bucket may have to be worked on.
    pub(crate) deletion_due: Notify,
    pub(crate) page_key: PageKey,
    pub(crate) sites: Sites,
    /// Codes of the locations in the configuration of this process.
    pub(crate) configured: BTreeSet<String>,
    /// Opens the engines of those that are added.
    pub(crate) opener: Arc<dyn EngineOpener>,
    /// Seals how they are reached.
    pub(crate) keyring: Arc<Keyring>,
    /// Woken when a location was added or removed here.
    pub(crate) location_due: Notify,
}

/// The rules, with the sagas that carry some of them out. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    pub(crate) storage: Arc<Storage>,
    pub(crate) sagas: Sagas<Storage>,
}

/// An account that the caller may use, with what drives it.
pub(crate) struct Used {
    pub(crate) account: Account,
    pub(crate) site: Arc<Site>,
}

impl Used {
    /// The engine that has it.
    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.site.engine
    }

    /// Refuses what a customer would change in a suspended or read-only account, which keeps all
    /// its data.
    /// Administrators and services may all the same: they purge, and take down what must go. What
    /// is compared with its copy nobody may change.
    ///
    /// # Errors
    /// - [`Error::AccountState`]
    /// - [`Error::AccountMoving`]
    pub(crate) fn check_changeable(&self, cx: &RequestContext) -> Result<(), Error> {
        self.check(cx, self.account.limits.refusal())
    }

    /// The same for what he would delete: who stores too much may, so that he stores less.
    ///
    /// # Errors
    /// - [`Error::AccountState`]
    /// - [`Error::AccountMoving`]
    pub(crate) fn check_deletable(&self, cx: &RequestContext) -> Result<(), Error> {
        self.check(cx, self.account.limits.refusal_to_delete())
    }

    fn check(&self, cx: &RequestContext, refusal: Option<&'static str>) -> Result<(), Error> {
        if self.account.is_frozen {
            return Err(Error::AccountMoving);
        }
        let is_customer = cx.principal.role == PrincipalRole::Customer;
        match refusal {
            Some(state) if is_customer => Err(Error::AccountState { state }),
            _ => Ok(()),
        }
    }
}

impl Storage {
    /// The account, if it exists and the caller sees it.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`] otherwise: absent, removed and another's are one answer.
    pub(crate) async fn visible_account(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
    ) -> Result<Used, Error> {
        let account = store::account::find(&self.db, uid).await?.ok_or(Error::AccountNotFound)?;
        let is_visible = account.customer.is_some_and(|owner| cx.sees(owner));
        if !is_visible || !matches!(account.state, State::Pending | State::Active) {
            return Err(Error::AccountNotFound);
        }
        let code = account.location.as_deref().unwrap_or_default();
        let site = self.site(code).await?;
        Ok(Used { account, site })
    }
}
