//! The engine as the storage role sees it; the work is done in the files beside this one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, AdoptionSupport, BucketInfo,
    BucketNamespace, Capabilities, Engine, Error, KeyPair, KeyUsage, ListQuery, NewObject,
    ObjectPage, OpenObject, QuotaSupport, UploadCursor, UploadInfo, UsageBatch, UsageCursor,
};
use stowage_engine_remote::{Connector, Hand, Locks, Net, OpenError, S3, endpoint_of};
use stowage_types::{BucketName, Clock, Random, S3uid};
use time::OffsetDateTime;

use crate::count::Counted;
use crate::iam::Iam;
use crate::options::AwsOptions;
use crate::record::Names;

/// What the engine can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    engine: "aws",
    quota: QuotaSupport::Absent,
    object_quota: QuotaSupport::Absent,
    bucket_quota: QuotaSupport::Absent,
    read_only: true,
    bucket_limit: true,
    traffic: false,
    immediate_figures: false,
    changes_at_once: false,
    deletions_at_once: false,
    keys_reusable: false,
    adopts: AdoptionSupport::Absent,
    issues_keys: true,
    keys_max: Some(2),
    client_buckets: false,
    key_usage: true,
    cuts_transfers: false,
    unfinished_apart: true,
    slash_keys: true,
    namespace: BucketNamespace::Engine,
    presign: false,
    capacity: false,
};

/// S3 whose users are those of IAM.
pub struct Aws {
    pub(crate) iam: Iam,
    s3: S3,
    pub(crate) names: Names,
    pub(crate) locks: Locks,
    pub(crate) counted: Counted,
    pub(crate) options: AwsOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.options.s3_endpoint;
        f.debug_struct("Aws").field("endpoint", endpoint).finish_non_exhaustive()
    }
}

impl Aws {
    /// An engine that asks when it is asked. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(
        options: AwsOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let iam = endpoint_of(&options.iam_endpoint)?;
        let s3 = endpoint_of(&options.s3_endpoint)?;
        let connector = Connector::new(options.ca.clone(), [&iam, &s3], options.connect_timeout)?;
        let net = Net::new(connector);
        Ok(Self {
            iam: Iam::new(net.clone(), &iam, &options, Arc::clone(&clock)),
            s3: S3::new(&net, s3, options.region.clone(), options.call_timeout),
            names: Names::of_region(&options.region),
            locks: Locks::default(),
            counted: Counted::default(),
            options,
            clock,
            random,
        })
    }

    /// Our own user, who may do everything with all buckets of the AWS account.
    pub(crate) fn our_hand(&self) -> Hand {
        self.s3.hand(&self.options.access_key, &self.options.secret_key)
    }
}

#[async_trait]
impl Engine for Aws {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        self.make_account(spec).await
    }

    async fn issue_key(&self, uid: &S3uid) -> Result<KeyPair, Error> {
        self.make_key(uid).await
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

    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        self.usage_of_keys(uid).await
    }

    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        self.owner_of_key(access_key).await
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.make_bucket(uid, bucket).await
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.unmake_bucket(uid, bucket).await
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        self.owner_of_bucket(bucket).await
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        self.buckets(uid, after, max).await
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error> {
        self.as_us(uid, bucket, |hand| async move { hand.list(bucket, query).await }).await
    }

    async fn read_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<OpenObject, Error> {
        self.as_us(uid, bucket, |hand| async move { hand.read(bucket, key).await }).await
    }

    async fn write_object(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Error> {
        self.as_us(uid, new.bucket, |hand| async move { hand.write(new).await }).await
    }

    async fn left_behind(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
    ) -> Result<Vec<&'static str>, Error> {
        let keeps = |hand: Hand| async move { hand.keeps_versions(bucket).await };
        let keeps = self.as_us(uid, bucket, keeps).await?;
        Ok(if keeps { vec!["versions of objects"] } else { Vec::new() })
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Error> {
        self.as_us(uid, bucket, |hand| async move { hand.delete(bucket, key).await }).await
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        self.as_us(uid, bucket, |hand| async move { hand.delete_all(bucket, keys).await }).await
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        self.as_us(uid, bucket, |hand| async move { hand.uploads(bucket, after, max).await }).await
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        self.as_us(uid, bucket, |hand| async move {
            hand.abort_uploads(bucket, begun_before, max).await
        })
        .await
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        self.collect(after, max).await
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        self.usage_of(uid).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.iam.users(None, 1).await.map(drop)
    }
}
