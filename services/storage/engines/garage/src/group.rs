//! Keys that share buckets: what one account would be.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use stowage_engine::Error;
use stowage_engine_remote::ASKED_AT_ONCE;
use stowage_types::{BucketName, S3uid};

use crate::garage::Garage;
use crate::record::is_own;
use crate::wire::{Bucket, Holder, Key};

/// Keys of one account.
const KEYS_MAX: usize = 20;
/// Buckets of one account that is adopted: each is asked for by itself.
const BUCKETS_MAX: usize = 1000;

/// Keys, and all buckets that any of them has.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// By id.
    pub(crate) keys: BTreeMap<String, Key>,
    /// By id.
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// Whether there are more than may be.
    is_cut: bool,
}

/// Whether it may do anything in a bucket, or calls it by a name of its own.
fn has_any(holder: &Holder) -> bool {
    !holder.permissions.is_none() || !holder.bucket_local_aliases.is_empty()
}

impl Garage {
    /// A key with all others that share buckets with it, and those that share buckets with these;
    /// `None`: there is no such key.
    pub(crate) async fn group_of(&self, id: &str) -> Result<Option<Group>, Error> {
        let Some(first) = self.known_key(id).await? else { return Ok(None) };
        let mut group = Group::default();
        let mut unseen = BTreeSet::new();
        self.widen(&mut group, &mut unseen, first).await?;
        while let Some(id) = unseen.pop_first() {
            if group.is_cut || group.keys.len() >= KEYS_MAX {
                group.is_cut = true;
                break;
            }
            if let Some(key) = self.admin.key(&id, false).await? {
                self.widen(&mut group, &mut unseen, key).await?;
            }
        }
        Ok(Some(group))
    }

    /// Adds a key and its buckets, and notes who else has those.
    async fn widen(
        &self,
        group: &mut Group,
        unseen: &mut BTreeSet<String>,
        key: Key,
    ) -> Result<(), Error> {
        let mut new: Vec<&str> = key.buckets.iter().map(|granted| granted.id.as_str()).collect();
        new.retain(|id| !group.buckets.contains_key(*id));
        let room = BUCKETS_MAX.saturating_sub(group.buckets.len());
        group.is_cut |= new.len() > room;
        let asked: Vec<_> = new.into_iter().take(room).map(|id| self.admin.bucket(id)).collect();
        let mut asked = stream::iter(asked).buffered(ASKED_AT_ONCE);
        while let Some(bucket) = asked.next().await {
            let Some(bucket) = bucket? else { continue };
            if !bucket.holder(&key.access_key_id).is_some_and(has_any) {
                continue;
            }
            let holders = bucket.keys.iter().filter(|holder| has_any(holder));
            unseen.extend(holders.map(|holder| holder.access_key_id.clone()));
            group.buckets.insert(bucket.id.clone(), bucket);
        }
        drop(asked);
        group.keys.insert(key.access_key_id.clone(), key);
        unseen.retain(|id| !group.keys.contains_key(id));
        Ok(())
    }

    /// Whether it is no key of ours.
    pub(crate) fn is_foreign(&self, id: &str, name: &str) -> bool {
        !is_own(id) && self.names.read(id, name).is_none()
    }

    /// What of it an account could not have, so that something would be lost or opened.
    pub(crate) fn obstacle(&self, group: &Group) -> Option<String> {
        if group.is_cut {
            return Some(
                "it shares buckets with more keys, or has more, than are looked at".into(),
            );
        }
        let keys = || group.keys.values();
        if let Some(key) = keys().find(|key| !self.is_foreign(&key.access_key_id, &key.name)) {
            let id = &key.access_key_id;
            return Some(format!("it shares a bucket with {id}, which is an account's"));
        }
        if let Some(key) = keys().find(|key| key.expiration.is_some()) {
            return Some(format!("key {} expires", key.access_key_id));
        }
        if let Some(key) = keys().find(|key| ends_with_uid(&key.name)) {
            let name = &key.name;
            return Some(format!("it is another installation's account: {name:?}"));
        }
        group.obstacle_of_buckets()
    }
}

/// As the keys of an installation with another marker are named.
fn ends_with_uid(name: &str) -> bool {
    let name = name.trim_end_matches(" creates buckets");
    name.rsplit_once(' ').is_some_and(|(_, uid)| S3uid::parse(uid).is_ok())
}

impl Group {
    /// What it is called: its first key.
    pub(crate) fn name(&self) -> Option<&str> {
        self.keys.keys().next().map(String::as_str)
    }

    /// What a bucket is called, by all who have it; `None`: by several names, or by none.
    pub(crate) fn name_of<'a>(&self, bucket: &'a Bucket) -> Option<&'a str> {
        let own = bucket.keys.iter().flat_map(|holder| &holder.bucket_local_aliases);
        let mut names = own.chain(&bucket.global_aliases);
        let name = names.next()?;
        names.all(|other| other == name).then_some(name.as_str())
    }

    /// Every key has every bucket, by the same name, with all rights: so it is in an account.
    fn obstacle_of_buckets(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        for bucket in self.buckets.values() {
            let Some(name) = self.name_of(bucket) else {
                let id = &bucket.id;
                return Some(format!("bucket {id} has several names, or none"));
            };
            if BucketName::new(name).is_err() {
                return Some(format!("S3 allows no bucket of the name {name:?}"));
            }
            if !names.insert(name) {
                return Some(format!("it has two buckets of the name {name:?}"));
            }
            for id in self.keys.keys() {
                let may = bucket.holder(id).map(|holder| holder.permissions).unwrap_or_default();
                if !may.read || !may.write {
                    return Some(format!("key {id} may not read and write in bucket {name:?}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bucket(id: &str, global: &[&str], keys: &[(&str, [bool; 2], &[&str])]) -> Bucket {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(key, [read, write], names)| {
                json!({
                    "accessKeyId": key,
                    "permissions": {"read": read, "write": write},
                    "bucketLocalAliases": names,
                })
            })
            .collect();
        let text = json!({
            "id": id, "created": "", "objects": 0, "bytes": 0,
            "globalAliases": global, "keys": keys,
        });
        serde_json::from_value(text).unwrap()
    }

    fn group(keys: &[&str], buckets: Vec<Bucket>) -> Group {
        let key = |id: &&str| {
            let key = json!({"accessKeyId": id, "name": "a key"});
            ((*id).to_owned(), serde_json::from_value(key).unwrap())
        };
        let buckets = buckets.into_iter().map(|bucket| (bucket.id.clone(), bucket)).collect();
        Group { keys: keys.iter().map(key).collect(), buckets, is_cut: false }
    }

    #[test]
    fn what_each_key_may_in_each_bucket_is_what_an_account_may() {
        const ALL: [bool; 2] = [true, true];
        let told = |buckets: Vec<Bucket>| group(&["A", "B"], buckets).obstacle_of_buckets();
        let both = |names: &'static [&str]| [("A", ALL, names), ("B", ALL, &[][..])];
        assert_eq!(told(vec![]), None);
        assert_eq!(told(vec![bucket("1", &["photos"], &both(&[]))]), None);
        assert_eq!(told(vec![bucket("1", &[], &both(&["photos"]))]), None);
        assert_eq!(told(vec![bucket("1", &["photos"], &both(&["photos"]))]), None);
        for (bad, why) in [
            (vec![bucket("1", &["photos"], &both(&["pics"]))], "several names"),
            (vec![bucket("1", &[], &both(&[]))], "several names, or none"),
            (vec![bucket("1", &["NO"], &both(&[]))], "no bucket of the name"),
            (vec![bucket("1", &["photos"], &[("A", ALL, &[])])], "key B may not"),
            (
                vec![bucket("1", &["photos"], &[("A", ALL, &[]), ("B", [true, false], &[])])],
                "key B may not",
            ),
            (
                vec![bucket("1", &["photos"], &both(&[])), bucket("2", &[], &both(&["photos"]))],
                "two buckets",
            ),
        ] {
            let found = told(bad).unwrap();
            assert!(found.contains(why), "{why}: {found}");
        }
    }

    #[test]
    fn keys_of_another_installation_are_told_by_their_names() {
        let uid = "0123456789abcdef0123456789abcdef";
        assert!(ends_with_uid(&format!("theirs {uid}")));
        assert!(ends_with_uid(&format!("their own {uid} creates buckets")));
        assert!(!ends_with_uid(uid) && !ends_with_uid("a key") && !ends_with_uid(""));
    }
}
