//! The engine as the storage role sees it; the work is done in the files beside this one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::SdkBody;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, Adopted, AdoptionSupport, BucketInfo,
    BucketNamespace, Capabilities, Engine, Error, Foreign, KeyUsage, ListQuery, NewObject,
    ObjectPage, OpenObject, Presign, Quota, QuotaSupport, UploadCursor, UploadInfo, UsageBatch,
    UsageCursor,
};
use stowage_engine_remote::{Connector, Fault, Hand, Locks, Net, OpenError, S3, endpoint_of};
use stowage_types::{BucketName, Clock, Random, S3uid, SecretString};
use time::OffsetDateTime;

use crate::admin::{ANSWER_BYTES_MAX, Admin};
use crate::options::CephOptions;
use crate::user::{Known, UserId};
use crate::watch::Watch;

/// What the engine can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    engine: "ceph-rgw",
    quota: QuotaSupport::Approximate,
    object_quota: QuotaSupport::Approximate,
    bucket_quota: QuotaSupport::Approximate,
    read_only: true,
    bucket_limit: true,
    traffic: true,
    immediate_figures: true,
    changes_at_once: false,
    deletions_at_once: false,
    keys_reusable: true,
    adopts: AdoptionSupport::Bounded,
    issues_keys: false,
    keys_max: None,
    client_buckets: true,
    key_usage: false,
    cuts_transfers: false,
    unfinished_apart: false,
    slash_keys: true,
    namespace: BucketNamespace::Engine,
    presign: true,
    capacity: false,
};

/// A Ceph RADOS Gateway, or several behind one address.
pub struct Ceph {
    pub(crate) admin: Admin,
    pub(crate) net: Net,
    pub(crate) s3: S3,
    s3_endpoint: String,
    pub(crate) locks: Locks,
    pub(crate) watch: Watch,
    pub(crate) known: Known,
    pub(crate) options: CephOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl fmt::Debug for Ceph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.options.admin_endpoint;
        f.debug_struct("Ceph").field("endpoint", endpoint).finish_non_exhaustive()
    }
}

impl Ceph {
    /// An engine that asks RGW when it is asked. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(
        options: CephOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let admin = endpoint_of(&options.admin_endpoint)?;
        let s3 = endpoint_of(&options.s3_endpoint)?;
        let connector = Connector::new(options.ca.clone(), [&admin, &s3], options.connect_timeout)?;
        let net = Net::new(connector);
        let base = format!("{admin}/{}", options.admin_path.trim_matches('/'));
        Ok(Self {
            admin: Admin::new(net.clone(), base, &options, Arc::clone(&clock)),
            s3: S3::new(&net, s3.clone(), options.region.clone(), options.call_timeout),
            s3_endpoint: s3,
            net,
            locks: Locks::default(),
            watch: Watch::default(),
            known: Known::default(),
            options,
            clock,
            random,
        })
    }

    /// RGW's own user of ours: as a system user it may do everything, also with what belongs to
    /// who is suspended, and its calls are in nobody's usage.
    pub(crate) fn our_hand(&self) -> Hand {
        self.s3.hand(&self.options.access_key, &self.options.secret_key)
    }

    /// The same user acting for an account: what he makes so is the account's own, in all that
    /// S3 says of owners, and still in nobody's usage. RGW does it for who is not suspended.
    ///
    /// Source: Ceph, `src/rgw/rgw_auth.h`, `SysReqApplier`: `rgwx-uid` of a system user's request.
    pub(crate) fn for_account(&self, hand: Hand, user: &UserId) -> Hand {
        hand.acting_for("rgwx-uid", user.as_str())
    }

    /// Asks for the buckets of nobody. RGW answers that there are none.
    pub(crate) async fn ask_without_name(&self) -> Result<(), Fault> {
        let request = http::Request::get(format!("{}/", self.s3_endpoint)).body(SdkBody::empty());
        let request = request.map_err(Fault::failed)?;
        self.net.ask(request, self.options.call_timeout, ANSWER_BYTES_MAX).await.map(drop)
    }
}

#[async_trait]
impl Engine for Ceph {
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
        self.as_owner(uid, bucket, |hand| async move { hand.delete_bucket(bucket).await }).await
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        match self.admin.bucket(bucket.as_str()).await? {
            Some(found) => self.uid_of(&found.owner).await,
            None => Ok(None),
        }
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
        let list = |hand: Hand| async move { hand.list(bucket, query).await };
        match query.unbilled {
            true => self.as_us(uid, bucket, list).await,
            false => self.as_owner(uid, bucket, list).await,
        }
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
        let user = &self.account(uid).await?.user_id;
        let write = |hand| async move { self.for_account(hand, user).write(new).await };
        self.as_us(uid, new.bucket, write).await
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
        self.as_owner(uid, bucket, |hand| async move { hand.delete(bucket, key).await }).await
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        self.as_owner(uid, bucket, |hand| async move { hand.delete_all(bucket, keys).await }).await
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        self.as_owner(uid, bucket, |hand| async move { hand.uploads(bucket, after, max).await })
            .await
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        self.as_owner(uid, bucket, |hand| async move {
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

    async fn health(&self) -> Result<(), Error> {
        self.admin.users("", 1).await?;
        Ok(())
    }
}
