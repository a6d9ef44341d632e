//! What an account is at this moment.
//!
//! Garage takes some 40 ms of its processor for each call of the Admin API, since it compares the
//! token by a hash that is meant to be slow. So what there is is read from the two lists of all
//! keys and all buckets, and one call for each bucket of the account; keys are asked for by
//! themselves only where their secret is needed.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::Error;
use stowage_engine_remote::{ASKED_AT_ONCE, Fault};
use stowage_types::S3uid;

use crate::garage::Garage;
use crate::record::{Record, Role, is_steward, steward_id};
use crate::wire::{Bucket, Key, ListedBucket, ListedKey};

/// All keys and buckets, ours or not.
pub(crate) struct Lists {
    pub(crate) keys: Vec<ListedKey>,
    pub(crate) buckets: Vec<ListedBucket>,
}

/// Whose steward of a uid there is.
pub(crate) enum Found {
    Nobody,
    Ours(Record),
    /// The account was removed; the key stays for a while, so that its deletions can be told.
    Removed(Record),
    /// Another installation's, or somebody has renamed it.
    Foreign,
}

/// A key of the customer's.
pub(crate) struct CustomerKey {
    pub(crate) id: String,
    pub(crate) expired: bool,
    /// Whether it may make buckets.
    pub(crate) creates: bool,
}

/// An account with all that it has.
pub(crate) struct Account {
    pub(crate) uid: S3uid,
    pub(crate) steward: String,
    pub(crate) record: Record,
    /// By id.
    pub(crate) keys: Vec<CustomerKey>,
    /// Those that its steward has a name for, and those that only a customer's key has.
    pub(crate) buckets: Vec<Bucket>,
}

/// What a refusal means to whoever has just seen that it is there: another was faster.
pub(crate) fn lost(fault: Fault) -> Error {
    match Error::from(fault) {
        Error::NotFound => Error::Conflict,
        error => error,
    }
}

impl Lists {
    /// Ids of the buckets that one of these keys has a name for.
    fn named_by(&self, keys: &[&str]) -> Vec<&str> {
        let is_named = |bucket: &&ListedBucket| {
            let mut aliases = bucket.local_aliases.iter();
            aliases.any(|local| keys.contains(&local.access_key_id.as_str()))
        };
        self.buckets.iter().filter(is_named).map(|bucket| bucket.id.as_str()).collect()
    }
}

impl Account {
    /// Its buckets with their names. One that a customer has just made is none of them.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Bucket, &str)> {
        let named = |bucket| Some((bucket, Bucket::alias(bucket, &self.steward)?));
        self.buckets.iter().filter_map(named)
    }

    /// Whether a key calls another bucket so.
    pub(crate) fn is_taken(&self, key: &str, name: &str, id: &str) -> bool {
        self.buckets.iter().any(|bucket| {
            let named =
                |own: &crate::wire::Holder| own.bucket_local_aliases.iter().any(|a| a == name);
            bucket.id != id && bucket.holder(key).is_some_and(named)
        })
    }
}

impl Garage {
    pub(crate) async fn lists(&self) -> Result<Lists, Error> {
        let (keys, buckets) = tokio::try_join!(self.admin.keys(), self.admin.buckets())?;
        Ok(Lists { keys, buckets })
    }

    /// Looks for the steward of an account.
    pub(crate) fn look(&self, uid: &S3uid, keys: &[ListedKey]) -> Found {
        let id = steward_id(uid);
        let Some(key) = keys.iter().find(|key| key.id == id) else {
            return Found::Nobody;
        };
        self.found(uid, &id, &key.name)
    }

    fn found(&self, uid: &S3uid, id: &str, name: &str) -> Found {
        match self.names.read(id, name) {
            Some((_, Role::Steward(record))) if record.removed.is_some() => Found::Removed(record),
            Some((_, Role::Steward(record))) => Found::Ours(record),
            _ => {
                tracing::error!(account = %uid, "Garage has a key {id} that is not ours");
                Found::Foreign
            }
        }
    }

    /// Our steward of an account, with its secret.
    pub(crate) async fn steward(&self, uid: &S3uid) -> Result<Key, Error> {
        let key = self.admin.key(&steward_id(uid), true).await?.ok_or(Error::NotFound)?;
        match self.found(uid, &key.access_key_id, &key.name) {
            Found::Ours(_) => Ok(key),
            Found::Nobody | Found::Removed(_) | Found::Foreign => Err(Error::NotFound),
        }
    }

    /// A key by an id that somebody has given us.
    pub(crate) async fn known_key(&self, id: &str) -> Result<Option<Key>, Error> {
        // Garage's own are letters and digits; of others it says that they are malformed.
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            return Ok(None);
        }
        Ok(self.admin.key(id, false).await?)
    }

    /// Whose customer's key it is. Our own keys are of nobody: what we do costs no customer.
    pub(crate) async fn owner_of_key(&self, id: &str) -> Result<Option<S3uid>, Error> {
        let Some(key) = self.known_key(id).await? else { return Ok(None) };
        Ok(match self.names.read(&key.access_key_id, &key.name) {
            Some((uid, Role::Customer { .. })) => Some(uid),
            _ => None,
        })
    }

    /// An account with all that it has, of what the lists say.
    pub(crate) async fn account(&self, uid: &S3uid, lists: &Lists) -> Result<Account, Error> {
        let Found::Ours(record) = self.look(uid, &lists.keys) else {
            return Err(Error::NotFound);
        };
        let (steward, keys) = (steward_id(uid), self.customer_keys(uid, &lists.keys));
        let mut holders: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        holders.push(&steward);
        let asked = lists.named_by(&holders).into_iter().map(|id| self.admin.bucket(id));
        let asked: Vec<_> = asked.collect();
        let buckets = stream::iter(asked).buffered(ASKED_AT_ONCE);
        let buckets: Vec<Option<Bucket>> = buckets.try_collect().await?;
        // One that another account has let our key into is not ours.
        let is_ours = |bucket: &Bucket| {
            !bucket.keys.iter().any(|holder| {
                holder.access_key_id != steward
                    && is_steward(&holder.access_key_id)
                    && !holder.bucket_local_aliases.is_empty()
            })
        };
        let buckets = buckets.into_iter().flatten().filter(is_ours).collect();
        Ok(Account { uid: uid.clone(), steward, record, keys, buckets })
    }

    /// The customer's keys, by id.
    pub(crate) fn customer_keys(&self, uid: &S3uid, keys: &[ListedKey]) -> Vec<CustomerKey> {
        let own = keys.iter().filter_map(|key| match self.names.read(&key.id, &key.name)? {
            (of, Role::Customer { creates }) if of == *uid => {
                Some(CustomerKey { id: key.id.clone(), expired: key.expired, creates })
            }
            _ => None,
        });
        let mut own: Vec<_> = own.collect();
        own.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        own
    }
}
