//! An engine with something around each of its calls: one list of the methods for every wrapper.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use crate::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, Adopted, BucketInfo, Capabilities,
    Capacity, Engine, EngineKeyring, Error, Foreign, KeyPair, KeyUsage, ListQuery, NewObject,
    ObjectPage, OpenObject, Presign, Quota, Rewrapped, UploadCursor, UploadInfo, UsageBatch,
    UsageCursor,
};

/// A call that can be made as often as a wrapper likes.
pub type Call<'a, T> =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>> + Send + Sync + 'a>;

/// What is around each call.
pub trait Around: Send + Sync + fmt::Debug {
    /// Makes the call of a method, or not, and answers for it.
    fn around<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: Call<'a, T>,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'a;
}

/// An engine with something around each of its calls.
#[derive(Debug)]
pub struct Wrapped<A> {
    engine: Arc<dyn Engine>,
    around: A,
}

impl<A> Wrapped<A> {
    /// Wraps an engine.
    pub fn new(engine: Arc<dyn Engine>, around: A) -> Self {
        Self { engine, around }
    }
}

/// Forwards a method.
macro_rules! call {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        $self
            .around
            .around(stringify!($method), Box::new(move || $self.engine.$method($($argument),*)))
            .await
    };
}

// Methods with defaults stand here too, or the default would hide what the engine has.
#[async_trait]
impl<A: Around> Engine for Wrapped<A> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        call!(self.ensure_account(spec))
    }

    async fn issue_key(&self, uid: &S3uid) -> Result<KeyPair, Error> {
        call!(self.issue_key(uid))
    }

    async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Error> {
        call!(self.set_access(uid, access))
    }

    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        call!(self.remove_account(uid, purge))
    }

    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        call!(self.list_accounts(after, max))
    }

    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        call!(self.key_usage(uid))
    }

    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        call!(self.key_owner(access_key))
    }

    async fn list_foreign(&self, after: Option<&str>, max: u32) -> Result<Vec<Foreign>, Error> {
        call!(self.list_foreign(after, max))
    }

    async fn find_foreign(&self, name: &str) -> Result<Option<Foreign>, Error> {
        call!(self.find_foreign(name))
    }

    async fn adopt(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        call!(self.adopt(name, uid))
    }

    async fn release(&self, uid: &S3uid) -> Result<(), Error> {
        call!(self.release(uid))
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        call!(self.create_bucket(uid, bucket))
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        call!(self.delete_bucket(uid, bucket))
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        call!(self.bucket_owner(bucket))
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        call!(self.list_buckets(uid, after, max))
    }

    async fn set_bucket_quota(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), Error> {
        call!(self.set_bucket_quota(uid, bucket, quota))
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error> {
        call!(self.list_objects(uid, bucket, query))
    }

    async fn read_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<OpenObject, Error> {
        call!(self.read_object(uid, bucket, key))
    }

    async fn write_object(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Error> {
        call!(self.write_object(uid, new))
    }

    async fn left_behind(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
    ) -> Result<Vec<&'static str>, Error> {
        call!(self.left_behind(uid, bucket))
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Error> {
        call!(self.delete_object(uid, bucket, key))
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        call!(self.delete_objects(uid, bucket, keys))
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        call!(self.list_uploads(uid, bucket, after, max))
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        call!(self.abort_uploads(uid, bucket, begun_before, max))
    }

    async fn presign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Error> {
        call!(self.presign(uid, bucket, what))
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        call!(self.collect_usage(after, max))
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        call!(self.account_usage(uid))
    }

    async fn keyring(&self) -> Result<Option<EngineKeyring>, Error> {
        call!(self.keyring())
    }

    async fn rewrap(&self, after: &str, max: u32) -> Result<Rewrapped, Error> {
        call!(self.rewrap(after, max))
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        call!(self.capacity())
    }

    async fn health(&self) -> Result<(), Error> {
        call!(self.health())
    }
}
