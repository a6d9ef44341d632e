//! Objects read and written by the storage role itself: not over S3, so no meter sees them, and
//! whatever the account's keys open.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use stowage_engine::{Error as Refusal, NewObject, ObjectHead, ObjectMeta, OpenObject};
use stowage_types::S3uid;

use super::Backend;
use super::condition::WriteCondition;
use super::meta::Meta;
use crate::blobs::read::ObjectBody;
use crate::error::Error;
use crate::hash::Expected;
use crate::index::account::Growth;
use crate::index::{object, signed, unsigned};

impl Backend {
    /// Opens an object of the account.
    pub(crate) async fn read(
        &self,
        uid: &S3uid,
        bucket: &str,
        key: &str,
    ) -> Result<OpenObject, Error> {
        let bucket = self.index.own_bucket(uid, bucket).await?;
        let (row, segments, lease) = self.open_object(&bucket, key).await?;
        let Meta { headers, user, .. } = Meta::from_text(&row.meta)?;
        let size_bytes = unsigned(row.size_bytes);
        let body = ObjectBody::new(&self.blobs, segments, 0..size_bytes, lease);
        let meta = ObjectMeta { headers, user };
        Ok(OpenObject {
            head: ObjectHead { size_bytes, etag: row.etag, meta },
            body: body.map(|chunk| chunk.map_err(Refusal::unavailable)).boxed(),
        })
    }

    /// Stores an object of the account; answers its entity tag.
    pub(crate) async fn write(&self, uid: &S3uid, new: &NewObject<'_>) -> Result<String, Refusal> {
        if new.key.is_empty() {
            return Err(Refusal::Invalid { why: "the key is empty".to_owned() });
        }
        let bucket = self.index.own_bucket(uid, new.bucket.as_str()).await?;
        let old = self.index.find_object(&bucket, new.key).await?;
        let growth = Growth::of(signed(new.size_bytes), old.as_ref());
        self.index.check_quota(&bucket, growth).await?;
        // The source's own word for what went wrong with it, which a body's error would hide.
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let body = new.source.open().await?.fuse().map(move |chunk| {
            chunk.map_err(|error| {
                let why = error.to_string();
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                why
            })
        });
        let received = self.receive(Some(body), Expected::of_length(new.size_bytes)).await;
        let (mut stored, digests) = received.map_err(|error| {
            let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            failed.unwrap_or_else(|| match error {
                Error::IncompleteBody => Refusal::unavailable("the source is not as long as told"),
                error => error.into(),
            })
        })?;
        let (headers, user) = (new.meta.headers.clone(), new.meta.user.clone());
        let meta = Meta { headers, user, ..Meta::default() };
        let object = object::NewObject {
            bucket,
            key: new.key.to_owned(),
            etag: digests.etag(),
            meta: meta.to_text()?,
            segments: std::mem::take(&mut stored.segments),
            condition: WriteCondition::default(),
        };
        let index = self.index.clone();
        let row = self.commit(stored, async move { index.put_object(object).await }).await?;
        Ok(row.etag)
    }
}
