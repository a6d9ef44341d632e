//! Keys that were there before, and become an account.
//!
//! Garage knows no customers. Who is no account of ours is keys that share buckets ([`Group`]),
//! called by the first of them. What it takes for them to be an account is done in an order that
//! leaves nothing half shut: first each key gets a name of its own for each bucket (rights without
//! one mean that its customer has deleted it), then there is a steward that knows which keys they
//! are, then these are renamed, and the rest is what is done for every account.

use std::collections::BTreeMap;

use stowage_engine::{AccountAccess, Adopted, Error, Foreign, KeyPair, Quota};
use stowage_engine_remote::{page_of, until_won};
use stowage_types::S3uid;

use crate::garage::Garage;
use crate::group::Group;
use crate::look::{Found, lost};
use crate::record::{Record, Role, is_own, steward_id};
use crate::settle::Held;
use crate::wire::{ListedKey, Permissions, Quotas};

/// Of one answer: each takes calls of its own.
const FOREIGN_MAX: u32 = 100;

impl Garage {
    pub(crate) async fn foreign(
        &self,
        after: Option<&str>,
        max: u32,
    ) -> Result<Vec<Foreign>, Error> {
        let mut keys = self.admin.keys().await?;
        keys.retain(|key| self.is_foreign(&key.id, &key.name));
        let ids = keys.into_iter().map(|key| key.id).collect();
        let page = (after, max.min(FOREIGN_MAX));
        page_of(ids, page, async |id: String| self.foreign_named(&id).await).await
    }

    /// `None`: it is ours, or not there, or not what it is called with those that it shares with.
    pub(crate) async fn foreign_named(&self, id: &str) -> Result<Option<Foreign>, Error> {
        if is_own(id) {
            return Ok(None);
        }
        let Some(group) = self.group_of(id).await? else { return Ok(None) };
        let is_ours = group.keys.get(id).is_none_or(|key| !self.is_foreign(id, &key.name));
        if is_ours || group.name() != Some(id) {
            return Ok(None);
        }
        let obstacle = self.obstacle(&group);
        let mut names: Vec<_> =
            group.keys.values().map(|key| key.name.as_str()).filter(|n| !n.is_empty()).collect();
        names.dedup();
        let display_name = names.join(", ");
        let called = |bucket| group.name_of(bucket).map(str::to_owned);
        let mut buckets: Vec<_> = group.buckets.values().filter_map(called).collect();
        buckets.sort_unstable();
        Ok(Some(Foreign {
            name: id.to_owned(),
            uid: None,
            display_name,
            email: String::new(),
            access_keys: group.keys.keys().cloned().collect(),
            quota: Quota::default(),
            bucket_max: bucket_max_of(&group),
            access: AccountAccess::Full,
            buckets,
            obstacle,
        }))
    }

    pub(crate) async fn take_over(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_take_over(name, uid)).await
    }

    async fn try_take_over(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        let listed = self.admin.keys().await?;
        let record = match self.look(uid, &listed) {
            Found::Ours(record) if record.was.contains_key(name) => record,
            Found::Ours(_) | Found::Foreign => return Err(Error::AlreadyExists),
            had @ (Found::Removed(_) | Found::Nobody) => {
                let is_new = matches!(had, Found::Nobody);
                self.begin_adoption(name, uid, is_new).await?
            }
        };
        for id in record.was.keys() {
            self.make_customers(uid, id, &listed).await?;
        }
        let settled = self.settle(uid, None).await?;
        let mut keys = Vec::new();
        for id in &settled.keys {
            let key = self.admin.key(id, true).await?;
            let secret_key = key.and_then(|key| key.secret_access_key).ok_or(Error::Conflict)?;
            keys.push(KeyPair { access_key: id.clone(), secret_key });
        }
        let (quota, access) = (settled.record.quota(), settled.record.access());
        Ok(Adopted { keys, quota, bucket_max: settled.record.bucket_max, access })
    }

    /// Gives every key its own names, and the account its steward.
    async fn begin_adoption(&self, name: &str, uid: &S3uid, is_new: bool) -> Result<Record, Error> {
        let group = match self.group_of(name).await? {
            Some(group) if !is_own(name) => group,
            _ => return Err(Error::NotFound),
        };
        if group.keys.get(name).is_some_and(|key| !self.is_foreign(name, &key.name)) {
            return Err(Error::AlreadyExists);
        }
        if group.name() != Some(name) {
            return Err(Error::NotFound);
        }
        if let Some(why) = self.obstacle(&group) {
            return Err(Error::Invalid { why });
        }
        for bucket in group.buckets.values() {
            let called = group.name_of(bucket).ok_or(Error::Conflict)?;
            let is_unnamed = |id: &&String| bucket.alias(id).is_none();
            for id in group.keys.keys().filter(is_unnamed) {
                self.admin.name(&bucket.id, id, called).await.map_err(lost)?;
            }
        }
        let record = record_of(uid, &group);
        match is_new {
            true => self.import_own(&steward_id(uid), &self.names.steward(uid, &record)?).await?,
            false => self.write_record(uid, &record).await?,
        }
        Ok(record)
    }

    /// Names a key as one of the account's customer, unless it is so named, or gone.
    async fn make_customers(
        &self,
        uid: &S3uid,
        id: &str,
        listed: &[ListedKey],
    ) -> Result<(), Error> {
        let is_named = listed.iter().any(|key| {
            key.id == *id
                && matches!(
                    self.names.read(&key.id, &key.name),
                    Some((of, Role::Customer { .. })) if of == *uid
                )
        });
        if is_named {
            return Ok(());
        }
        let Some(key) = self.admin.key(id, false).await? else { return Ok(()) };
        let name = self.names.customer(uid, key.permissions.create_bucket);
        self.rename(id, name).await.map_err(lost)
    }

    pub(crate) async fn give_up(&self, uid: &S3uid) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_give_up(uid)).await
    }

    /// Its keys keep their buckets by their own names. The steward stays as one of an account that
    /// was removed: its id could never be used again.
    async fn try_give_up(&self, uid: &S3uid) -> Result<(), Error> {
        let listed = self.admin.keys().await?;
        let Found::Ours(mut record) = self.look(uid, &listed) else { return Ok(()) };
        let settled = self.settle(uid, None).await?;
        for Held { name, info } in &settled.buckets {
            let own = record.own_quota(&info.id);
            let quotas = Quotas { max_size: own.bytes, max_objects: own.objects };
            self.admin.set_quotas(&info.id, quotas).await.map_err(lost)?;
            let steward = steward_id(uid);
            self.admin.deny(&info.id, &steward, Permissions::ALL).await.map_err(lost)?;
            self.admin.unname(&info.id, &steward, name).await.map_err(lost)?;
        }
        for id in &settled.keys {
            let name = record.was.get(id).cloned().unwrap_or_else(|| self.names.released());
            self.rename(id, name).await.map_err(lost)?;
        }
        // Another process may have mended what it saw before.
        let steward = self.admin.key(&steward_id(uid), false).await?.ok_or(Error::Conflict)?;
        if steward.buckets.iter().any(|bucket| !bucket.local_aliases.is_empty()) {
            return Err(Error::Conflict);
        }
        record.removed = Some(self.clock.now().unix_timestamp());
        self.write_record(uid, &record).await
    }
}

/// A key that may not make buckets stays so: then there are as many as there may be.
fn bucket_max_of(group: &Group) -> Option<u32> {
    let may_create = group.keys.values().any(|key| key.permissions.create_bucket);
    let count = u32::try_from(group.buckets.len()).unwrap_or(u32::MAX);
    (!may_create).then_some(count)
}

fn record_of(uid: &S3uid, group: &Group) -> Record {
    let mut spec = stowage_engine::AccountSpec::new(uid.clone(), Vec::new());
    spec.bucket_max = bucket_max_of(group);
    let mut record = Record::of(&spec);
    let names: BTreeMap<_, _> =
        group.keys.iter().map(|(id, key)| (id.clone(), key.name.clone())).collect();
    record.was = names;
    let live: Vec<_> = group.buckets.keys().map(String::as_str).collect();
    for (id, bucket) in &group.buckets {
        let quota = Quota { bytes: bucket.quotas.max_size, objects: bucket.quotas.max_objects };
        record.set_own_quota(id, quota, &live);
    }
    record
}
