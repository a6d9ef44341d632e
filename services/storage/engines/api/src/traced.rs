//! An engine whose calls are spans.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use stowage_trace::{About, KeyValue, Kind, Span};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use crate::{
    AccountInfo, AccountSpec, AccountUsage, BucketInfo, Capabilities, Capacity, Engine,
    EngineKeyring, Error, KeyUsage, ListQuery, ObjectPage, Presign, Quota, Rewrapped, UploadCursor,
    UploadInfo, UsageBatch, UsageCursor,
};

/// Makes each call of an engine a span of the trace it is part of. What polls has none.
#[derive(Debug)]
pub struct Traced {
    engine: Arc<dyn Engine>,
    location: String,
}

impl Traced {
    /// Wraps the engine of a location.
    #[must_use]
    pub fn engine(engine: Arc<dyn Engine>, location: &str) -> Arc<dyn Engine> {
        Arc::new(Self { engine, location: location.to_owned() })
    }

    async fn call<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = Span::child(|| {
            let attributes = [
                KeyValue::new("stowage.engine.method", method),
                KeyValue::new("stowage.location", self.location.clone()),
            ];
            About::new(Kind::Client, format!("engine {method}"), attributes)
        });
        let result = span.run(call).await;
        if let Err(error) = &result {
            span.fail(kind_of(error));
        }
        result
    }
}

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::NotFound => "NOT_FOUND",
        Error::AlreadyExists => "ALREADY_EXISTS",
        Error::NotEmpty => "NOT_EMPTY",
        Error::QuotaExceeded => "QUOTA_EXCEEDED",
        Error::LimitReached => "LIMIT_REACHED",
        Error::Denied => "DENIED",
        Error::Invalid { .. } => "INVALID",
        Error::Conflict => "CONFLICT",
        Error::Unsupported => "UNSUPPORTED",
        Error::Unavailable { .. } => "UNAVAILABLE",
    }
}

#[async_trait]
impl Engine for Traced {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        self.call("ensure_account", self.engine.ensure_account(spec)).await
    }

    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        self.call("remove_account", self.engine.remove_account(uid, purge)).await
    }

    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        self.call("list_accounts", self.engine.list_accounts(after, max)).await
    }

    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        self.call("key_usage", self.engine.key_usage(uid)).await
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.call("create_bucket", self.engine.create_bucket(uid, bucket)).await
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        self.call("delete_bucket", self.engine.delete_bucket(uid, bucket)).await
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        self.call("bucket_owner", self.engine.bucket_owner(bucket)).await
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        self.call("list_buckets", self.engine.list_buckets(uid, after, max)).await
    }

    async fn set_bucket_quota(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), Error> {
        self.call("set_bucket_quota", self.engine.set_bucket_quota(uid, bucket, quota)).await
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error> {
        self.call("list_objects", self.engine.list_objects(uid, bucket, query)).await
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Error> {
        self.call("delete_object", self.engine.delete_object(uid, bucket, key)).await
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        self.call("delete_objects", self.engine.delete_objects(uid, bucket, keys)).await
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        self.call("list_uploads", self.engine.list_uploads(uid, bucket, after, max)).await
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        let aborted = self.engine.abort_uploads(uid, bucket, begun_before, max);
        self.call("abort_uploads", aborted).await
    }

    async fn presign(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        what: &Presign,
    ) -> Result<SecretString, Error> {
        self.call("presign", self.engine.presign(uid, bucket, what)).await
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        self.call("collect_usage", self.engine.collect_usage(after, max)).await
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        self.call("account_usage", self.engine.account_usage(uid)).await
    }

    // These have defaults, which would hide what the engine has.
    async fn keyring(&self) -> Result<Option<EngineKeyring>, Error> {
        self.call("keyring", self.engine.keyring()).await
    }

    async fn rewrap(&self, after: &str, max: u32) -> Result<Rewrapped, Error> {
        self.call("rewrap", self.engine.rewrap(after, max)).await
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.call("capacity", self.engine.capacity()).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.call("health", self.engine.health()).await
    }
}
