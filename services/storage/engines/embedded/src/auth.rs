//! Which account an access key belongs to, its secret, and when it was used.
//!
//! Keys come from the index and are kept in memory until their account changes. All changes pass
//! through this process, so there is no expiry. Whoever has begun something with a key hears of
//! each change, and looks whether the key still opens anything.
//!
//! When a key was used is noted in memory and written down once a minute and at shutdown, so that
//! no request waits for a write: a process that is killed forgets at most the last minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use stowage_engine::{AccountAccess, KeyUsage};
use stowage_types::{ExposeSecret, S3uid};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::error::Error;
use crate::index::Index;

/// Keys kept in memory; beyond that the memory starts anew.
const CACHED_MAX: usize = 10_000;

/// What a key opens.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) uid: S3uid,
    pub(crate) secret: SecretKey,
    pub(crate) access: AccountAccess,
}

#[derive(Debug, Default)]
struct Cache {
    keys: HashMap<String, Known>,
    /// Counts invalidations, so that a key read before one is not put back after it.
    generation: u64,
}

/// Looks keys up.
#[derive(Debug)]
pub(crate) struct Keys {
    index: Index,
    cache: RwLock<Cache>,
    /// Told after each change of an account.
    changes: watch::Sender<()>,
    /// Uses that are not in the index yet.
    used: Mutex<HashMap<String, OffsetDateTime>>,
}

impl Keys {
    pub(crate) fn new(index: Index) -> Self {
        let (cache, used) = (RwLock::default(), Mutex::default());
        Self { index, cache, changes: watch::Sender::new(()), used }
    }

    /// Forgets an account's keys. Call after they, or the account, changed in the index.
    pub(crate) fn invalidate(&self, uid: &S3uid) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.generation += 1;
        cache.keys.retain(|_, known| known.uid != *uid);
        drop(cache);
        self.changes.send_replace(());
    }

    /// Returns what a key opens.
    pub(crate) async fn find(&self, access_key: &str) -> Result<Option<Known>, Error> {
        if access_key.contains('\0') {
            // No database takes it in a text, and no key has it.
            return Ok(None);
        }
        let generation = {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = cache.keys.get(access_key) {
                return Ok(Some(known.clone()));
            }
            cache.generation
        };
        let Some(found) = self.index.find_key(access_key).await? else { return Ok(None) };
        let secret = SecretKey::from(found.secret.expose_secret());
        let known = Known { uid: found.uid, secret, access: found.access };
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.generation == generation {
            if cache.keys.len() >= CACHED_MAX {
                cache.keys.clear();
            }
            cache.keys.insert(access_key.to_owned(), known.clone());
        }
        Ok(Some(known))
    }

    /// Notices changes from now on, for [`Self::until_shut`].
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until the key that signed a request opens nothing any more. `signer` must be set
    /// before the key is looked up, so that no change falls between.
    pub(crate) async fn until_shut(
        &self,
        signer: &OnceLock<String>,
        mut changes: watch::Receiver<()>,
    ) {
        while changes.changed().await.is_ok() {
            let Some(access_key) = signer.get() else { continue };
            // A failing index shuts nobody out who is in.
            let found = self.find(access_key).await;
            let is_shut = |known: &Known| known.access == AccountAccess::Suspended;
            if found.is_ok_and(|known| known.as_ref().is_none_or(is_shut)) {
                return;
            }
        }
        std::future::pending().await
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, OffsetDateTime>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a key was used.
    pub(crate) fn note_use(&self, access_key: &str) {
        let now = self.index.clock.now();
        let mut used = self.used();
        match used.get_mut(access_key) {
            Some(time) => *time = now,
            None => {
                used.insert(access_key.to_owned(), now);
            }
        }
    }

    /// Writes down when keys were used. What could not be written stays in memory.
    pub(crate) async fn save_usage(&self) -> Result<(), Error> {
        let noted: Vec<_> = self.used().iter().map(|(key, time)| (key.clone(), *time)).collect();
        if noted.is_empty() {
            return Ok(());
        }
        self.index.save_key_usage(&noted).await?;
        let mut used = self.used();
        for (access_key, time) in noted {
            if used.get(&access_key) == Some(&time) {
                used.remove(&access_key);
            }
        }
        Ok(())
    }

    /// Returns when each of an account's keys was last used.
    pub(crate) async fn usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        // Before the index: what is written meanwhile is in both, not in neither.
        let noted = self.used().clone();
        let mut usage = self.index.key_usage(uid).await?;
        for key in &mut usage {
            key.last_use_time = key.last_use_time.max(noted.get(&key.access_key).copied());
        }
        Ok(usage)
    }
}

/// [`Keys`] as s3s asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Auth(pub(crate) std::sync::Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = self.0.find(access_key).await?;
        found.map(|known| known.secret).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}
