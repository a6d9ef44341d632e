//! The engine as the storage role sees it; the work is done in the files beside this one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, Adopted, AdoptionSupport, BucketInfo,
    BucketNamespace, Capabilities, Capacity, Engine, Error, Foreign, KeyUsage, ListQuery,
    NewObject, ObjectPage, OpenObject, Presign, Quota, QuotaSupport, UploadCursor, UploadInfo,
    UsageBatch, UsageCursor,
};
use stowage_engine_remote::{Connector, Locks, Net, OpenError, S3, endpoint_of};
use stowage_types::{BucketName, Clock, Random, S3uid, SecretString};
use time::OffsetDateTime;

use crate::admin::Admin;
use crate::options::GarageOptions;
use crate::record::Names;

/// What the engine can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    engine: "garage",
    quota: QuotaSupport::Sampled,
    object_quota: QuotaSupport::Sampled,
    bucket_quota: QuotaSupport::Exact,
    read_only: true,
    bucket_limit: true,
    traffic: false,
    immediate_figures: true,
    changes_at_once: false,
    deletions_at_once: true,
    keys_reusable: false,
    adopts: AdoptionSupport::Unbounded,
    issues_keys: false,
    keys_max: None,
    client_buckets: true,
    key_usage: false,
    cuts_transfers: false,
    unfinished_apart: true,
    slash_keys: false,
    namespace: BucketNamespace::Account,
    presign: true,
    capacity: true,
};

/// A Garage, one node or a cluster behind one address.
pub struct Garage {
    pub(crate) admin: Admin,
    pub(crate) s3: S3,
    pub(crate) names: Names,
    pub(crate) locks: Locks,
    pub(crate) options: GarageOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl fmt::Debug for Garage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.options.admin_endpoint;
        f.debug_struct("Garage").field("endpoint", endpoint).finish_non_exhaustive()
    }
}

impl Garage {
    /// An engine that asks Garage when it is asked. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(
        options: GarageOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let admin = endpoint_of(&options.admin_endpoint)?;
        let s3 = endpoint_of(&options.s3_endpoint)?;
        let connector = Connector::new(options.ca.clone(), [&admin, &s3], options.connect_timeout)?;
        let net = Net::new(connector);
        let (token, timeout) = (options.admin_token.clone(), options.call_timeout);
        Ok(Self {
            s3: S3::new(&net, s3, options.region.clone(), timeout).skipping_prefixes(),
            admin: Admin::new(net, admin, token, timeout),
            names: Names::new(&options.marker),
            locks: Locks::default(),
            options,
            clock,
            random,
        })
    }
}

#[async_trait]
impl Engine for Garage {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        self.make_account(spec).await
    }

    async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Error> {
        self.change_access(uid, access).await
    }

    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        self.unmake_account(uid, purge).await
    }

    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        self.accounts(after, max).await
    }

    async fn key_usage(&self, _uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        Err(Error::Unsupported)
    }

    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        self.owner_of_key(access_key).await
    }

    async fn list_foreign(&self, after: Option<&str>, max: u32) -> Result<Vec<Foreign>, Error> {
        self.foreign(after, max).await
    }

    async fn find_foreign(&self, name: &str) -> Result<Option<Foreign>, Error> {
        self.foreign_named(name).await
    }

    async fn adopt(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        self.take_over(name, uid).await
    }

    async fn release(&self, uid: &S3uid) -> Result<(), Error> {
        self.give_up(uid).await
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.make_bucket(uid, bucket).await
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.unmake_bucket(uid, bucket).await
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        self.holder(bucket).await
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        self.buckets(uid, after, max).await
    }

    async fn set_bucket_quota(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), Error> {
        self.bound_bucket(uid, bucket, quota).await
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error> {
        self.as_steward(uid, bucket, |hand| async move { hand.list(bucket, query).await }).await
    }

    async fn read_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<OpenObject, Error> {
        self.as_steward(uid, bucket, |hand| async move { hand.read(bucket, key).await }).await
    }

    async fn write_object(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Error> {
        self.as_steward(uid, new.bucket, |hand| async move { hand.write(new).await }).await
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Error> {
        self.as_steward(uid, bucket, |hand| async move { hand.delete(bucket, key).await }).await
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        self.as_steward(uid, bucket, |hand| async move { hand.delete_all(bucket, keys).await })
            .await
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        self.as_steward(uid, bucket, |hand| async move { hand.uploads(bucket, after, max).await })
            .await
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        self.as_steward(uid, bucket, |hand| async move {
            hand.abort_uploads(bucket, begun_before, max).await
        })
        .await
    }

    async fn presign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Error> {
        self.sign(uid, bucket, what).await
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        self.collect(after, max).await
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        self.usage_of(uid).await
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.room().await
    }

    async fn health(&self) -> Result<(), Error> {
        let health = self.admin.health().await?;
        match health.status.as_str() {
            "unavailable" => Err(Error::unavailable("Garage has lost too many of its nodes")),
            _ => Ok(()),
        }
    }
}
