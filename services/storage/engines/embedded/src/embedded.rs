//! Opening the engine, and the engine as the storage role sees it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use s3s::service::{S3Service, S3ServiceBuilder};
use stowage_db::Db;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, AdoptionSupport, BucketInfo,
    BucketNamespace, Capabilities, Capacity, Engine, EngineKeyring, Error as Refusal, KeyUsage,
    ListQuery, NewObject, ObjectInfo, ObjectPage, OpenObject, Presign, Quota, QuotaSupport,
    Rewrapped, UploadCursor, UploadInfo, UsageBatch, UsageCursor,
};
use stowage_keyring::Keyring;
use stowage_types::{BucketName, Clock, Random, S3uid, SecretString};
use time::OffsetDateTime;

use crate::access::Access;
use crate::auth::{Auth, Keys};
use crate::blobs::Blobs;
use crate::config::EmbeddedConfig;
use crate::error::Error;
use crate::index::list::{After, Query};
use crate::index::{Index, MIGRATOR, unsigned};
use crate::s3::Backend;
use crate::traffic::Traffic;

/// Keys that a purge deletes in one transaction.
const PURGE_BATCH: u32 = 500;
/// Objects of a page.
const PAGE_MAX: u32 = 1000;
/// Buckets of a page.
const BUCKETS_MAX: u32 = 1000;
/// Accounts of a page.
const ACCOUNTS_MAX: u32 = 1000;

/// Why the engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error("the data folder {path:?} cannot be used")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the folder open; two would unlink each other's files.
    #[error("the data folder {path:?} is in use by another process")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The index does not open.
    #[error("the index of the embedded engine does not open")]
    Index(#[from] stowage_db::OpenError),
    /// What a crash left behind could not be cleared away.
    #[error("the blobs could not be swept")]
    Sweep {
        /// Why.
        source: stowage_engine::BoxError,
    },
}

/// What the engine can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    engine: "embedded",
    quota: QuotaSupport::Exact,
    object_quota: QuotaSupport::Exact,
    bucket_quota: QuotaSupport::Exact,
    read_only: true,
    bucket_limit: true,
    traffic: true,
    immediate_figures: true,
    changes_at_once: true,
    deletions_at_once: true,
    keys_reusable: true,
    adopts: AdoptionSupport::Absent,
    issues_keys: false,
    keys_max: None,
    client_buckets: true,
    key_usage: true,
    cuts_transfers: true,
    unfinished_apart: true,
    slash_keys: true,
    namespace: BucketNamespace::Engine,
    presign: true,
    capacity: true,
};

/// The engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Embedded {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: EmbeddedConfig,
    pub(crate) index: Index,
    pub(crate) blobs: Blobs,
    backend: Backend,
    pub(crate) keys: Arc<Keys>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) service: S3Service,
    /// Locked while the engine lives.
    _lock: File,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("root", &self.inner.config.root).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the data folder, creating it if absent, and removes what a crash left behind.
    ///
    /// Needs a tokio runtime. `keyring` seals the secrets of access keys; it must be the one they
    /// were sealed with.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        config: EmbeddedConfig,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let lock = prepare_folder(&config.root)?;
        let db = Db::open(&config.root.join("index.sqlite"), &MIGRATOR).await?;
        let index = Index { db, clock: Arc::clone(&clock), random, keyring };
        let blobs = Blobs::new(config.root.join("blobs"));
        let swept = blobs.sweep(&index).await;
        let swept = swept.map_err(|error| OpenError::Sweep { source: error.into() })?;
        if swept > 0 {
            tracing::info!(files = swept, "files that nothing spoke of were removed");
        }
        let keys = Arc::new(Keys::new(index.clone()));
        let backend = Backend {
            index: index.clone(),
            blobs: blobs.clone(),
            region: config.region.as_str().into(),
            inline_bytes_max: config.inline_bytes_max,
        };
        let mut builder = S3ServiceBuilder::new(backend.clone());
        builder.set_auth(Auth(Arc::clone(&keys)));
        builder.set_access(Access { index: index.clone(), keys: Arc::clone(&keys) });
        let service = builder.build();
        let traffic = Arc::new(Traffic::new(clock));
        let inner = Inner { config, index, blobs, backend, keys, traffic, service, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes counted traffic into the index.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]: the counts stay in memory.
    pub async fn flush(&self) -> Result<(), Refusal> {
        let inner = Arc::clone(&self.inner);
        // By itself: a caller who gives up must not take along what was counted until then.
        let flushed = tokio::spawn(async move { inner.traffic.flush(&inner.index).await }).await;
        Ok(flushed.map_err(|stopped| Error::Io(std::io::Error::other(stopped)))??)
    }

    /// Writes down when keys were used.
    pub(crate) async fn save_key_usage(&self) -> Result<(), Error> {
        self.inner.keys.save_usage().await
    }

    /// Unlinks files that nothing needs, and returns how many.
    pub(crate) async fn collect_garbage(&self) -> Result<usize, Error> {
        self.inner.blobs.collect_garbage(&self.inner.index).await
    }

    /// Empties and deletes a bucket, some objects at a time, so that others get their turn.
    async fn purge_bucket(&self, uid: &S3uid, name: &BucketName) -> Result<(), Error> {
        let index = &self.inner.index;
        let bucket = index.own_bucket(uid, name.as_str()).await?;
        loop {
            let keys = index.some_keys(&bucket, PURGE_BATCH).await?;
            if keys.is_empty() {
                match index.delete_bucket(&bucket).await {
                    // A request that was running has put an object.
                    Err(Error::NotEmpty) => continue,
                    deleted => return deleted,
                }
            }
            index.delete_objects(&bucket, keys.iter().map(Vec::as_slice)).await?;
        }
    }
}

/// Makes and locks the folder.
fn prepare_folder(root: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder { path: root.to_owned(), source };
    std::fs::create_dir_all(root.join("blobs")).map_err(failed)?;
    crate::blobs::sync_folder(root).map_err(failed)?;
    let lock = File::create(root.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[async_trait]
impl Engine for Embedded {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Refusal> {
        let ensured = self.inner.index.ensure_account(spec).await;
        self.inner.keys.invalidate(&spec.uid);
        Ok(ensured?)
    }

    async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Refusal> {
        let set = self.inner.index.set_access(uid, access).await;
        self.inner.keys.invalidate(uid);
        Ok(set?)
    }

    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Refusal> {
        let index = &self.inner.index;
        if purge {
            index.freeze_account(uid).await?;
            self.inner.keys.invalidate(uid);
            loop {
                let page = index.list_buckets(uid, "", "", BUCKETS_MAX).await?;
                if page.is_empty() {
                    break;
                }
                for info in page {
                    match self.purge_bucket(uid, &info.bucket).await {
                        Ok(()) | Err(Error::NoSuchBucket) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        let removed = index.remove_empty_account(uid).await;
        self.inner.keys.invalidate(uid);
        Ok(removed?)
    }

    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Refusal> {
        let after = after.map_or("", S3uid::as_str);
        Ok(self.inner.index.list_accounts(after, max.min(ACCOUNTS_MAX)).await?)
    }

    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Refusal> {
        self.inner.index.account_usage(uid).await?;
        Ok(self.inner.keys.usage(uid).await?)
    }

    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Refusal> {
        Ok(self.inner.keys.find(access_key).await?.map(|known| known.uid))
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Refusal> {
        Ok(self.inner.index.create_bucket(uid, bucket).await?)
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        Ok(self.inner.index.delete_bucket(&bucket).await?)
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Refusal> {
        let found = self.inner.index.find_bucket(bucket.as_str()).await?;
        Ok(found.map(|bucket| bucket.uid))
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Refusal> {
        self.flush().await?;
        self.inner.index.account_usage(uid).await?;
        let after = after.map_or("", BucketName::as_str);
        Ok(self.inner.index.list_buckets(uid, after, "", max.min(BUCKETS_MAX)).await?)
    }

    async fn set_bucket_quota(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        Ok(self.inner.index.set_bucket_quota(&bucket, quota).await?)
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        let after = query.after.as_ref();
        let query = Query {
            prefix: query.prefix.clone().into_bytes(),
            delimiter: query.delimiter.map(|c| c.to_string().into_bytes()).unwrap_or_default(),
            after: after.map_or(After::Start, |item| After::Item(item.clone().into_bytes())),
            max: query.max.min(PAGE_MAX) as usize,
        };
        let page = self.inner.index.list_objects(&bucket, &query).await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let objects = page.rows.into_iter().map(|row| ObjectInfo {
            key: text(row.key),
            size_bytes: unsigned(row.size_bytes),
            update_time: row.update_time,
            etag: row.etag,
        });
        Ok(ObjectPage {
            objects: objects.collect(),
            prefixes: page.prefixes.into_iter().map(text).collect(),
            next: page.next.map(text),
        })
    }

    async fn read_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<OpenObject, Refusal> {
        Ok(self.inner.backend.read(uid, bucket.as_str(), key).await?)
    }

    async fn write_object(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Refusal> {
        self.inner.backend.write(uid, new).await
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        Ok(self.inner.index.delete_objects(&bucket, [key.as_bytes()]).await?)
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        Ok(self.inner.index.delete_objects(&bucket, keys.iter().map(String::as_bytes)).await?)
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        Ok(self.inner.index.uploads(&bucket, after, max.min(PAGE_MAX)).await?)
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Refusal> {
        let bucket = self.inner.index.own_bucket(uid, bucket.as_str()).await?;
        let aborted = self.inner.index.abort_uploads(&bucket, begun_before, max).await?;
        Ok(u32::try_from(aborted).unwrap_or(u32::MAX))
    }

    async fn presign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Refusal> {
        let index = &self.inner.index;
        index.own_bucket(uid, bucket.as_str()).await?;
        let keys = index.some_key(uid).await?;
        let keys = keys.ok_or_else(|| Error::Invalid("the account has no key".to_owned()))?;
        what.url(&keys, bucket, index.clock.now())
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Refusal> {
        self.flush().await?;
        Ok(self.inner.index.collect_usage(after, max).await?)
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Refusal> {
        Ok(self.inner.index.account_usage(uid).await?)
    }

    async fn keyring(&self) -> Result<Option<EngineKeyring>, Refusal> {
        Ok(Some(self.inner.index.keyring_view().await?))
    }

    async fn rewrap(&self, after: &str, max: u32) -> Result<Rewrapped, Refusal> {
        Ok(self.inner.index.rewrap(after, max).await?)
    }

    async fn capacity(&self) -> Result<Capacity, Refusal> {
        let root = self.inner.config.root.clone();
        let room = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&root)).await;
        let room = room.map_err(Refusal::unavailable)?.map_err(Refusal::unavailable)?;
        Ok(Capacity {
            total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        })
    }

    async fn health(&self) -> Result<(), Refusal> {
        self.inner.index.db.ping().await.map_err(|error| Error::from(error).into())
    }
}
