//! Which account a key is of, and which buckets an account has, as the engine says. Answers are
//! kept for a while; of each key and each account one question is asked at a time, since one task
//! asks them all.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stowage_engine::{Engine, Error};
use stowage_types::{BucketName, S3uid};
use tokio::time::Instant;

/// How long it is believed that a key is of an account, and a bucket too.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How long it is believed that a key is of nobody, and that an account has no such bucket.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// Longest time a question may take.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Keys, and accounts, that are remembered; beyond that the memory starts anew.
const REMEMBERED_MAX: usize = 10_000;
/// Buckets that are asked for at once.
const PAGE: u32 = 1000;
/// Pages that are asked for at most: what an account has beyond is not named.
const PAGES_MAX: usize = 100;

/// Who pays, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payer {
    /// This account, and its bucket if the request named one of its own; else empty.
    Account(S3uid, String),
    /// The engine knows no account of ours with such a key.
    Nobody,
    /// It is asked again later.
    NotYet,
}

#[derive(Debug)]
struct Remembered<T> {
    what: T,
    asked: Instant,
}

impl<T> Remembered<T> {
    fn new(what: T) -> Self {
        Self { what, asked: Instant::now() }
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.asked.elapsed() < age
    }
}

/// What the engine has said.
#[derive(Debug)]
pub(crate) struct Owners {
    engine: Arc<dyn Engine>,
    keys: Mutex<HashMap<String, Remembered<Option<S3uid>>>>,
    buckets: Mutex<HashMap<S3uid, Remembered<HashSet<String>>>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owners {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, keys: Mutex::default(), buckets: Mutex::default() }
    }

    /// Who pays for requests that a key has signed. `hurry`: what may wait is asked now.
    ///
    /// # Errors
    /// The engine does not say.
    pub(crate) async fn payer(
        &self,
        access_key: &str,
        bucket: Option<&str>,
        hurry: bool,
    ) -> Result<Payer, Error> {
        let Some(uid) = self.owner(access_key).await? else { return Ok(Payer::Nobody) };
        let Some(bucket) = bucket else { return Ok(Payer::Account(uid, String::new())) };
        Ok(match self.has(&uid, bucket, hurry).await? {
            Some(true) => Payer::Account(uid, bucket.to_owned()),
            Some(false) => Payer::Account(uid, String::new()),
            None => Payer::NotYet,
        })
    }

    async fn owner(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        let before = match lock(&self.keys).get(access_key) {
            Some(known) if known.what.is_some() && known.is_younger_than(KNOWN_FOR) => {
                return Ok(known.what.clone());
            }
            Some(known) if known.what.is_none() && known.is_younger_than(UNKNOWN_FOR) => {
                return Ok(None);
            }
            known => known.and_then(|known| known.what.clone()),
        };
        let found = in_time(self.engine.key_owner(access_key)).await?;
        let mut keys = lock(&self.keys);
        forget(&mut keys, KNOWN_FOR);
        keys.insert(access_key.to_owned(), Remembered::new(found.clone()));
        // What was counted until now was taken by the engine: then the key was still there.
        Ok(found.or(before))
    }

    /// Whether the account has the bucket; `None`: it is too early to ask again.
    async fn has(&self, uid: &S3uid, bucket: &str, hurry: bool) -> Result<Option<bool>, Error> {
        if let Some(known) = lock(&self.buckets).get(uid) {
            match known.what.contains(bucket) {
                true if known.is_younger_than(KNOWN_FOR) => return Ok(Some(true)),
                false if known.is_younger_than(UNKNOWN_FOR) && !hurry => return Ok(None),
                _ => {}
            }
        }
        let names = self.list(uid).await?;
        let is_own = names.contains(bucket);
        let mut buckets = lock(&self.buckets);
        forget(&mut buckets, KNOWN_FOR);
        buckets.insert(uid.clone(), Remembered::new(names));
        Ok(Some(is_own))
    }

    async fn list(&self, uid: &S3uid) -> Result<HashSet<String>, Error> {
        let (mut names, mut after) = (HashSet::new(), None::<BucketName>);
        for _ in 0..PAGES_MAX {
            let page = match in_time(self.engine.list_buckets(uid, after.as_ref(), PAGE)).await {
                // It was removed meanwhile.
                Err(Error::NotFound) => break,
                page => page?,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.bucket.clone());
            names.extend(page.into_iter().map(|info| String::from(info.bucket)));
        }
        Ok(names)
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let in_time = tokio::time::timeout(ASK_MAX, asked).await;
    in_time.unwrap_or_else(|_| Err(Error::unavailable("the question takes too long")))
}

/// Makes room. What is old goes first, though it would have been of use where a key is gone.
fn forget<K: Eq + std::hash::Hash, T>(memory: &mut HashMap<K, Remembered<T>>, age: Duration) {
    if memory.len() >= REMEMBERED_MAX {
        memory.retain(|_, known| known.is_younger_than(age));
    }
    if memory.len() >= REMEMBERED_MAX {
        memory.clear();
    }
}
