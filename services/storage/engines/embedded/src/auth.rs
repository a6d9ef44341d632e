//! Which account an access key belongs to, and its secret.
//!
//! Keys come from the index and are kept in memory until the account's keys change. All changes
//! pass through this process, so there is no expiry.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use stowage_types::{ExposeSecret, S3uid};

use crate::error::Error;
use crate::index::Index;

/// Keys kept in memory; beyond that the memory starts anew.
const CACHED_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Cache {
    keys: HashMap<String, (S3uid, SecretKey)>,
    /// Counts invalidations, so that a key read before one is not put back after it.
    generation: u64,
}

/// Looks keys up.
#[derive(Debug)]
pub(crate) struct Keys {
    index: Index,
    cache: RwLock<Cache>,
}

impl Keys {
    pub(crate) fn new(index: Index) -> Self {
        Self { index, cache: RwLock::default() }
    }

    /// Forgets an account's keys. Call after they changed in the index.
    pub(crate) fn invalidate(&self, uid: &S3uid) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.generation += 1;
        cache.keys.retain(|_, (owner, _)| owner != uid);
    }

    /// Returns account and secret of a key.
    pub(crate) async fn find(&self, access_key: &str) -> Result<Option<(S3uid, SecretKey)>, Error> {
        let generation = {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = cache.keys.get(access_key) {
                return Ok(Some(known.clone()));
            }
            cache.generation
        };
        let Some((uid, secret)) = self.index.find_key(access_key).await? else { return Ok(None) };
        let found = (uid, SecretKey::from(secret.expose_secret()));
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.generation == generation {
            if cache.keys.len() >= CACHED_MAX {
                cache.keys.clear();
            }
            cache.keys.insert(access_key.to_owned(), found.clone());
        }
        Ok(Some(found))
    }
}

/// [`Keys`] as s3s asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Auth(pub(crate) std::sync::Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = self.0.find(access_key).await?;
        found.map(|(_, secret)| secret).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}
