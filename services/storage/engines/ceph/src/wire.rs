//! What RGW answers. Versions differ: fields we do not know are skipped, and flags are taken as
//! numbers, texts or booleans.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, de};
use stowage_engine::AccountAccess;

use crate::user::UserId;

/// A refusal.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    #[serde(rename = "Code", default)]
    pub(crate) code: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct User {
    #[serde(default)]
    pub(crate) tenant: String,
    pub(crate) user_id: UserId,
    /// What people call it.
    #[serde(default)]
    pub(crate) display_name: String,
    #[serde(default)]
    pub(crate) email: String,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) suspended: bool,
    /// What it may do at all: `read, write, delete`.
    #[serde(default)]
    pub(crate) op_mask: Option<String>,
    /// 0: no limit. Negative: none may be made.
    pub(crate) max_buckets: i64,
    #[serde(default)]
    pub(crate) keys: Vec<Key>,
    pub(crate) user_quota: Quota,
    /// What each of its new buckets is bounded by.
    #[serde(default)]
    pub(crate) bucket_quota: Quota,
    /// Whether it is one of RGW's operators.
    #[serde(default, deserialize_with = "flag")]
    pub(crate) system: bool,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) admin: bool,
    /// Rights at the Admin Ops API.
    #[serde(default)]
    pub(crate) caps: Vec<de::IgnoredAny>,
    #[serde(default)]
    pub(crate) subusers: Vec<de::IgnoredAny>,
    #[serde(default)]
    pub(crate) swift_keys: Vec<de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) access_key: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) secret_key: SecretString,
}

impl User {
    pub(crate) fn access(&self) -> AccountAccess {
        // Versions that do not say keep to none.
        let may_write = self.op_mask.as_ref().is_none_or(|mask| mask.contains("write"));
        match (self.suspended, may_write) {
            (true, _) => AccountAccess::Suspended,
            (false, false) => AccountAccess::ReadOnly,
            (false, true) => AccountAccess::Full,
        }
    }

    /// Whether its rights are one of those that accounts have.
    pub(crate) fn has_known_rights(&self) -> bool {
        let Some(mask) = &self.op_mask else { return true };
        let rights: Vec<_> = mask.split(',').map(str::trim).collect();
        rights == ["read", "write", "delete"] || rights == ["read"]
    }
}

/// A disabled quota keeps its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Quota {
    #[serde(deserialize_with = "flag")]
    pub(crate) enabled: bool,
    /// Bytes. Negative: no limit.
    pub(crate) max_size: i64,
    /// Negative: no limit.
    pub(crate) max_objects: i64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { enabled: false, max_size: -1, max_objects: -1 }
    }
}

impl Quota {
    pub(crate) fn of(quota: stowage_engine::Quota) -> Self {
        let bound = |of: Option<u64>| of.map_or(-1, |of| i64::try_from(of).unwrap_or(i64::MAX));
        let enabled = quota.bytes.is_some() || quota.objects.is_some();
        Self { enabled, max_size: bound(quota.bytes), max_objects: bound(quota.objects) }
    }

    /// Whether both mean the same: a disabled one keeps whatever numbers it had.
    pub(crate) fn is_as(self, other: Self) -> bool {
        self == other || (!self.enabled && !other.enabled)
    }
}

impl From<Quota> for stowage_engine::Quota {
    fn from(quota: Quota) -> Self {
        let bound = |of: i64| quota.enabled.then(|| u64::try_from(of).ok()).flatten();
        Self { bytes: bound(quota.max_size), objects: bound(quota.max_objects) }
    }
}

/// A page of names of users, in no order that a person would know.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UserPage {
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) truncated: bool,
    #[serde(default)]
    pub(crate) marker: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) bucket: String,
    pub(crate) owner: String,
    pub(crate) creation_time: String,
    #[serde(default)]
    pub(crate) bucket_quota: Quota,
    /// By kind; empty for an empty bucket.
    #[serde(default)]
    pub(crate) usage: BTreeMap<String, Stored>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Stored {
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) num_objects: u64,
}

impl Bucket {
    /// Objects, and the parts of unfinished uploads, each of which counts as one.
    pub(crate) fn stored(&self) -> Stored {
        self.usage.get("rgw.main").copied().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct UsageLog {
    #[serde(default)]
    pub(crate) entries: Vec<UsageOfUser>,
}

/// Of whoever pays: the owner of the bucket, whoever called.
#[derive(Debug, Deserialize)]
pub(crate) struct UsageOfUser {
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) buckets: Vec<UsageOfBucket>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct UsageOfBucket {
    /// Empty for calls that name none, `-` for a bucket that was not there.
    pub(crate) bucket: String,
    #[serde(default)]
    pub(crate) categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Category {
    pub(crate) category: String,
    #[serde(default)]
    pub(crate) bytes_sent: u64,
    #[serde(default)]
    pub(crate) bytes_received: u64,
    #[serde(default)]
    pub(crate) ops: u64,
    #[serde(default)]
    pub(crate) successful_ops: u64,
}

fn secret<'de, D: Deserializer<'de>>(source: D) -> Result<SecretString, D::Error> {
    String::deserialize(source).map(SecretString::from)
}

fn flag<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    struct Flag;

    impl Visitor<'_> for Flag {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean, a number or a text")
        }

        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
            match value {
                "true" | "1" => Ok(true),
                "false" | "0" | "" => Ok(false),
                other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
            }
        }
    }

    source.deserialize_any(Flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_whatever_its_flags_are_and_does_not_print_its_secrets() {
        for (suspended, enabled, expected) in
            [("0", "false", false), ("1", "true", true), ("\"true\"", "\"1\"", true)]
        {
            let text = format!(
                r#"{{"tenant":"","user_id":"u","display_name":"d","suspended":{suspended},
                "max_buckets":5,"keys":[{{"user":"u","access_key":"a","secret_key":"hush"}}],
                "new_in_99":{{"x":[1]}},"user_quota":{{"enabled":{enabled},"check_on_raw":false,
                "max_size":-1,"max_size_kb":0,"max_objects":-1}}}}"#
            );
            let user: User = serde_json::from_str(&text).unwrap();
            assert_eq!((user.suspended, user.user_quota.enabled), (expected, expected), "{text}");
            assert!(!format!("{user:?}").contains("hush"));
        }
    }

    #[test]
    fn an_empty_bucket_stores_nothing() {
        let text = r#"{"bucket":"b","owner":"o","creation_time":"t","usage":{}}"#;
        let bucket: Bucket = serde_json::from_str(text).unwrap();
        assert_eq!(bucket.stored(), Stored::default());
    }
}
