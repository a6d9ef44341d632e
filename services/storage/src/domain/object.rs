//! Objects in buckets, for listings and single deletions.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_engine::{
    AccountAccess, Engine, Error as EngineError, ListQuery, ObjectInfo, Presign, PresignMethod,
};
use stowage_types::{BucketName, S3uid, SecretString};
use time::OffsetDateTime;

use super::Storage;
use super::bucket::bucket_error;
use crate::error::Error;

const LISTING: &str = "objects";
/// Keys a search looks at before it answers what it found.
const SCAN_KEYS_MAX: usize = 10_000;
/// Keys asked of the engine at once while searching.
const SCAN_PAGE: u32 = 1000;

/// Which objects to list.
#[derive(Debug)]
pub(crate) struct ObjectQuery {
    pub(crate) uid: S3uid,
    pub(crate) bucket: BucketName,
    pub(crate) prefix: String,
    /// Empty: no search.
    pub(crate) search: String,
    pub(crate) page_size: i64,
    pub(crate) page_token: String,
}

/// A page of objects.
#[derive(Debug, Default)]
pub(crate) struct ObjectPage {
    pub(crate) objects: Vec<ObjectInfo>,
    pub(crate) prefixes: Vec<String>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// What a signed URL is to allow.
#[derive(Debug)]
pub(crate) struct UrlQuery {
    pub(crate) uid: S3uid,
    pub(crate) bucket: BucketName,
    pub(crate) key: String,
    pub(crate) method: PresignMethod,
    pub(crate) valid_for: Duration,
}

/// A URL that opens an object.
#[derive(Debug)]
pub(crate) struct SignedUrl {
    pub(crate) url: SecretString,
    pub(crate) expire_time: OffsetDateTime,
}

impl ObjectQuery {
    /// What a token of this listing is tied to. The lengths keep prefix and search apart.
    fn scope(&self) -> String {
        let (prefix, search) = (&self.prefix, &self.search);
        let (uid, bucket) = (&self.uid, &self.bucket);
        format!("{uid}/{bucket}/{}:{prefix}/{}:{search}", prefix.len(), search.len())
    }
}

impl Storage {
    pub(crate) async fn objects(
        &self,
        cx: &RequestContext,
        query: &ObjectQuery,
    ) -> Result<ObjectPage, Error> {
        let used = self.visible_account(cx, &query.uid).await?;
        let scope = query.scope();
        let after = self
            .page_key
            .decode(LISTING, &scope, &query.page_token)
            .map_err(|_| Error::PageTokenInvalid)?;
        let (mut page, next) = if query.search.is_empty() {
            list_level(used.engine(), query, after).await?
        } else {
            search(used.engine(), query, after).await?
        };
        page.next_page_token =
            next.map(|cursor| self.page_key.encode(LISTING, &scope, &cursor)).unwrap_or_default();
        Ok(page)
    }

    pub(crate) async fn sign_object_url(
        &self,
        cx: &RequestContext,
        query: UrlQuery,
    ) -> Result<SignedUrl, Error> {
        let used = self.visible_account(cx, &query.uid).await?;
        let is_open = match used.account.limits.access {
            AccountAccess::Full => true,
            AccountAccess::ReadOnly => query.method == PresignMethod::Get,
            AccountAccess::Suspended => false,
        };
        if let Some(state) = used.account.limits.refusal().filter(|_| !is_open) {
            return Err(Error::AccountState { state });
        }
        // As customers reach it, which may not be as this process does.
        let location = crate::store::location::find(&self.db, &used.site.code).await?;
        let location = location.ok_or(Error::LocationNotFound)?;
        let expire_time = self.clock.now() + query.valid_for;
        let what = Presign {
            method: query.method,
            endpoint: location.endpoint,
            region: location.region,
            key: query.key,
            valid_for: query.valid_for,
        };
        let url = used.engine().presign(&query.uid, &query.bucket, &what).await;
        let url = url.map_err(|error| match error {
            EngineError::Invalid { why } => Error::field("key", why),
            other => bucket_error(other, &query.bucket),
        })?;
        Ok(SignedUrl { url, expire_time })
    }

    pub(crate) async fn delete_object(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        bucket: &BucketName,
        (key, resumes): (&str, bool),
    ) -> Result<(), Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_deletable(cx)?;
        match used.engine().delete_object(uid, bucket, key).await {
            // An attempt before this one was cut off, and since then the bucket went too.
            Err(EngineError::NotFound) if resumes => Ok(()),
            deleted => deleted.map_err(|error| bucket_error(error, bucket)),
        }
    }
}

/// One level below the prefix.
async fn list_level(
    engine: &dyn Engine,
    query: &ObjectQuery,
    after: Option<String>,
) -> Result<(ObjectPage, Option<String>), Error> {
    let asked = ListQuery {
        prefix: query.prefix.clone(),
        delimiter: Some('/'),
        after,
        max: u32::try_from(query.page_size).unwrap_or(u32::MAX),
        ..ListQuery::default()
    };
    let page = engine
        .list_objects(&query.uid, &query.bucket, &asked)
        .await
        .map_err(|error| bucket_error(error, &query.bucket))?;
    let answer =
        ObjectPage { objects: page.objects, prefixes: page.prefixes, ..ObjectPage::default() };
    Ok((answer, page.next))
}

/// Keys below the prefix that contain the text, ignoring case.
async fn search(
    engine: &dyn Engine,
    query: &ObjectQuery,
    after: Option<String>,
) -> Result<(ObjectPage, Option<String>), Error> {
    let needle = query.search.to_lowercase();
    let size = usize::try_from(query.page_size).unwrap_or(usize::MAX);
    let mut asked =
        ListQuery { prefix: query.prefix.clone(), after, max: SCAN_PAGE, ..ListQuery::default() };
    let mut found = ObjectPage::default();
    let mut scanned = 0;
    loop {
        let page = engine
            .list_objects(&query.uid, &query.bucket, &asked)
            .await
            .map_err(|error| bucket_error(error, &query.bucket))?;
        let last = page.objects.len().saturating_sub(1);
        for (at, object) in page.objects.into_iter().enumerate() {
            scanned += 1;
            if !object.key.to_lowercase().contains(&needle) {
                continue;
            }
            let key = object.key.clone();
            found.objects.push(object);
            if found.objects.len() >= size {
                let is_end = at == last && page.next.is_none();
                return Ok((found, (!is_end).then_some(key)));
            }
        }
        if page.next.is_none() || scanned >= SCAN_KEYS_MAX {
            return Ok((found, page.next));
        }
        asked.after = page.next;
    }
}
