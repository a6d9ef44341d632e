//! S3 key pairs: made here, or by an engine that takes no others, sealed, and handed to the engine
//! and to their owner only.

use stowage_auth::{PrincipalRole, RequestContext};
use stowage_keyring::Keyring;
use stowage_saga::StepError;
use stowage_types::{Random, S3uid, SecretString};
use time::OffsetDateTime;

use super::account::Lookup;
use super::history::{Cause, Entry, Event};
use super::{Domain, Shared};
use crate::error::Error;
use crate::roles::EngineKey;
use crate::store;

/// Characters of an access key's id, as existing clients expect.
const ID_CHARS: usize = 20;
/// Characters of a secret: 40 of 62 make 238 bits.
const SECRET_CHARS: usize = 40;
const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A key pair as it is stored.
#[derive(Debug)]
pub(crate) struct SealedKey {
    pub(crate) access_key: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) create_time: OffsetDateTime,
    /// When it is revoked by itself.
    pub(crate) revoke_time: Option<OffsetDateTime>,
}

/// A key pair as it is shown.
#[derive(Clone)]
pub(crate) struct AccessKey {
    pub(crate) access_key: String,
    pub(crate) secret_key: Option<SecretString>,
    pub(crate) create_time: Option<OffsetDateTime>,
    /// When it is revoked by itself, or was revoked.
    pub(crate) revoke_time: Option<OffsetDateTime>,
    pub(crate) last_use_time: Option<OffsetDateTime>,
}

/// What is to be said of keys beside their ids and times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct With {
    pub(crate) secrets: bool,
    /// When they were last used: the engine is asked for that.
    pub(crate) usage: bool,
}

/// A key pair that may be revoked already.
pub(crate) struct KnownKey {
    pub(crate) is_revoked: bool,
    pub(crate) revoke_time: Option<OffsetDateTime>,
}

impl SealedKey {
    /// Makes a new pair.
    pub(crate) fn generate(
        keyring: &Keyring,
        random: &dyn Random,
        now: OffsetDateTime,
    ) -> Result<Self, stowage_keyring::Error> {
        let access_key = random_text(random, ID_ALPHABET, ID_CHARS);
        let secret_key = SecretString::from(random_text(random, SECRET_ALPHABET, SECRET_CHARS));
        Self::seal(&EngineKey { access_key, secret_key }, keyring, now)
    }

    /// Takes a pair that an engine has made.
    pub(crate) fn seal(
        made: &EngineKey,
        keyring: &Keyring,
        now: OffsetDateTime,
    ) -> Result<Self, stowage_keyring::Error> {
        let access_key = made.access_key.clone();
        let sealed = keyring.seal(&made.secret_key, &binding(&access_key))?;
        Ok(Self { access_key, sealed, create_time: now, revoke_time: None })
    }

    /// The secret.
    pub(crate) fn open(&self, keyring: &Keyring) -> Result<SecretString, stowage_keyring::Error> {
        keyring.open(&self.sealed, &binding(&self.access_key))
    }

    /// Opens the secret for the account's engine.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub(crate) fn for_engine(
        &self,
        keyring: &Keyring,
    ) -> Result<EngineKey, stowage_keyring::Error> {
        let secret_key = self.open(keyring)?;
        Ok(EngineKey { access_key: self.access_key.clone(), secret_key })
    }
}

/// The keys of an account that are chosen by their ids, with their secrets.
pub(super) async fn opened_keys(
    shared: &Shared,
    s3uid: &S3uid,
    is_chosen: impl Fn(&String) -> bool,
) -> Result<Vec<EngineKey>, StepError> {
    let mut keys = store::access_key::list(&shared.db, s3uid).await?;
    keys.retain(|key| is_chosen(&key.access_key));
    let opened = keys.iter().map(|key| key.for_engine(&shared.keyring));
    opened.collect::<Result<_, _>>().map_err(|error| StepError::retry(error.to_string()))
}

/// What a secret is sealed for: this key and no other.
pub(super) fn binding(access_key: &str) -> String {
    format!("access_key/{access_key}")
}

/// Every character equally likely: bytes beyond the last whole multiple of the alphabet are drawn
/// again.
fn random_text(random: &dyn Random, alphabet: &[u8], chars: usize) -> String {
    let bound = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(chars);
    let mut bytes = [0_u8; 64];
    while text.len() < chars {
        random.fill(&mut bytes);
        let good = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < bound);
        let missing = chars - text.len();
        text.extend(good.take(missing).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    text
}

impl Domain {
    /// The keys of an account. Reading secrets is written to history before they are answered.
    pub(crate) async fn list_access_keys(
        &self,
        cx: &RequestContext,
        s3uid: S3uid,
        with: With,
    ) -> Result<Vec<AccessKey>, Error> {
        let with_secrets = with.secrets;
        if with_secrets && cx.principal.role == PrincipalRole::Staff {
            return Err(Error::RoleNotAllowed { what: "read secrets" });
        }
        let account = self.get_account(cx, Lookup::S3uid(s3uid)).await?;
        let shared = &self.shared;
        let sealed = store::access_key::list(&shared.db, &account.s3uid).await?;
        let mut used = match with.usage {
            true => shared.roles.key_usage(cx, &account.s3uid).await?,
            false => Default::default(),
        };
        let mut keys = Vec::with_capacity(sealed.len());
        for key in sealed {
            let secret_key = if with_secrets { Some(key.open(&shared.keyring)?) } else { None };
            keys.push(AccessKey {
                last_use_time: used.remove(&key.access_key),
                access_key: key.access_key,
                secret_key,
                create_time: Some(key.create_time),
                revoke_time: key.revoke_time,
            });
        }
        if with_secrets {
            let ids: Vec<_> = keys.iter().map(|key| key.access_key.as_str()).collect();
            let mut tx = shared.db.begin().await?;
            Entry::new(Event::KeyRead, Cause::of(cx))
                .customer(account.customer)
                .account(&account.s3uid, account.plan)
                .new_state(serde_json::json!({ "access_keys": ids }))
                .write(&mut tx, shared.clock.now())
                .await?;
            tx.commit().await?;
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use stowage_types::SystemRandom;

    use super::*;

    #[test]
    fn keys_have_the_form_that_clients_expect() {
        for _ in 0..100 {
            let id = random_text(&SystemRandom, ID_ALPHABET, ID_CHARS);
            let secret = random_text(&SystemRandom, SECRET_ALPHABET, SECRET_CHARS);
            assert!(id.len() == 20 && id.bytes().all(|b| ID_ALPHABET.contains(&b)), "{id}");
            assert!(secret.len() == 40 && secret.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
}
