//! Keys of the double's engine, where it makes them itself: two for each account.

use stowage_proto::common::ErrorReason;
use stowage_proto::storage::EngineKey;
use tonic::{Code, Status};

use crate::double::{State, World, refuse};

/// Keys that an account may have.
const KEYS_MAX: usize = 2;

impl World {
    /// One whose engine makes keys itself.
    pub(crate) fn issuing() -> Self {
        let world = Self::default();
        world.state().issues_keys = true;
        world
    }
}

/// Takes the keys that an account shall have; those that are left out are gone.
pub(crate) fn ensure(state: &mut State, uid: &str, keys: &[EngineKey]) -> Result<(), Status> {
    if !state.issues_keys {
        assert!(!keys.is_empty(), "an account has a key");
        return Ok(());
    }
    let had = state.issued.entry(uid.to_owned()).or_default();
    if keys.iter().any(|key| !had.contains(key)) {
        return Err(refuse(Code::InvalidArgument, ErrorReason::InvalidField));
    }
    had.retain(|key| keys.contains(key));
    Ok(())
}

/// Makes a key beside those that an account has.
pub(crate) fn issue(state: &mut State, uid: &str) -> Result<EngineKey, Status> {
    if !state.issues_keys {
        return Err(refuse(Code::FailedPrecondition, ErrorReason::EngineUnsupported));
    }
    if !state.engine.contains_key(uid) {
        return Err(refuse(Code::NotFound, ErrorReason::AccountNotFound));
    }
    let number = state.calls.len();
    let had = state.issued.entry(uid.to_owned()).or_default();
    if had.len() >= KEYS_MAX {
        return Err(refuse(Code::Unavailable, ErrorReason::EngineUnavailable));
    }
    let (access_key, secret_key) = (format!("ISSUED{number:014}"), format!("secret-{number:033}"));
    let key = EngineKey { access_key, secret_key };
    had.push(key.clone());
    Ok(key)
}
