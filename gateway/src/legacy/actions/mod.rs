//! What each action asks of the roles, and what it answers.
//!
//! A handler gets parameters that are known to be good, asks the roles as the caller, and writes
//! the payload. Roles decide what a caller may see; nothing is filtered here.

pub(crate) mod accounts;
pub(crate) mod buckets;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod locations;
pub(crate) mod orders;
pub(crate) mod plans;
pub(crate) mod rankings;
pub(crate) mod traffic;
pub(crate) mod usage;

use stowage_proto::accounts::AccountState;

use super::call::Call;
use super::errors::Failure;
use crate::json::Object;

/// What a handler answers.
type Payload = Result<Object, Failure>;

/// The word for a state that clients read.
fn state_text(state: AccountState) -> &'static str {
    match state {
        AccountState::Unspecified => "unknown",
        AccountState::Pending => "pending",
        AccountState::Active => "active",
        AccountState::Failed => "failed",
        AccountState::Deleting => "deleting",
        AccountState::Deleted => "deleted",
        AccountState::ReadOnly => "read_only",
        AccountState::Suspended => "suspended",
        AccountState::Ended => "ended",
    }
}
