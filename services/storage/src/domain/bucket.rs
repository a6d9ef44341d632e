//! Buckets of accounts, asked of the engine live. What customers change is in `bucket_change`.

use stowage_auth::RequestContext;
use stowage_engine::{BucketInfo, BucketNamespace, Engine, Error as EngineError, Quota};
use stowage_proto::storage as pb;
use stowage_types::{BucketName, S3uid, name, page, timestamp};

use super::location::Location;
use super::{Storage, Used, signed};
use crate::config::LocationState;
use crate::error::Error;

const LISTING: &str = "buckets";
/// Buckets read per call while one is looked for.
const LOOK_PAGE: u32 = 100;

/// A page of buckets.
#[derive(Debug)]
pub(crate) struct BucketPage {
    pub(crate) buckets: Vec<BucketInfo>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

impl Storage {
    /// Makes a bucket for a service; answers it.
    pub(super) async fn ensure_bucket(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        bucket: &BucketName,
    ) -> Result<BucketInfo, Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_changeable(cx)?;
        check_bucket_limit(&used, uid, bucket).await?;
        made_bucket(self, used.engine(), (uid, bucket)).await
    }

    pub(crate) async fn buckets(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        page_size: i64,
        page_token: &str,
    ) -> Result<BucketPage, Error> {
        let used = self.visible_account(cx, uid).await?;
        let scope = name::account(uid);
        let after = match page::decode(LISTING, &scope, page_token) {
            Ok(after) => after.map(|text| BucketName::new(&text)).transpose(),
            Err(error) => Err(error),
        };
        let after = after.map_err(|_| Error::PageTokenInvalid)?;
        let max = u32::try_from(page_size).unwrap_or(u32::MAX);
        let buckets = used.engine().list_buckets(uid, after.as_ref(), max).await?;
        let mut next_page_token = String::new();
        if buckets.len() >= usize::try_from(max).unwrap_or(usize::MAX)
            && let Some(last) = buckets.last()
            && !used.engine().list_buckets(uid, Some(&last.bucket), 1).await?.is_empty()
        {
            next_page_token = page::encode(LISTING, &scope, last.bucket.as_str());
        }
        Ok(BucketPage { buckets, next_page_token })
    }

    /// Sets a bucket's own bounds; answers it.
    pub(crate) async fn set_bucket_quota(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        quota: Quota,
    ) -> Result<BucketInfo, Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_changeable(cx)?;
        let set = used.engine().set_bucket_quota(uid, bucket, quota).await;
        set.map_err(|error| bucket_error(error, bucket))?;
        let found = find_bucket(used.engine(), uid, bucket).await?;
        found.ok_or_else(|| Error::BucketNotFound { bucket: bucket.as_str().to_owned() })
    }

    /// Deletes an empty bucket for a service.
    pub(super) async fn remove_bucket(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        resumes: bool,
    ) -> Result<(), Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_deletable(cx)?;
        match used.engine().delete_bucket(uid, bucket).await {
            // An attempt before this one was cut off, and most likely this is its effect.
            Err(EngineError::NotFound) if resumes => Ok(()),
            deleted => deleted.map_err(|error| bucket_error(error, bucket)),
        }
    }

    /// Says whether an order for a bucket of that name could go through; answers where.
    pub(crate) async fn check_bucket_name(
        &self,
        _cx: &RequestContext,
        location: &str,
        bucket: &BucketName,
    ) -> Result<Location, Error> {
        let found = crate::store::location::find(&self.db, location).await?;
        let location = found.ok_or(Error::LocationNotFound)?;
        if location.state != LocationState::Open {
            return Err(Error::LocationClosed { location: location.code });
        }
        let site = self.site(&location.code).await?;
        let engine = &*site.engine;
        let is_shared = engine.capabilities().namespace == BucketNamespace::Engine;
        if is_shared && engine.bucket_owner(bucket).await?.is_some() {
            return Err(Error::BucketNameTaken { bucket: bucket.as_str().to_owned() });
        }
        Ok(location)
    }
}

/// A bucket as callers get it.
pub(crate) fn message_of(uid: &S3uid, info: BucketInfo) -> pb::Bucket {
    pb::Bucket {
        name: name::bucket(uid, &info.bucket),
        bucket: info.bucket.into(),
        create_time: Some(timestamp(info.create_time)),
        object_count: signed(info.object_count),
        stored_bytes: signed(info.stored_bytes),
        received_bytes: signed(info.received_bytes),
        sent_bytes: signed(info.sent_bytes),
        quota_bytes: info.quota.bytes.map(signed),
        quota_objects: info.quota.objects.map(signed),
    }
}

/// Makes a bucket at its engine, unless the account has it, and looks at it.
pub(super) async fn made_bucket(
    storage: &Storage,
    engine: &dyn Engine,
    (uid, bucket): (&S3uid, &BucketName),
) -> Result<BucketInfo, Error> {
    let created = engine.create_bucket(uid, bucket).await;
    created.map_err(|error| match error {
        EngineError::AlreadyExists => Error::BucketNameTaken { bucket: bucket.as_str().to_owned() },
        EngineError::Invalid { why } => Error::field("bucket", why),
        other => other.into(),
    })?;
    let found = find_bucket(engine, uid, bucket).await?;
    // Deleted again in this moment: it was made, and was empty.
    Ok(found.unwrap_or_else(|| BucketInfo {
        bucket: bucket.clone(),
        create_time: storage.clock.now(),
        object_count: 0,
        stored_bytes: 0,
        received_bytes: 0,
        sent_bytes: 0,
        quota: Quota::default(),
    }))
}

/// What an engine's error means where a bucket of a known account was named.
pub(super) fn bucket_error(error: EngineError, bucket: &BucketName) -> Error {
    match error {
        EngineError::NotFound => Error::BucketNotFound { bucket: bucket.as_str().to_owned() },
        other => other.into(),
    }
}

/// Keeps to the account's bound where the engine does not. Two calls at once may pass it
/// together; such engines offer nothing to prevent that.
pub(super) async fn check_bucket_limit(
    used: &Used,
    uid: &S3uid,
    bucket: &BucketName,
) -> Result<(), Error> {
    let Some(max) = used.account.limits.bucket_max else {
        return Ok(());
    };
    if used.engine().capabilities().bucket_limit {
        return Ok(());
    }
    let mut count = 0;
    let mut after = None;
    loop {
        let page = used.engine().list_buckets(uid, after.as_ref(), LOOK_PAGE).await?;
        if page.iter().any(|info| info.bucket == *bucket) {
            return Ok(());
        }
        let Some(last) = page.last() else {
            return Ok(());
        };
        count += page.len();
        if count >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(Error::BucketLimit);
        }
        after = Some(last.bucket.clone());
    }
}

/// Finds one bucket in the listing, starting just before its name.
pub(super) async fn find_bucket(
    engine: &dyn Engine,
    uid: &S3uid,
    bucket: &BucketName,
) -> Result<Option<BucketInfo>, Error> {
    // The name without its last letter sorts before it. Where that is no name, start at the
    // beginning.
    let text = bucket.as_str();
    let mut after = text.get(..text.len() - 1).and_then(|shorter| BucketName::new(shorter).ok());
    loop {
        let page = engine.list_buckets(uid, after.as_ref(), LOOK_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        let is_past = last.bucket >= *bucket;
        let next = last.bucket.clone();
        if let Some(info) = page.into_iter().find(|info| info.bucket == *bucket) {
            return Ok(Some(info));
        }
        if is_past {
            return Ok(None);
        }
        after = Some(next);
    }
}
