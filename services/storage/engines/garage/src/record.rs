//! What we keep in Garage: texts in the names of keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stowage_engine::{AccountAccess, AccountSpec, Error, Quota};
use stowage_types::S3uid;

const VERSION: u32 = 1;
/// Begins the ids of our own keys.
const OWN: &str = "stowage-";
/// Behind the uid, in the name of a key that may make buckets.
const CREATES: &str = "creates buckets";
/// Between the uid and what a log says.
const LOG: &str = "log ";
/// Deletions that a log keeps; of more the oldest are dropped.
const GONE_MAX: usize = 1000;
/// Metering takes facts for so long, in seconds; older deletions are told to nobody.
pub(crate) const HISTORY: i64 = 35 * 86400;

/// What an account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket_max: Option<u32>,
    access: Access,
    /// Quotas that buckets have by themselves, by the bucket's id: Garage's own field holds what
    /// is left of the account's, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    own: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// Keys that were there before the account, by id, with the names that they had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) was: BTreeMap<String, String>,
    /// When the account was removed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Access {
    Full,
    ReadOnly,
    Suspended,
}

impl Record {
    pub(crate) fn of(spec: &AccountSpec) -> Self {
        let mut record = Self {
            v: VERSION,
            bytes: spec.quota.bytes,
            objects: spec.quota.objects,
            bucket_max: spec.bucket_max,
            access: Access::Full,
            own: BTreeMap::new(),
            was: BTreeMap::new(),
            removed: None,
        };
        record.set_access(spec.access);
        record
    }

    /// The same account by another specification.
    pub(crate) fn changed_to(&self, spec: &AccountSpec) -> Self {
        Self { own: self.own.clone(), was: self.was.clone(), ..Self::of(spec) }
    }

    pub(crate) fn quota(&self) -> Quota {
        Quota { bytes: self.bytes, objects: self.objects }
    }

    pub(crate) fn access(&self) -> AccountAccess {
        match self.access {
            Access::Full => AccountAccess::Full,
            Access::ReadOnly => AccountAccess::ReadOnly,
            Access::Suspended => AccountAccess::Suspended,
        }
    }

    pub(crate) fn set_access(&mut self, access: AccountAccess) {
        self.access = match access {
            AccountAccess::Full => Access::Full,
            AccountAccess::ReadOnly => Access::ReadOnly,
            AccountAccess::Suspended => Access::Suspended,
        };
    }

    /// The quota that a bucket has by itself.
    pub(crate) fn own_quota(&self, id: &str) -> Quota {
        let (bytes, objects) = self.own.get(id).copied().unwrap_or_default();
        Quota { bytes, objects }
    }

    /// Sets it, and forgets those of buckets that are no more.
    pub(crate) fn set_own_quota(&mut self, id: &str, quota: Quota, live: &[&str]) {
        self.own.retain(|id, _| live.contains(&id.as_str()));
        if quota == Quota::default() {
            self.own.remove(id);
        } else {
            self.own.insert(id.to_owned(), (quota.bytes, quota.objects));
        }
    }

    /// Whether so many buckets may become one more.
    pub(crate) fn allows_bucket(&self, count: usize) -> bool {
        self.bucket_max.is_none_or(|max| (count as u64) < u64::from(max))
    }
}

/// Buckets that were deleted, with the time in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log(Vec<(i64, String)>);

impl Log {
    pub(crate) fn push(&mut self, name: &str, now: i64) {
        self.0.retain(|(time, had)| had != name && now - time < HISTORY);
        self.0.push((now, name.to_owned()));
        let surplus = self.0.len().saturating_sub(GONE_MAX);
        self.0.drain(..surplus);
    }

    /// Names of buckets that were deleted since a time.
    pub(crate) fn since(&self, time: i64) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(at, _)| *at >= time).map(|(_, name)| name.as_str())
    }
}

/// What a key is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A customer's, and whether it may make buckets: no list tells that.
    Customer { creates: bool },
    /// Ours, with what the account is.
    Steward(Record),
    /// Ours, with what was deleted.
    Log(Log),
}

/// Names of keys, as we write them.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    marker: String,
}

impl Names {
    pub(crate) fn new(marker: &str) -> Self {
        Self { marker: marker.to_owned() }
    }

    pub(crate) fn customer(&self, uid: &S3uid, creates: bool) -> String {
        match creates {
            true => format!("{} {uid} {CREATES}", self.marker),
            false => format!("{} {uid}", self.marker),
        }
    }

    pub(crate) fn steward(&self, uid: &S3uid, record: &Record) -> Result<String, Error> {
        let text = serde_json::to_string(record).map_err(Error::unavailable)?;
        Ok(format!("{} {uid} {text}", self.marker))
    }

    pub(crate) fn log(&self, uid: &S3uid, log: &Log) -> Result<String, Error> {
        let text = serde_json::to_string(log).map_err(Error::unavailable)?;
        Ok(format!("{} {uid} {LOG}{text}", self.marker))
    }

    /// A key that is ours no more.
    pub(crate) fn released(&self) -> String {
        format!("{} released", self.marker)
    }

    /// Whose key it is, and which; `None`: it is not ours. One of ours by its id that we cannot
    /// read is not ours either: a newer version has written it, or somebody by hand.
    pub(crate) fn read(&self, id: &str, name: &str) -> Option<(S3uid, Role)> {
        let rest = name.strip_prefix(&self.marker)?.strip_prefix(' ')?;
        let (uid, text) = rest.split_once(' ').map_or((rest, None), |(uid, t)| (uid, Some(t)));
        let uid = S3uid::parse(uid).ok()?;
        let role = match text {
            None if !id.starts_with(OWN) => Role::Customer { creates: false },
            Some(CREATES) if !id.starts_with(OWN) => Role::Customer { creates: true },
            Some(text) if id == steward_id(&uid) => {
                let record: Record = serde_json::from_str(text).ok()?;
                Role::Steward(Some(record).filter(|record| record.v == VERSION)?)
            }
            Some(text) if id == log_id(&uid) => {
                Role::Log(serde_json::from_str(text.strip_prefix(LOG)?).ok()?)
            }
            _ => return None,
        };
        Some((uid, role))
    }
}

pub(crate) fn steward_id(uid: &S3uid) -> String {
    format!("{OWN}{uid}")
}

pub(crate) fn log_id(uid: &S3uid) -> String {
    format!("{OWN}{uid}-log")
}

/// Whether a key is ours, or another installation's, by its id: no customer has such a one.
pub(crate) fn is_own(id: &str) -> bool {
    id.starts_with(OWN)
}

/// Whether it is the steward of some account, of this installation or another.
pub(crate) fn is_steward(id: &str) -> bool {
    id.strip_prefix(OWN).is_some_and(|uid| S3uid::parse(uid).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> S3uid {
        S3uid::parse("0123456789abcdef0123456789abcdef").unwrap()
    }

    #[test]
    fn names_are_read_as_they_were_written() {
        let names = Names::new("a b");
        let mut spec = AccountSpec::new(uid(), Vec::new());
        spec.quota = Quota { bytes: Some(7), objects: None };
        spec.bucket_max = Some(0);
        spec.access = AccountAccess::ReadOnly;
        let mut record = Record::of(&spec);
        record.set_own_quota("x", Quota { bytes: None, objects: Some(3) }, &["x"]);
        let name = names.steward(&uid(), &record).unwrap();
        let expected = Some((uid(), Role::Steward(record.clone())));
        assert_eq!(names.read(&steward_id(&uid()), &name), expected);
        assert_eq!(record.own_quota("x").objects, Some(3));
        let mut log = Log::default();
        log.push("photos", 5);
        let name = names.log(&uid(), &log).unwrap();
        assert_eq!(names.read(&log_id(&uid()), &name), Some((uid(), Role::Log(log))));
        for creates in [false, true] {
            let name = names.customer(&uid(), creates);
            assert_eq!(names.read("AKEY0000", &name), Some((uid(), Role::Customer { creates })));
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        let names = Names::new("stowage");
        let (steward, other) = (steward_id(&uid()), Names::new("other"));
        let record = Record::of(&AccountSpec::new(uid(), Vec::new()));
        let name = names.steward(&uid(), &record).unwrap();
        for (id, name) in [
            (steward.as_str(), other.steward(&uid(), &record).unwrap()),
            (steward.as_str(), name.replace("\"v\":1", "\"v\":2")),
            (steward.as_str(), names.customer(&uid(), false)),
            ("AKEY0000", name),
            ("AKEY0000", "stowage".to_owned()),
            ("AKEY0000", "stowage nobody".to_owned()),
            ("AKEY0000", String::new()),
            ("AKEY0000", Names::new("stowage").released()),
        ] {
            assert_eq!(names.read(id, &name), None, "{id} {name}");
        }
    }

    #[test]
    fn a_log_keeps_the_last_deletion_of_a_name_and_is_bounded() {
        let mut log = Log::default();
        for number in 0..GONE_MAX + 5 {
            log.push(&number.to_string(), 100);
        }
        log.push("7", 200);
        assert_eq!(log.since(0).count(), GONE_MAX);
        assert_eq!(log.since(150).collect::<Vec<_>>(), ["7"]);
        log.push("8", 150 + HISTORY);
        assert_eq!(log.since(0).collect::<Vec<_>>(), ["7", "8"]);
    }
}
