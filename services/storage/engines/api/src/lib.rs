//! What the storage role asks of a storage engine: accounts, buckets, and figures for metering.
//!
//! Object traffic never passes through here: S3 clients speak to the engine's own endpoint.
//!
//! Invariants every engine keeps, checked by [`conformance`]:
//! - every method may be repeated with the same arguments and then succeeds or says what is so;
//! - an account reaches its own buckets only, and a bucket has one owner;
//! - figures are absolute, so reading them twice counts nothing twice.
//!
//! What an engine cannot do is data ([`Capabilities`]), never a test for an engine's name.
//! Increments were rejected for usage: an answer lost on the way would be lost for good.

mod adoption;
pub mod conformance;
mod content;
mod keyring;
mod presign;
mod traced;
mod types;
mod usage;
mod wrapped;

pub use adoption::*;
use async_trait::async_trait;
pub use content::*;
pub use keyring::*;
pub use presign::*;
pub use traced::Traced;
pub use types::*;
pub use usage::*;
pub use wrapped::{Around, Call, Wrapped};

use secrecy::SecretString;
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

/// Cause of a failure inside an engine, for logs only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an engine refused; a caller acts differently on each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account, bucket or key is not there, or is not the account's.
    #[error("not found on the storage engine")]
    NotFound,
    /// Another account holds the bucket name or the access key.
    #[error("taken on the storage engine")]
    AlreadyExists,
    /// The bucket has objects, or the account has buckets.
    #[error("not empty")]
    NotEmpty,
    /// The bytes would exceed the account's quota.
    #[error("the quota of the account is exceeded")]
    QuotaExceeded,
    /// The account has as many buckets as it may have.
    #[error("the account has as many buckets as it may have")]
    LimitReached,
    /// The engine refuses our own credentials or this access.
    #[error("the storage engine denied access")]
    Denied,
    /// The request itself is wrong; a repeat will not help.
    #[error("the storage engine refused the request: {why}")]
    Invalid {
        /// What is wrong, for people.
        why: String,
    },
    /// A race was lost; repeat.
    #[error("lost a race on the storage engine")]
    Conflict,
    /// The engine has no such feature; see [`Capabilities`].
    #[error("the storage engine does not support this")]
    Unsupported,
    /// The engine does not answer, or failed; repeat later.
    #[error("the storage engine is unavailable")]
    Unavailable {
        /// The cause, for logs.
        source: BoxError,
    },
}

impl Error {
    /// Wraps a cause as [`Error::Unavailable`].
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { source: source.into() }
    }

    /// Whether a repeat of the same call may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable { .. })
    }
}

/// A storage engine, as the storage role sees it.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// What this engine can do. Constant for the life of the value.
    fn capabilities(&self) -> Capabilities;

    /// Makes the account be as `spec` says: created when absent, keys added and removed, limits
    /// set, open or not. It takes effect at once: keys that are left out, and all keys of a
    /// suspended account, open nothing from then on, presigned URLs neither, and transfers under
    /// way end ([`Capabilities::cuts_transfers`]); uploads under way of an account that is made
    /// read-only are refused when they would be stored. A quota below what is stored is taken; it
    /// then refuses what adds bytes.
    ///
    /// # Errors
    /// - [`Error::AlreadyExists`]: another account has one of the access keys, or somebody else has
    ///   an account of this uid; nothing changed.
    /// - [`Error::Invalid`]: the engine takes no such key, or has not made it itself where it takes
    ///   no other ([`Capabilities::issues_keys`]).
    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error>;

    /// Makes a key of the account beside those that it has, where the engine takes none that was
    /// made elsewhere. It opens what the account's access says. Its secret is told this once: an
    /// answer that is lost leaves a key that nobody knows, and a repeat makes another.
    /// [`Engine::ensure_account`] with the keys that are known removes it, before the repeat and
    /// after it.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    /// - [`Error::LimitReached`]: it has [`Capabilities::keys_max`] keys, such as one whose answer
    ///   was lost.
    /// - [`Error::Unsupported`]: see [`Capabilities::issues_keys`].
    async fn issue_key(&self, _uid: &S3uid) -> Result<KeyPair, Error> {
        Err(Error::Unsupported)
    }

    /// Changes what the keys of the account open, and nothing else of it. As with
    /// [`Engine::ensure_account`] it takes effect at once.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Error>;

    /// Removes the account and its keys; `purge` removes its buckets and objects too. An account
    /// that is not there is removed already. Its usage stays readable.
    ///
    /// # Errors
    /// - [`Error::NotEmpty`]: it has buckets and `purge` is false; nothing changed.
    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error>;

    /// Lists the engine's accounts by uid, those after `after`, at most `max` of them.
    ///
    /// # Errors
    /// - [`Error::Unsupported`]: the engine cannot list them.
    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error>;

    /// Returns when each key of the account was last used, by access key. What an engine keeps in
    /// memory may be lost in a crash, some minutes of it at most.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    /// - [`Error::Unsupported`]: see [`Capabilities::key_usage`].
    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error>;

    /// Returns which account an access key is of, whether it opens anything at the moment or not;
    /// `None`: it is of nobody, or of somebody who is no account of ours.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]
    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Error>;

    /// Lists who is on the engine and no account of ours, in the order of [`Foreign::name`], those
    /// after `after`, at most `max` of them. Its own operators are not listed, nor are we.
    ///
    /// # Errors
    /// - [`Error::Unsupported`]: see [`Capabilities::adopts`].
    async fn list_foreign(&self, _after: Option<&str>, _max: u32) -> Result<Vec<Foreign>, Error> {
        Err(Error::Unsupported)
    }

    /// Returns who is on the engine under a name; `None`: nobody, an account of ours, or one of the
    /// engine's operators.
    ///
    /// # Errors
    /// - [`Error::Unsupported`]: see [`Capabilities::adopts`].
    async fn find_foreign(&self, _name: &str) -> Result<Option<Foreign>, Error> {
        Err(Error::Unsupported)
    }

    /// Makes who is on the engine an account of ours: with what it has, and so that its customer
    /// notices nothing. One that is an account of this uid already is told as it is.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: nobody has the name.
    /// - [`Error::AlreadyExists`]: it is an account of ours under another uid, or another one has
    ///   the uid; nothing changed.
    /// - [`Error::Invalid`]: there is an [obstacle](Foreign::obstacle); nothing changed.
    /// - [`Error::Unsupported`]: see [`Capabilities::adopts`].
    async fn adopt(&self, _name: &str, _uid: &S3uid) -> Result<Adopted, Error> {
        Err(Error::Unsupported)
    }

    /// Gives an account up: it stays on the engine with what it has, and its customer notices
    /// nothing, but it is ours no more. An account that is not there is given up already.
    ///
    /// # Errors
    /// - [`Error::Unsupported`]: see [`Capabilities::adopts`].
    async fn release(&self, _uid: &S3uid) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Creates a bucket. One the account has already is left as it is.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    /// - [`Error::AlreadyExists`]: another account has the name.
    /// - [`Error::LimitReached`]: the account has `bucket_max` buckets.
    /// - [`Error::Denied`]: it is suspended, and the engine lets nobody act for it.
    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error>;

    /// Deletes an empty bucket of the account.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    /// - [`Error::NotEmpty`]: it holds objects.
    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error>;

    /// Returns which account owns the bucket name; `None` when none does. Where others than our
    /// accounts use the engine, creating a bucket of a name that is theirs says that it is taken.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]
    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error>;

    /// Lists buckets of the account by name, those after `after`, at most `max` of them.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error>;

    /// Sets what a bucket may store. One below what is stored is taken.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    /// - [`Error::Unsupported`]: see [`Capabilities::bucket_quota`].
    async fn set_bucket_quota(
        &self,
        _uid: &S3uid,
        _bucket: &BucketName,
        _quota: Quota,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Lists a page of a bucket's objects in the byte order of their keys.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error>;

    /// Opens an object for ourselves: whatever its account's keys open, and in nobody's usage. The
    /// body is as long as the head says, or ends with an error.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket, or the bucket no such object.
    /// - [`Error::Invalid`]: it cannot be read without a key of its customer's.
    async fn read_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<OpenObject, Error>;

    /// Stores an object by our own hand, in place of one that is there: whatever the account's
    /// keys open, and in nobody's usage. What is stored is what the source gave, as long as was
    /// said and checked by a digest on its way, or it fails and all is as before. It is the
    /// account's own in every respect. Answers its entity tag.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    /// - [`Error::Denied`]: the account is read-only, or suspended, and the engine lets nobody act
    ///   for it then.
    /// - [`Error::Invalid`]: the engine takes no such key or metadata.
    /// - [`Error::QuotaExceeded`]
    /// - Those of the source.
    async fn write_object(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Error>;

    /// Says what of a bucket a copy of its objects would leave behind, and what its customer could
    /// not do without: other versions of objects, locks. None: there is no such thing.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn left_behind(
        &self,
        _uid: &S3uid,
        _bucket: &BucketName,
    ) -> Result<Vec<&'static str>, Error> {
        Ok(Vec::new())
    }

    /// Deletes an object. A key that is not there is deleted already.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn delete_object(&self, uid: &S3uid, bucket: &BucketName, key: &str)
    -> Result<(), Error>;

    /// Deletes objects, at most 1000. Keys that are not there are deleted already. After a failure
    /// some of them may be deleted.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        for key in keys {
            self.delete_object(uid, bucket, key).await?;
        }
        Ok(())
    }

    /// Lists unfinished uploads of a bucket by key and id, those after `after`, at most `max` of
    /// them, and at most 1000.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error>;

    /// Ends unfinished uploads of a bucket that were begun before a time, and frees their parts, at
    /// most `max` of them; `None`: whenever they were begun. Answers how many. Fewer than `max`:
    /// there are no more.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error>;

    /// Makes a URL of the S3 endpoint that allows one thing to whoever has it, signed by one of
    /// the account's keys: it works as long as that key does, and `valid_for` at most.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the account has no such bucket.
    /// - [`Error::Invalid`]: the account has no key, or the time is out of bounds.
    /// - [`Error::Unsupported`]: see [`Capabilities::presign`].
    async fn presign(
        &self,
        _uid: &S3uid,
        _bucket: &BucketName,
        _what: &Presign,
    ) -> Result<SecretString, Error> {
        Err(Error::Unsupported)
    }

    /// Returns what changed since `after`, at most about `max` rows. Figures are absolute.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: the cursor is not of this engine.
    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error>;

    /// Returns the account's own figures at this moment.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: no such account.
    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error>;

    /// Returns the master keys and what is sealed under each. `None`: the engine keeps its secrets
    /// by itself.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]
    async fn keyring(&self) -> Result<Option<EngineKeyring>, Error> {
        Ok(None)
    }

    /// Moves records under the newest usable master key, those after `after`, at most `max`.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]: a repeat goes on.
    async fn rewrap(&self, _after: &str, _max: u32) -> Result<Rewrapped, Error> {
        Ok(Rewrapped::default())
    }

    /// Returns how much room there is.
    ///
    /// # Errors
    /// - [`Error::Unsupported`]: see [`Capabilities::capacity`].
    async fn capacity(&self) -> Result<Capacity, Error> {
        Err(Error::Unsupported)
    }

    /// Succeeds when the engine can serve.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]
    async fn health(&self) -> Result<(), Error>;
}
