//! Keys that an engine makes itself, since it takes none that was made elsewhere.
//!
//! Between the engine and our database nothing is done at once: a key may be made whose answer is
//! lost, or which dies with this process before it is written down. Nobody has it then, and
//! nobody ever will, since its secret is told once. So the engine is told which keys we know before
//! it is asked for another, and removes all others; it is told again when the new one is written
//! down. However often that is cut off and gone over again, a lost key is never left beside
//! the new one, nor does an engine that allows two refuse it for a third.
//!
//! Rejected: naming the key for the saga that wants it (no engine takes such a name), and one call
//! that removes the others and makes one (a request that comes twice would remove what its first
//! coming has just given).

use stowage_auth::RequestContext;
use stowage_saga::StepError;

use super::Shared;
use super::access_key::SealedKey;
use crate::roles::{EngineAccount, EngineKey};
use crate::store;

/// Has a key made beside those that the account is known to have, and writes it down.
pub(super) async fn issue(
    shared: &Shared,
    cx: &RequestContext,
    known: &EngineAccount<'_>,
) -> Result<EngineKey, StepError> {
    shared.roles.ensure_engine_account(cx, known).await?;
    let made = shared.roles.issue_engine_key(cx, known.s3uid).await?;
    let sealed = SealedKey::seal(&made, &shared.keyring, shared.clock.now());
    let sealed = sealed.map_err(|error| StepError::retry(error.to_string()))?;
    let mut tx = shared.db.begin().await?;
    store::access_key::insert(&mut tx, known.s3uid, &sealed);
    tx.commit().await?;
    Ok(made)
}
