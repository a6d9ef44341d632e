//! Accounts: a steward, and the keys that are the customer's.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use stowage_engine::{AccountAccess, AccountInfo, AccountSpec, Error, KeyPair};
use stowage_engine_remote::{BackOff, Fault, until_won};
use stowage_types::S3uid;

use crate::garage::Garage;
use crate::look::{Found, lost};
use crate::record::{Record, Role, steward_id};
use crate::wire::{KeyChange, ListedKey};

/// Accounts of one answer.
const ACCOUNTS_MAX: u32 = 1000;
/// Bytes of a secret that nobody is told.
const SECRET_BYTES: usize = 32;

impl Garage {
    pub(crate) async fn make_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        let _turn = self.locks.hold(&spec.uid).await;
        until_won(&self.random, || self.try_make(spec)).await
    }

    /// What is refused is refused before anything is changed, but for a key whose id is burnt:
    /// only Garage knows that, when it is asked to take it.
    async fn try_make(&self, spec: &AccountSpec) -> Result<(), Error> {
        let uid = &spec.uid;
        let listed = self.admin.keys().await?;
        self.check_holders(spec, &listed)?;
        let had = match self.look(uid, &listed) {
            Found::Foreign => return Err(Error::AlreadyExists),
            Found::Nobody => None,
            Found::Ours(record) | Found::Removed(record) => Some(record),
        };
        let own: Vec<_> = self.customer_keys(uid, &listed).into_iter().map(|key| key.id).collect();
        self.check_secrets(spec, &own).await?;
        let wanted = had.as_ref().map_or_else(|| Record::of(spec), |had| had.changed_to(spec));
        if had.is_none() {
            self.import_own(&steward_id(uid), &self.names.steward(uid, &wanted)?).await?;
        }
        for key in spec.keys.iter().filter(|key| !own.contains(&key.access_key)) {
            self.import(uid, key).await?;
        }
        if had.is_some_and(|had| had != wanted) {
            self.write_record(uid, &wanted).await?;
        }
        let is_wanted = |id: &String| spec.keys.iter().any(|key| key.access_key == *id);
        let unwanted: Vec<String> = own.into_iter().filter(|id| !is_wanted(id)).collect();
        self.retire(uid, &unwanted).await?;
        let settled = self.settle(uid, None).await?;
        let mut keys: Vec<_> = spec.keys.iter().map(|key| key.access_key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        // Another process has changed it meanwhile.
        let is_met = settled.record == wanted && settled.keys == keys;
        if is_met { Ok(()) } else { Err(Error::Conflict) }
    }

    pub(crate) async fn change_access(
        &self,
        uid: &S3uid,
        access: AccountAccess,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let mut back_off = BackOff::new(&self.random);
        loop {
            let settled = self.settle(uid, None).await?;
            if settled.record.access() == access {
                return Ok(());
            }
            let mut record = settled.record;
            record.set_access(access);
            self.write_record(uid, &record).await?;
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    /// Refuses keys that somebody else has.
    fn check_holders(&self, spec: &AccountSpec, listed: &[ListedKey]) -> Result<(), Error> {
        let is_anothers = |key: &ListedKey| {
            spec.keys.iter().any(|own| own.access_key == key.id)
                && !matches!(
                    self.names.read(&key.id, &key.name),
                    Some((uid, Role::Customer { .. })) if uid == spec.uid
                )
        };
        if listed.iter().any(is_anothers) { Err(Error::AlreadyExists) } else { Ok(()) }
    }

    /// Refuses a key that the account has with another secret: Garage changes none.
    async fn check_secrets(&self, spec: &AccountSpec, own: &[String]) -> Result<(), Error> {
        for wanted in spec.keys.iter().filter(|key| own.contains(&key.access_key)) {
            let had = self.admin.key(&wanted.access_key, true).await?;
            let secret = had.and_then(|key| key.secret_access_key).ok_or(Error::Conflict)?;
            if secret.expose_secret() != wanted.secret_key.expose_secret() {
                let why = format!("the secret of {} cannot be changed", wanted.access_key);
                return Err(Error::Invalid { why });
            }
        }
        Ok(())
    }

    async fn import(&self, uid: &S3uid, key: &KeyPair) -> Result<(), Error> {
        let (id, name) = (&key.access_key, self.names.customer(uid, false));
        match self.admin.import_key(id, &key.secret_key, &name).await {
            Err(fault) if fault.code() == "KeyAlreadyExists" => {
                // Another was faster, perhaps an attempt of ours that was cut off; or it is burnt.
                match self.admin.key(id, false).await? {
                    Some(_) => Err(Error::Conflict),
                    None => Err(Error::Invalid { why: format!("{id} was deleted once") }),
                }
            }
            imported => Ok(imported?),
        }
    }

    /// Makes a key of our own, whose secret is told to nobody.
    pub(crate) async fn import_own(&self, id: &str, name: &str) -> Result<(), Error> {
        let mut bytes = [0; SECRET_BYTES];
        self.random.fill(&mut bytes);
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.admin.import_key(id, &SecretString::from(secret), name).await {
            Err(fault) if fault.code() == "KeyAlreadyExists" => {
                // It was deleted, long after its account was removed: the id is burnt.
                let is_there = self.admin.key(id, false).await?.is_some();
                Err(if is_there { Error::Conflict } else { Error::AlreadyExists })
            }
            imported => Ok(imported?),
        }
    }

    pub(crate) async fn write_record(&self, uid: &S3uid, record: &Record) -> Result<(), Error> {
        let name = self.names.steward(uid, record)?;
        self.rename(&steward_id(uid), name).await.map_err(lost)
    }

    pub(crate) async fn rename(&self, id: &str, name: String) -> Result<(), Fault> {
        let change = KeyChange { name: Some(name), ..KeyChange::default() };
        self.admin.change_key(id, &change).await
    }

    /// Deletes keys. They are shut first, and what only they have is made the account's: a bucket
    /// that no key has a name for is lost.
    pub(crate) async fn retire(&self, uid: &S3uid, unwanted: &[String]) -> Result<(), Error> {
        if unwanted.is_empty() {
            return Ok(());
        }
        for id in unwanted {
            self.shut_key(uid, id).await?;
        }
        let account = self.account(uid, &self.lists().await?).await?;
        if self.adopt(&account).await? {
            return Err(Error::Conflict);
        }
        for id in unwanted {
            self.admin.delete_key(id).await?;
        }
        Ok(())
    }

    /// Garage lists all keys at once, in the order of their ids, and ours are named by their uids.
    pub(crate) async fn accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        let max = usize::try_from(max.min(ACCOUNTS_MAX)).unwrap_or(0);
        let lists = self.lists().await?;
        let mut infos = BTreeMap::new();
        let mut keys: BTreeMap<S3uid, Vec<String>> = BTreeMap::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for local in lists.buckets.iter().flat_map(|bucket| &bucket.local_aliases) {
            *counts.entry(&local.access_key_id).or_default() += 1;
        }
        for key in &lists.keys {
            match self.names.read(&key.id, &key.name) {
                Some((uid, Role::Steward(record))) if record.removed.is_none() => {
                    let bucket_count = counts.get(key.id.as_str()).copied().unwrap_or(0);
                    infos.insert(uid, (record, bucket_count));
                }
                Some((uid, Role::Customer { .. })) => {
                    keys.entry(uid).or_default().push(key.id.clone());
                }
                _ => {}
            }
        }
        let page = infos.into_iter().filter(|(uid, _)| after.is_none_or(|after| uid > after));
        let page = page.take(max).map(|(uid, (record, bucket_count))| {
            let mut access_keys = keys.remove(&uid).unwrap_or_default();
            access_keys.sort_unstable();
            let (quota, access) = (record.quota(), record.access());
            let bucket_max = record.bucket_max;
            AccountInfo { uid, access_keys, quota, bucket_max, access, bucket_count }
        });
        Ok(page.collect())
    }
}
