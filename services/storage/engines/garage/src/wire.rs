//! What Garage is asked and answers. Fields we do not know are skipped.

use secrecy::SecretString;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

/// A refusal.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) code: String,
}

/// A key in the list of all.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedKey {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) expired: bool,
}

/// A key by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Key {
    pub(crate) access_key_id: String,
    pub(crate) name: String,
    /// Only if it was asked for.
    #[serde(default, deserialize_with = "secret")]
    pub(crate) secret_access_key: Option<SecretString>,
    #[serde(default)]
    pub(crate) buckets: Vec<Granted>,
    /// RFC 3339; absent: it does not expire.
    #[serde(default)]
    pub(crate) expiration: Option<String>,
    #[serde(default)]
    pub(crate) permissions: KeyPermissions,
}

impl Key {
    /// Whether it calls a bucket so.
    pub(crate) fn has_bucket(&self, alias: &str) -> bool {
        self.buckets.iter().any(|bucket| bucket.local_aliases.iter().any(|own| own == alias))
    }
}

/// What a key has of a bucket.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Granted {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) local_aliases: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyPermissions {
    #[serde(default)]
    pub(crate) create_bucket: bool,
}

/// Rights of a key in a bucket. To write is also to delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Permissions {
    #[serde(default)]
    pub(crate) read: bool,
    #[serde(default)]
    pub(crate) write: bool,
    #[serde(default)]
    pub(crate) owner: bool,
}

impl Permissions {
    pub(crate) const ALL: Self = Self { read: true, write: true, owner: true };
    pub(crate) const READ: Self = Self { read: true, write: false, owner: false };

    /// Those that `self` has and `other` has not.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            read: self.read && !other.read,
            write: self.write && !other.write,
            owner: self.owner && !other.owner,
        }
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// A change of a key. What is left out stays.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expiration: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) never_expires: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow: Option<KeyPermissions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deny: Option<KeyPermissions>,
}

/// A bucket and its figures.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bucket {
    pub(crate) id: String,
    pub(crate) created: String,
    /// Names that all keys know it by.
    #[serde(default)]
    pub(crate) global_aliases: Vec<String>,
    #[serde(default)]
    pub(crate) keys: Vec<Holder>,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) unfinished_multipart_upload_bytes: u64,
    #[serde(default)]
    pub(crate) quotas: Quotas,
}

/// A key that has something of a bucket.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    pub(crate) access_key_id: String,
    #[serde(default)]
    pub(crate) permissions: Permissions,
    #[serde(default)]
    pub(crate) bucket_local_aliases: Vec<String>,
}

impl Bucket {
    /// What a key has of it.
    pub(crate) fn holder(&self, key: &str) -> Option<&Holder> {
        self.keys.iter().find(|holder| holder.access_key_id == key)
    }

    /// What a key calls it.
    pub(crate) fn alias(&self, key: &str) -> Option<&str> {
        self.holder(key)?.bucket_local_aliases.first().map(String::as_str)
    }
}

/// What a bucket may store; both are set at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quotas {
    #[serde(default)]
    pub(crate) max_size: Option<u64>,
    #[serde(default)]
    pub(crate) max_objects: Option<u64>,
}

/// A bucket in the list of all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedBucket {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) local_aliases: Vec<LocalAlias>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalAlias {
    pub(crate) access_key_id: String,
    pub(crate) alias: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: String,
}

/// Of the whole cluster. Older versions tell it in prose only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    pub(crate) data_avail: Option<u64>,
    pub(crate) total_object_bytes: Option<u64>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_only_what_changes() {
        let change = KeyChange {
            expiration: Some("2020-01-01T00:00:00Z"),
            deny: Some(KeyPermissions { create_bucket: true }),
            ..KeyChange::default()
        };
        let expected = r#"{"expiration":"2020-01-01T00:00:00Z","deny":{"createBucket":true}}"#;
        assert_eq!(serde_json::to_string(&change).unwrap(), expected);
    }

    #[test]
    fn an_absent_bound_is_written_since_both_are_replaced() {
        let quotas = Quotas { max_size: Some(5), max_objects: None };
        let expected = r#"{"maxSize":5,"maxObjects":null}"#;
        assert_eq!(serde_json::to_string(&quotas).unwrap(), expected);
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let text = r#"{"accessKeyId":"k","name":"n","secretAccessKey":"hush","new":1}"#;
        let key: Key = serde_json::from_str(text).unwrap();
        assert!(key.secret_access_key.is_some() && !format!("{key:?}").contains("hush"));
    }
}
