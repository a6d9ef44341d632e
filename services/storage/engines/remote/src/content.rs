//! Objects read and written by a hand: streamed, some of it in memory at a time, and what is sent
//! is checked by the server with a digest of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use md5::{Digest as _, Md5};
use stowage_engine::{
    Error, NewObject, ObjectHead, ObjectMeta, ObjectStream, OpenObject, UploadInfo,
};
use stowage_types::BucketName;
use time::OffsetDateTime;

use crate::s3::{Hand, error_of};

/// Bytes of a part, and of an object that is sent in one piece, at most: so many are in memory.
/// Parts of objects of more than some 150 GiB are larger, so that they are not too many.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Parts of an object, at most.
///
/// Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const PARTS_MAX: u64 = 10_000;
/// How long nothing may come of a body.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What an upload in parts goes to.
struct Target<'a> {
    new: &'a NewObject<'a>,
    upload_id: String,
}

impl Hand {
    /// Opens an object.
    ///
    /// # Errors
    /// As the server answers; [`Error::Invalid`]: it wants a key that only its customer has.
    pub async fn read(&self, bucket: &BucketName, key: &str) -> Result<OpenObject, Error> {
        let get = self.client.get_object().bucket(bucket.as_str()).key(key);
        let got = get.send().await.map_err(error_of)?;
        let length = got.content_length().and_then(|length| u64::try_from(length).ok());
        let size_bytes = length.ok_or_else(|| Error::unavailable("an object without a length"))?;
        let etag = got.e_tag().unwrap_or_default().trim_matches('"').to_owned();
        let head = ObjectHead { size_bytes, etag, meta: meta_of(&got) };
        Ok(OpenObject { head, body: body_of(got.body, size_bytes) })
    }

    /// Stores an object; answers its entity tag.
    ///
    /// # Errors
    /// As the server answers, and those of the source. Then nothing of it is left, unless not
    /// even that can be told the server: `abort_uploads` finds it.
    pub async fn write(&self, new: &NewObject<'_>) -> Result<String, Error> {
        let mut body = Parts { body: new.source.open().await?, rest: Bytes::new() };
        if new.size_bytes <= PART_BYTES {
            let content = body.next(new.size_bytes).await?;
            body.check_end().await?;
            return self.write_whole(new, content).await;
        }
        let target = Target { new, upload_id: self.begin(new).await? };
        let stored = self.write_parts(&target, body).await;
        if stored.is_err() {
            let upload = UploadInfo {
                key: new.key.to_owned(),
                upload_id: target.upload_id,
                begin_time: OffsetDateTime::UNIX_EPOCH,
                stored_bytes: None,
            };
            if let Err(error) = self.abort(new.bucket, &upload).await {
                tracing::warn!(%error, "parts of an object that was not stored stay for now");
            }
        }
        stored
    }

    async fn write_whole(&self, new: &NewObject<'_>, content: Bytes) -> Result<String, Error> {
        let put = self.client.put_object().bucket(new.bucket.as_str()).key(new.key);
        let header = |name: &str| new.meta.headers.get(name).cloned();
        let put = put
            .set_cache_control(header("cache-control"))
            .set_content_disposition(header("content-disposition"))
            .set_content_encoding(header("content-encoding"))
            .set_content_language(header("content-language"))
            .set_content_type(header("content-type"))
            .set_metadata(Some(new.meta.user.clone().into_iter().collect()))
            .content_md5(digest_of(&content))
            .body(ByteStream::from(content));
        let put = put.customize().mutate_request(self.tells_whom());
        let put = put.mutate_request(expires_of(new.meta)).send().await.map_err(error_of)?;
        tag_of(put.e_tag())
    }

    async fn begin(&self, new: &NewObject<'_>) -> Result<String, Error> {
        let begin = self.client.create_multipart_upload().bucket(new.bucket.as_str()).key(new.key);
        let header = |name: &str| new.meta.headers.get(name).cloned();
        let begin = begin
            .set_cache_control(header("cache-control"))
            .set_content_disposition(header("content-disposition"))
            .set_content_encoding(header("content-encoding"))
            .set_content_language(header("content-language"))
            .set_content_type(header("content-type"))
            .set_metadata(Some(new.meta.user.clone().into_iter().collect()));
        let begin = begin.customize().mutate_request(self.tells_whom());
        let begun = begin.mutate_request(expires_of(new.meta)).send().await.map_err(error_of)?;
        let none = || Error::unavailable("an upload without an id was begun");
        begun.upload_id.ok_or_else(none)
    }

    async fn write_parts(&self, target: &Target<'_>, mut body: Parts) -> Result<String, Error> {
        let Target { new, upload_id } = target;
        let part_bytes = PART_BYTES.max(new.size_bytes.div_ceil(PARTS_MAX));
        let (mut left, mut parts) = (new.size_bytes, Vec::new());
        while left > 0 {
            let content = body.next(left.min(part_bytes)).await?;
            left -= content.len() as u64;
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            let send = self.client.upload_part().bucket(new.bucket.as_str()).key(new.key);
            let send = send.upload_id(upload_id).part_number(number);
            let send = send.content_md5(digest_of(&content)).body(ByteStream::from(content));
            let send = send.customize().mutate_request(self.tells_whom());
            let sent = send.send().await.map_err(error_of)?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        body.check_end().await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let end = self.client.complete_multipart_upload().bucket(new.bucket.as_str());
        let end = end.key(new.key).upload_id(upload_id).multipart_upload(parts);
        let end = end.customize().mutate_request(self.tells_whom());
        let ended = end.send().await.map_err(error_of)?;
        match ended.e_tag().filter(|tag| !tag.is_empty()) {
            Some(tag) => tag_of(Some(tag)),
            // RGW 16.2 leaves it out.
            None => self.tag(new).await,
        }
    }

    async fn tag(&self, new: &NewObject<'_>) -> Result<String, Error> {
        let head = self.client.head_object().bucket(new.bucket.as_str()).key(new.key);
        tag_of(head.send().await.map_err(error_of)?.e_tag())
    }

    /// Whether a bucket keeps versions of its objects, or did once.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn keeps_versions(&self, bucket: &BucketName) -> Result<bool, Error> {
        let asked = self.client.get_bucket_versioning().bucket(bucket.as_str()).send().await;
        let status = asked.map_err(error_of)?.status;
        let is_kept = |status: &BucketVersioningStatus| {
            [BucketVersioningStatus::Enabled, BucketVersioningStatus::Suspended].contains(status)
        };
        Ok(status.as_ref().is_some_and(is_kept))
    }
}

fn meta_of(got: &GetObjectOutput) -> ObjectMeta {
    let headers = [
        ("cache-control", got.cache_control()),
        ("content-disposition", got.content_disposition()),
        ("content-encoding", got.content_encoding()),
        ("content-language", got.content_language()),
        ("content-type", got.content_type()),
        ("expires", got.expires_string()),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    });
    let user: BTreeMap<_, _> = got.metadata().into_iter().flatten().collect();
    let user = user.into_iter().map(|(name, value)| (name.clone(), value.clone()));
    ObjectMeta { headers: headers.collect(), user: user.collect() }
}

/// As it was stored: the library would have it be a date.
fn expires_of(meta: &ObjectMeta) -> impl Fn(&mut HttpRequest) + Send + Sync + use<> {
    let expires = meta.headers.get("expires").cloned();
    move |request| {
        if let Some(expires) = &expires
            && let Err(error) = request.headers_mut().try_insert("expires", expires.clone())
        {
            tracing::warn!(%error, "the time when an object expires cannot be said");
        }
    }
}

fn digest_of(content: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(content))
}

fn tag_of(tag: Option<&str>) -> Result<String, Error> {
    let tag = tag.ok_or_else(|| Error::unavailable("an object was stored without a tag"))?;
    Ok(tag.trim_matches('"').to_owned())
}

/// A body that must be as long as was said, and must not stall.
fn body_of(body: ByteStream, size_bytes: u64) -> ObjectStream {
    let chunks = stream::unfold(Some((body, size_bytes)), |state| async {
        let (mut body, left) = state?;
        let chunk = tokio::time::timeout(IDLE_MAX, body.next()).await;
        match chunk {
            Err(_) => Some((Err(Error::unavailable("nothing of a body came for long")), None)),
            Ok(None) if left == 0 => None,
            Ok(None) => Some((Err(Error::unavailable("a body ended early")), None)),
            Ok(Some(Err(error))) => Some((Err(Error::unavailable(error)), None)),
            Ok(Some(Ok(bytes))) => match left.checked_sub(bytes.len() as u64) {
                None => Some((Err(Error::unavailable("a body is too long")), None)),
                Some(left) => Some((Ok(bytes), Some((body, left)))),
            },
        }
    });
    chunks.boxed()
}

/// A body that is taken piece by piece.
struct Parts {
    body: ObjectStream,
    rest: Bytes,
}

impl Parts {
    /// The next bytes, as many as that.
    async fn next(&mut self, bytes: u64) -> Result<Bytes, Error> {
        let bytes = usize::try_from(bytes).map_err(Error::unavailable)?;
        let mut part = BytesMut::with_capacity(bytes);
        loop {
            let some = self.rest.len().min(bytes - part.len());
            part.extend_from_slice(&self.rest.split_to(some));
            if part.len() == bytes {
                return Ok(part.freeze());
            }
            self.rest = match self.body.next().await {
                Some(chunk) => chunk?,
                None => return Err(Error::unavailable("a source ended early")),
            };
        }
    }

    /// There must be no more.
    async fn check_end(&mut self) -> Result<(), Error> {
        if !self.rest.is_empty() {
            return Err(Error::unavailable("a source is too long"));
        }
        while let Some(chunk) = self.body.next().await {
            if !chunk?.is_empty() {
                return Err(Error::unavailable("a source is too long"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(chunks: &[&'static [u8]]) -> Parts {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        Parts { body: stream::iter(chunks).boxed(), rest: Bytes::new() }
    }

    #[tokio::test]
    async fn a_body_is_cut_where_parts_end() {
        let mut body = parts(&[b"abc", b"", b"defg", b"h"]);
        for part in ["ab", "cdef", "gh"] {
            assert_eq!(body.next(part.len() as u64).await.unwrap(), part);
        }
        body.check_end().await.unwrap();
        assert!(body.next(1).await.is_err(), "it has ended");
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_refused() {
        let mut body = parts(&[b"abc"]);
        body.next(2).await.unwrap();
        assert!(body.check_end().await.is_err());
        assert!(parts(&[b"abc"]).next(4).await.is_err());
        let told: Vec<_> = body_of(ByteStream::from_static(b"abc"), 4).collect().await;
        assert!(told.last().unwrap().is_err());
        let told: Vec<_> = body_of(ByteStream::from_static(b"abc"), 2).collect().await;
        assert!(told.last().unwrap().is_err());
        let told: Vec<_> = body_of(ByteStream::from_static(b"abc"), 3).collect().await;
        assert!(told.iter().all(Result::is_ok));
    }
}
