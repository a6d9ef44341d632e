//! Making an account be what its record says, and following what its customer did over S3.
//!
//! Garage has rights and names for each key and bucket, so all of them are kept in step here. What
//! shuts comes before what opens. A pass that has changed something is followed by another, so
//! that whoever changes something last has seen the last record.

use std::collections::BTreeSet;

use stowage_engine::{AccountAccess, Error};
use stowage_engine_remote::BackOff;
use stowage_types::S3uid;

use crate::garage::Garage;
use crate::look::{Account, CustomerKey, Lists, lost};
use crate::record::Record;
use crate::wire::{Bucket, KeyChange, KeyPermissions, Permissions, Quotas};

/// A key that expired then opens nothing.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
/// Characters of a bucket's id that tell it from another of its name.
const TELLING: usize = 8;
/// Longest name of a bucket.
const NAME_MAX: usize = 63;

/// A bucket of an account.
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) info: Bucket,
}

/// An account that is as it should be.
pub(crate) struct Settled {
    pub(crate) record: Record,
    /// Ids of the customer's keys, in order.
    pub(crate) keys: Vec<String>,
    /// By name.
    pub(crate) buckets: Vec<Held>,
}

impl Settled {
    fn of(account: Account) -> Self {
        let Account { steward, record, keys, buckets, .. } = account;
        let held = buckets.into_iter().filter_map(|info| {
            let name = info.alias(&steward)?.to_owned();
            Some(Held { name, info })
        });
        let mut buckets: Vec<_> = held.collect();
        buckets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { record, keys: keys.into_iter().map(|key| key.id).collect(), buckets }
    }

    pub(crate) fn bucket(&self, name: &str) -> Option<&Held> {
        self.buckets.iter().find(|held| held.name == name)
    }
}

impl Garage {
    /// Looks at an account and mends it until there is nothing to mend. Whoever calls it holds the
    /// account's lock. `known`: what there was a moment ago, if the caller has just seen it.
    pub(crate) async fn settle(
        &self,
        uid: &S3uid,
        mut known: Option<&Lists>,
    ) -> Result<Settled, Error> {
        let mut back_off = BackOff::new(&self.random);
        loop {
            let mended = match known.take() {
                Some(lists) => self.mend(uid, lists).await,
                None => self.mend(uid, &self.lists().await?).await,
            };
            match mended {
                Ok(Some(settled)) => return Ok(settled),
                Ok(None) | Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    /// One pass; `None`: something has changed.
    async fn mend(&self, uid: &S3uid, lists: &Lists) -> Result<Option<Settled>, Error> {
        let account = self.account(uid, lists).await?;
        let mut changed = self.shut(&account).await?;
        changed |= self.adopt(&account).await?;
        changed |= self.follow_deletions(&account).await?;
        if changed {
            return Ok(None);
        }
        changed |= self.bound(&account).await?;
        changed |= self.grant(&account).await?;
        changed |= self.open(&account).await?;
        Ok((!changed).then(|| Settled::of(account)))
    }

    /// Takes from keys what they may no more.
    async fn shut(&self, account: &Account) -> Result<bool, Error> {
        let is_suspended = account.record.access() == AccountAccess::Suspended;
        let may_create = may_create(account);
        let mut changed = false;
        for key in &account.keys {
            let (expires, denies) = (is_suspended && !key.expired, !may_create && key.creates);
            if expires || denies {
                let change = KeyChange {
                    name: denies.then(|| self.names.customer(&account.uid, false)),
                    expiration: expires.then_some(LONG_AGO),
                    deny: denies.then_some(KeyPermissions { create_bucket: true }),
                    ..KeyChange::default()
                };
                self.admin.change_key(&key.id, &change).await.map_err(lost)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Lets a key open nothing from now on, neither make a bucket.
    pub(crate) async fn shut_key(&self, uid: &S3uid, id: &str) -> Result<(), Error> {
        let change = KeyChange {
            name: Some(self.names.customer(uid, false)),
            expiration: Some(LONG_AGO),
            deny: Some(KeyPermissions { create_bucket: true }),
            ..KeyChange::default()
        };
        self.admin.change_key(id, &change).await.map_err(lost)
    }

    /// Makes buckets the account's that a customer has made over S3: they are only his key's.
    pub(crate) async fn adopt(&self, account: &Account) -> Result<bool, Error> {
        let mut names: BTreeSet<String> =
            account.named().map(|(_, name)| name.to_owned()).collect();
        let mut changed = false;
        for bucket in &account.buckets {
            let alias = account.keys.iter().find_map(|key| bucket.alias(&key.id));
            let Some(alias) = alias.filter(|_| bucket.alias(&account.steward).is_none()) else {
                continue;
            };
            let mut name = alias.to_owned();
            if !names.insert(name.clone()) {
                // Two keys of the account have each made one of this name. Both are kept.
                name = told_apart(alias, &bucket.id);
                tracing::warn!(account = %account.uid, bucket = %name, "two buckets had one name");
            }
            self.admin.name(&bucket.id, &account.steward, &name).await.map_err(lost)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Deletes buckets that a customer has deleted over S3. Garage takes the name from his key and
    /// keeps the bucket, since it has other names, and even if it is full: then it comes back.
    async fn follow_deletions(&self, account: &Account) -> Result<bool, Error> {
        let mut changed = false;
        for (bucket, name) in account.named() {
            // Rights come after names, so rights without a name are what is left of one.
            let is_unnamed = |key: &CustomerKey| {
                let holder = bucket.holder(&key.id);
                holder.is_some_and(|holder| {
                    holder.permissions.read && holder.bucket_local_aliases.is_empty()
                }) && !account.is_taken(&key.id, name, &bucket.id)
            };
            if account.keys.iter().any(is_unnamed) {
                match self.end_bucket(&account.uid, &bucket.id, name).await {
                    Ok(()) => changed = true,
                    Err(Error::NotEmpty) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(changed)
    }

    /// Bounds each bucket by its own quota and by what the others leave of the account's.
    async fn bound(&self, account: &Account) -> Result<bool, Error> {
        let mut changed = false;
        for (bucket, _) in account.named() {
            let wanted = quotas_of(&account.record, bucket, &account.buckets);
            if wanted != bucket.quotas {
                self.admin.set_quotas(&bucket.id, wanted).await.map_err(lost)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Gives every key every bucket, by its name and with the account's rights.
    async fn grant(&self, account: &Account) -> Result<bool, Error> {
        let wanted = match account.record.access() {
            AccountAccess::ReadOnly => Permissions::READ,
            AccountAccess::Full | AccountAccess::Suspended => Permissions::ALL,
        };
        let mut changed = false;
        for (bucket, name) in account.named() {
            let steward = &account.steward;
            changed |= self.grant_one((bucket, name), steward, Permissions::ALL).await?;
            for key in &account.keys {
                // One that calls another bucket so keeps that.
                if !account.is_taken(&key.id, name, &bucket.id) {
                    changed |= self.grant_one((bucket, name), &key.id, wanted).await?;
                }
            }
        }
        Ok(changed)
    }

    async fn grant_one(
        &self,
        (bucket, name): (&Bucket, &str),
        key: &str,
        wanted: Permissions,
    ) -> Result<bool, Error> {
        let id = &bucket.id;
        let holder = bucket.holder(key);
        let is_named =
            holder.is_some_and(|holder| holder.bucket_local_aliases.iter().any(|a| a == name));
        if !is_named {
            self.admin.name(id, key, name).await.map_err(lost)?;
        }
        let has = holder.map(|holder| holder.permissions).unwrap_or_default();
        let (more, less) = (wanted.without(has), has.without(wanted));
        if !less.is_none() {
            self.admin.deny(id, key, less).await.map_err(lost)?;
        }
        if !more.is_none() {
            self.admin.allow(id, key, more).await.map_err(lost)?;
        }
        Ok(!is_named || !less.is_none() || !more.is_none())
    }

    /// Gives keys what they may.
    async fn open(&self, account: &Account) -> Result<bool, Error> {
        let is_suspended = account.record.access() == AccountAccess::Suspended;
        let may_create = may_create(account);
        let mut changed = false;
        for key in &account.keys {
            let (revives, allows) = (!is_suspended && key.expired, may_create && !key.creates);
            if revives || allows {
                let change = KeyChange {
                    name: allows.then(|| self.names.customer(&account.uid, true)),
                    never_expires: revives,
                    allow: allows.then_some(KeyPermissions { create_bucket: true }),
                    ..KeyChange::default()
                };
                self.admin.change_key(&key.id, &change).await.map_err(lost)?;
                changed = true;
            }
        }
        Ok(changed)
    }
}

/// Whether the customer may make a bucket over S3. Garage does not count them, so the right is
/// given while there are fewer than the limit.
fn may_create(account: &Account) -> bool {
    let is_full = account.record.access() == AccountAccess::Full;
    is_full && account.record.allows_bucket(account.buckets.len())
}

fn quotas_of(record: &Record, bucket: &Bucket, all: &[Bucket]) -> Quotas {
    let others = || all.iter().filter(|other| other.id != bucket.id);
    // Parts of its own unfinished uploads are not told apart from the objects they will be.
    let bytes = others().fold(0_u64, |sum, other| {
        sum.saturating_add(other.bytes).saturating_add(other.unfinished_multipart_upload_bytes)
    });
    let objects = others().fold(0_u64, |sum, other| sum.saturating_add(other.objects));
    let (own, whole) = (record.own_quota(&bucket.id), record.quota());
    Quotas {
        max_size: lesser(own.bytes, whole.bytes.map(|whole| whole.saturating_sub(bytes))),
        max_objects: lesser(own.objects, whole.objects.map(|whole| whole.saturating_sub(objects))),
    }
}

/// `None` is no bound.
fn lesser(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// A name like `alias` that no other bucket has.
fn told_apart(alias: &str, id: &str) -> String {
    let telling: String = id.chars().take(TELLING).collect();
    let kept: String = alias.chars().take(NAME_MAX - 1 - TELLING).collect();
    format!("{}-{telling}", kept.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use stowage_engine::{AccountSpec, Quota};
    use stowage_types::BucketName;

    use super::*;

    fn bucket(id: &str, bytes: u64, objects: u64, unfinished: u64) -> Bucket {
        Bucket {
            id: id.to_owned(),
            created: String::new(),
            global_aliases: Vec::new(),
            keys: Vec::new(),
            objects,
            bytes,
            unfinished_multipart_upload_bytes: unfinished,
            quotas: Quotas::default(),
        }
    }

    #[test]
    fn a_bucket_may_have_what_the_others_leave() {
        let uid = S3uid::parse("0123456789abcdef0123456789abcdef").unwrap();
        let all = [bucket("a", 40, 2, 5), bucket("b", 30, 1, 10), bucket("c", 0, 0, 0)];
        let quotas = |quota, own: Quota| {
            let mut spec = AccountSpec::new(uid.clone(), Vec::new());
            spec.quota = quota;
            let mut record = Record::of(&spec);
            record.set_own_quota("b", own, &["a", "b", "c"]);
            let quotas = all.iter().map(|bucket| quotas_of(&record, bucket, &all));
            quotas.map(|quotas| (quotas.max_size, quotas.max_objects)).collect::<Vec<_>>()
        };
        let none = Quota::default();
        let both = |bytes, objects| Quota { bytes: Some(bytes), objects: Some(objects) };
        assert_eq!(quotas(none, none), [(None, None); 3]);
        let left = [(Some(60), Some(9)), (Some(55), Some(8)), (Some(15), Some(7))];
        assert_eq!(quotas(both(100, 10), none), left);
        let own = [(None, None), (Some(7), None), (None, None)];
        assert_eq!(quotas(none, Quota::bytes(7)), own);
        let least = [(Some(60), Some(9)), (Some(33), Some(8)), (Some(15), Some(7))];
        assert_eq!(quotas(both(100, 10), Quota::bytes(33)), least);
        // Above the quota nothing is left, in whichever bucket.
        let over = [(Some(0), Some(0)), (Some(0), Some(0)), (Some(0), Some(0))];
        assert_eq!(quotas(both(40, 1), none)[2], over[2]);
    }

    #[test]
    fn a_second_bucket_of_a_name_gets_one_that_s3_takes() {
        for alias in ["abc".to_owned(), "x".repeat(63), format!("{}-yyyyyyyyy", "x".repeat(53))] {
            let name = told_apart(&alias, "0123456789abcdef");
            assert!(name.ends_with("-01234567") && BucketName::new(&name).is_ok(), "{name}");
        }
    }
}
