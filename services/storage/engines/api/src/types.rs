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
    /// By what was stored when the engine last looked: each of several buckets may take what was
    /// left for all, until it looks again. It looks whenever figures are asked for.
    Sampled,
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
    /// How it keeps to the bytes of an account's `Quota`.
    pub quota: QuotaSupport,
    /// How it keeps to the number of objects of an account's `Quota`.
    pub object_quota: QuotaSupport,
    /// How it keeps to the `Quota` of a bucket.
    pub bucket_quota: QuotaSupport,
    /// Whether it keeps `AccountAccess::ReadOnly`. Where not, such an account is suspended.
    pub read_only: bool,
    /// Whether it keeps to `AccountSpec::bucket_max` itself.
    pub bucket_limit: bool,
    /// Whether it counts traffic per account and bucket.
    pub traffic: bool,
    /// Whether stored figures are exact at once, not after a delay.
    pub immediate_figures: bool,
    /// Whether a reading of usage tells of all that changed before it; else of what the engine's
    /// adapter found when it last looked at all accounts, which is minutes ago.
    pub changes_at_once: bool,
    /// Whether a reading of usage tells of all buckets that were deleted before it. Else the
    /// storage role tells of those that it deletes, and the engine of others that customers can
    /// delete, when it next looks at all, which is within a day.
    pub deletions_at_once: bool,
    /// Whether an access key once removed can be given again.
    pub keys_reusable: bool,
    /// Whether it tells who is on it beside our accounts and makes them such; see `Engine::adopt`.
    pub adopts: AdoptionSupport,
    /// Whether it makes access keys by itself and takes none that was made elsewhere; see
    /// `Engine::issue_key`.
    pub issues_keys: bool,
    /// Keys that an account may have at once; `None`: as many as it likes.
    pub keys_max: Option<u32>,
    /// Whether the keys of an account may make buckets over S3, and delete them.
    pub client_buckets: bool,
    /// Whether it says when access keys were last used; see `Engine::key_usage`.
    pub key_usage: bool,
    /// Whether transfers under way end when their account is suspended or their key taken away.
    pub cuts_transfers: bool,
    /// Whether figures tell objects from the parts of unfinished uploads. Else these are in
    /// `stored_bytes`, and each of them is an object.
    pub unfinished_apart: bool,
    /// Whether the key of an object may consist of slashes alone.
    pub slash_keys: bool,
    /// Where bucket names are unique.
    pub namespace: BucketNamespace,
    /// Whether it can sign URLs for an account; see `Engine::presign`.
    pub presign: bool,
    /// Whether it says how many bytes it has room for; see `Engine::capacity`.
    pub capacity: bool,
}

/// Whether an engine makes accounts of who was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptionSupport {
    /// It does not.
    Absent,
    /// It does, and itself bounds what each of them stores: an account keeps its bounds.
    Bounded,
    /// It does, but itself knows bounds of single buckets only: an account begins without any.
    Unbounded,
}

/// Bounds of what is stored, in all buckets of an account or in one bucket. `None`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Bytes of objects, and of parts of unfinished uploads.
    pub bytes: Option<u64>,
    /// Objects.
    pub objects: Option<u64>,
}

impl Quota {
    /// A bound of bytes alone.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes: Some(bytes), objects: None }
    }
}

/// What the keys of an account open, while its data stays. A greater one opens less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AccountAccess {
    /// All that is the account's.
    #[default]
    Full,
    /// Reading, and deleting where the engine can tell it from writing: nothing that adds bytes.
    ReadOnly,
    /// Nothing: presigned URLs neither, and transfers under way end.
    Suspended,
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
    /// What it may store in all buckets.
    pub quota: Quota,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// What its keys open.
    pub access: AccountAccess,
}

impl AccountSpec {
    /// An account without bounds whose keys open all that is its own.
    #[must_use]
    pub fn new(uid: S3uid, keys: Vec<KeyPair>) -> Self {
        let (quota, access) = (Quota::default(), AccountAccess::Full);
        Self { uid, keys, quota, bucket_max: None, access }
    }
}

/// An account as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// The account.
    pub uid: S3uid,
    /// All of its access keys, in order.
    pub access_keys: Vec<String>,
    /// What it may store.
    pub quota: Quota,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// What its keys open.
    pub access: AccountAccess,
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
    /// What it may store, beside the account's own bound.
    pub quota: Quota,
}

/// An upload in parts that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Key of the object it would make.
    pub key: String,
    /// Its id at the S3 endpoint.
    pub upload_id: String,
    /// When it was begun.
    pub begin_time: OffsetDateTime,
    /// Bytes of its parts; `None`: the engine does not say without asking for each upload.
    pub stored_bytes: Option<u64>,
}

/// Where the next page of uploads goes on: after the upload of this key and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadCursor {
    /// Its key.
    pub key: String,
    /// Its id.
    pub upload_id: String,
}

/// Room of an engine, in bytes of stored objects, before replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that can still be stored.
    pub free_bytes: u64,
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
    /// Whether we look for ourselves: then it is in nobody's usage.
    pub unbilled: bool,
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
