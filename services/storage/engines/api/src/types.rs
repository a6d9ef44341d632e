//! Accounts, buckets and objects as engines know them.

use secrecy::SecretString;
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

/// How exactly an engine keeps to an account's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaSupport {
    /// To the byte, with credit for an object that is overwritten.
    Exact,
    /// Refused by the engine, with rounding or without credit for overwrites.
    Approximate,
    /// Not at all: the storage role has to.
    Absent,
}

/// Who may hold the same bucket name at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketNamespace {
    /// One owner per name on the whole engine.
    Engine,
    /// One bucket of a name per account.
    Account,
}

/// What an engine can do. Data, so that callers decide by it and not by the engine's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the kind of engine: `embedded`.
    pub engine: &'static str,
    /// How it keeps to `AccountSpec::quota_bytes`.
    pub quota: QuotaSupport,
    /// Whether it keeps to `AccountSpec::bucket_max` itself.
    pub bucket_limit: bool,
    /// Whether it counts traffic per account and bucket.
    pub traffic: bool,
    /// Whether stored figures are exact at once, not after a delay.
    pub immediate_figures: bool,
    /// Whether an access key once removed can be given again.
    pub keys_reusable: bool,
    /// Whether it says when access keys were last used; see `Engine::key_usage`.
    pub key_usage: bool,
    /// Whether transfers under way end when their account is suspended or their key taken away.
    pub cuts_transfers: bool,
    /// Whether figures tell objects from the parts of unfinished uploads. Else these are in
    /// `stored_bytes`, and each of them is an object.
    pub unfinished_apart: bool,
    /// Where bucket names are unique.
    pub namespace: BucketNamespace,
}

/// S3 credentials of an account.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Public half: 16 to 128 ASCII letters and digits.
    pub access_key: String,
    /// Secret half.
    pub secret_key: SecretString,
}

/// What an account shall be.
#[derive(Debug, Clone)]
pub struct AccountSpec {
    /// The account.
    pub uid: S3uid,
    /// All of its keys; keys not listed are removed. None: nobody gets in.
    pub keys: Vec<KeyPair>,
    /// Bytes it may store in all buckets; `None`: no limit.
    pub quota_bytes: Option<u64>,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// Whether all S3 requests with its keys are refused, while its data stays.
    pub suspended: bool,
}

/// An account as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// The account.
    pub uid: S3uid,
    /// All of its access keys, in order.
    pub access_keys: Vec<String>,
    /// Bytes it may store; `None`: no limit.
    pub quota_bytes: Option<u64>,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// Whether its requests are refused.
    pub suspended: bool,
    /// Buckets it has.
    pub bucket_count: u64,
}

/// When an access key was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// Public half of the key.
    pub access_key: String,
    /// When a request that it signed was last let in; `None`: not known.
    pub last_use_time: Option<OffsetDateTime>,
}

/// A bucket and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub bucket: BucketName,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// Objects in it.
    pub object_count: u64,
    /// Bytes of these objects; parts of unfinished uploads are not in it, where the engine tells
    /// them apart.
    pub stored_bytes: u64,
    /// Bytes of request bodies since it was created.
    pub received_bytes: u64,
    /// Bytes of answer bodies since it was created.
    pub sent_bytes: u64,
}

/// Figures of an account at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountUsage {
    /// Buckets it has.
    pub bucket_count: u64,
    /// Objects in them.
    pub object_count: u64,
    /// Bytes of these objects.
    pub stored_bytes: u64,
    /// Bytes of parts of unfinished uploads. They count against the quota.
    pub unfinished_bytes: u64,
}

/// Which objects to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Keys begin with this. Empty: all.
    pub prefix: String,
    /// Keys that have it after the prefix are rolled up to one common prefix.
    pub delimiter: Option<char>,
    /// `ObjectPage::next` of the page before, or any key: the page starts after it.
    pub after: Option<String>,
    /// Objects and prefixes in the page, at most 1000; more is taken as 1000.
    pub max: u32,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written.
    pub update_time: OffsetDateTime,
    /// Entity tag without quotes.
    pub etag: String,
}

/// A page of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPage {
    /// Objects, by key.
    pub objects: Vec<ObjectInfo>,
    /// Common prefixes, in order, each with its delimiter.
    pub prefixes: Vec<String>,
    /// Pass as `ListQuery::after` with the same prefix and delimiter; `None`: the end.
    pub next: Option<String>,
}
