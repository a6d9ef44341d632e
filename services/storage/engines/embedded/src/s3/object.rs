//! Operations on objects.

use std::ops::Range;

use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use super::condition::{ReadCondition, WriteCondition, etag};
use super::meta::{Meta, announced_length};
use crate::access::Caller;
use crate::blobs::read::ObjectBody;
use crate::blobs::write::{Stored, read_small};
use crate::error::{Error, custom};
use crate::hash::{Digests, Expected, set_sums};
use crate::index::account::Growth;
use crate::index::object::{NewObject, ObjectRow, Segment};
use crate::index::{BucketRef, signed, unsigned};

/// Bytes of a body that is sent in one piece, at most.
///
/// Source: Amazon S3 User Guide, "Uploading objects": 5 GB.
pub(super) const BODY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Keys of one `DeleteObjects`, at most. Source: Amazon S3 API Reference.
const DELETES_MAX: usize = 1000;
/// How often a read starts anew because the object was replaced under it.
const READ_TRIES: usize = 8;

impl Backend {
    /// Takes a body in: into memory when it is small, otherwise into a file.
    pub(super) async fn receive<S, E>(
        &self,
        body: Option<S>,
        expected: Expected,
    ) -> Result<(Stored, Digests), Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<s3s::StdError>,
    {
        let Some(body) = body else { return self.keep_inline(Vec::new(), &expected) };
        if expected.length > self.inline_bytes_max {
            return self.blobs.write(self.index.new_id(), body, expected).await;
        }
        let (data, digests) = read_small(body, &expected).await?;
        Ok((inline(data, &digests), digests))
    }

    fn keep_inline(&self, data: Vec<u8>, expected: &Expected) -> Result<(Stored, Digests), Error> {
        let mut hasher = expected.hasher();
        hasher.update(&data);
        let digests = hasher.finish();
        expected.verify(&digests)?;
        Ok((inline(data, &digests), digests))
    }

    /// Finds an object and all its segments at one moment, and keeps its files from gc.
    pub(super) async fn open_object(
        &self,
        bucket: &BucketRef,
        key: &str,
    ) -> Result<(ObjectRow, Vec<Segment>, crate::blobs::ReadLease), Error> {
        for _ in 0..READ_TRIES {
            let found = self.index.find_object(bucket, key).await?;
            let row = found.ok_or(Error::NoSuchKey)?;
            let lease = self.blobs.lease(&row.content);
            let segments = self.index.segments(&row.content).await?;
            // None: replaced between the two looks.
            if !segments.is_empty() {
                return Ok((row, segments, lease));
            }
        }
        Err(Error::NoSuchKey)
    }
}

fn inline(data: Vec<u8>, digests: &Digests) -> Stored {
    let size_bytes = signed(digests.length);
    let segment = Segment { blob: None, size_bytes, data: Some(data) };
    Stored { segments: vec![segment], blobs: Vec::new() }
}

pub(super) async fn put_object(
    backend: &Backend,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let bucket = Caller::of(&request)?.bucket()?.clone();
    let S3Request { input, headers, trailing_headers, .. } = request;
    check_key(&input.key)?;
    let length = announced_length(input.content_length, BODY_BYTES_MAX)?;
    let expected = Expected::of(length, &headers, trailing_headers)?.sparing_md5();
    let mut meta = Meta::of(&headers, input.metadata)?;
    let condition = WriteCondition { if_match: input.if_match, if_none_match: input.if_none_match };
    // Early, so that a body that cannot be taken is not sent; settled in the transaction.
    let old = backend.index.find_object(&bucket, &input.key).await?;
    condition.check(old.as_ref().map(|old| old.etag.as_str()))?;
    let growth = Growth::of(signed(length), old.as_ref());
    backend.index.check_quota(&bucket, growth).await?;
    let (mut stored, digests) = backend.receive(input.body, expected).await?;
    meta.sums = digests.sums.clone();
    let new = NewObject {
        bucket,
        key: input.key,
        etag: digests.etag(),
        meta: meta.to_text()?,
        segments: std::mem::take(&mut stored.segments),
        condition,
    };
    let index = backend.index.clone();
    let row = backend.commit(stored, async move { index.put_object(new).await }).await?;
    let mut output = PutObjectOutput { e_tag: etag(&row.etag), ..PutObjectOutput::default() };
    set_sums!(output, meta.sums);
    output.checksum_type = meta.checksum_type();
    Ok(S3Response::new(output))
}

/// s3s has checked the length; an empty key names the bucket.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() { Err(s3_error!(InvalidArgument, "the key is empty")) } else { Ok(()) }
}

/// The part of an object that is asked for, and whether it is not all of it.
fn requested(
    row: &ObjectRow,
    segments: &[Segment],
    range: Option<s3s::dto::Range>,
    part: Option<i32>,
) -> S3Result<(Range<u64>, bool)> {
    let size = unsigned(row.size_bytes);
    match (range, part) {
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "range and part number exclude")),
        (Some(range), None) => Ok((range.check(size)?, true)),
        (None, None) => Ok((0..size, false)),
        (None, Some(number)) => {
            let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            let Some(segment) = at.and_then(|at| segments.get(at)) else {
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                return Err(custom("InvalidPartNumber", status, "no such part".to_owned()));
            };
            let before = segments.iter().take(at.unwrap_or(0)).map(|s| unsigned(s.size_bytes));
            let start: u64 = before.sum();
            Ok((start..start + unsigned(segment.size_bytes), size > 0))
        }
    }
}

/// `Content-Range` of an answer that is not the whole.
fn content_range(range: &Range<u64>, is_part: bool, size: i64) -> Option<String> {
    let last = range.end.checked_sub(1)?;
    is_part.then(|| format!("bytes {}-{last}/{size}", range.start))
}

/// How many parts a multipart object has.
fn parts_count(row: &ObjectRow, segments: &[Segment], part: Option<i32>) -> Option<i32> {
    row.upload.as_ref().and(part).and_then(|_| i32::try_from(segments.len()).ok())
}

/// Only the one version that there is can be named.
pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

/// Whether the client asked for checksums.
fn wants_sums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// The fields that GET and HEAD have in common.
macro_rules! describe {
    ($output:expr, $row:expr, $meta:expr) => {
        $output.accept_ranges = Some("bytes".to_owned());
        $output.cache_control = $meta.header("cache-control");
        $output.content_disposition = $meta.header("content-disposition");
        $output.content_encoding = $meta.header("content-encoding");
        $output.content_language = $meta.header("content-language");
        $output.content_type = $meta.content_type();
        $output.e_tag = etag(&$row.etag);
        $output.expires = $meta.expires();
        $output.last_modified = Some($row.update_time.into());
        $output.metadata = $meta.user();
    };
}

pub(super) async fn get_object(
    backend: &Backend,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let (row, segments, lease) = backend.open_object(caller.bucket()?, &input.key).await?;
    ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    }
    .check(&row)?;
    let meta = Meta::from_text(&row.meta)?;
    let (range, is_part) = requested(&row, &segments, input.range, input.part_number)?;
    let mut output = GetObjectOutput::default();
    describe!(output, row, meta);
    output.content_length = Some(signed(range.end - range.start));
    output.content_range = content_range(&range, is_part, row.size_bytes);
    output.parts_count = parts_count(&row, &segments, input.part_number);
    if wants_sums(input.checksum_mode.as_ref()) && !is_part {
        set_sums!(output, meta.sums);
        output.checksum_type = meta.checksum_type();
    }
    let body = ObjectBody::new(&backend.blobs, segments, range, lease);
    output.body = Some(StreamingBlob::new(body));
    Ok(S3Response::new(output))
}

pub(super) async fn head_object(
    backend: &Backend,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let (row, segments, _lease) = backend.open_object(caller.bucket()?, &input.key).await?;
    ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    }
    .check(&row)?;
    let meta = Meta::from_text(&row.meta)?;
    let (range, is_part) = requested(&row, &segments, input.range, input.part_number)?;
    let mut output = HeadObjectOutput::default();
    describe!(output, row, meta);
    output.content_length = Some(signed(range.end - range.start));
    output.content_range = content_range(&range, is_part, row.size_bytes);
    output.parts_count = parts_count(&row, &segments, input.part_number);
    if wants_sums(input.checksum_mode.as_ref()) && !is_part {
        set_sums!(output, meta.sums);
        output.checksum_type = meta.checksum_type();
    }
    // That it is a part and not the whole is said where the answer goes out: s3s takes no status.
    Ok(S3Response::new(output))
}

pub(super) async fn delete_object(
    backend: &Backend,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    if check_version(input.version_id.as_deref()).is_err() {
        // That version is gone, as far as anyone can tell.
        return Ok(S3Response::new(DeleteObjectOutput::default()));
    }
    let condition = WriteCondition { if_match: input.if_match, if_none_match: None };
    backend.index.delete_if(caller.bucket()?, &input.key, &condition).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(super) async fn delete_objects(
    backend: &Backend,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::of(&request)?;
    let bucket = caller.bucket()?;
    let Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > DELETES_MAX {
        return Err(s3_error!(MalformedXML, "one to {DELETES_MAX} keys"));
    }
    let current = |object: &&ObjectIdentifier| check_version(object.version_id.as_deref()).is_ok();
    let keys = objects.iter().filter(current).filter(|object| !has_condition(object));
    let keys = keys.map(|object| object.key.as_bytes());
    backend.index.delete_objects(bucket, keys.collect::<Vec<_>>()).await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in objects {
        let outcome = match has_condition(&object) {
            true => delete_if(backend, bucket, &object).await,
            false => Ok(()),
        };
        let ObjectIdentifier { key, version_id, .. } = object;
        match outcome {
            Ok(()) => deleted.push(DeletedObject {
                key: Some(key),
                version_id,
                ..DeletedObject::default()
            }),
            Err(error) => errors.push(s3s::dto::Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet.unwrap_or(false)).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

fn has_condition(object: &ObjectIdentifier) -> bool {
    object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some()
}

/// Deletes one of many by its own condition.
async fn delete_if(
    backend: &Backend,
    bucket: &BucketRef,
    object: &ObjectIdentifier,
) -> S3Result<()> {
    if object.size.is_some() || object.last_modified_time.is_some() {
        return Err(s3_error!(NotImplemented, "the only condition of a deletion is its ETag"));
    }
    let if_match = object.e_tag.clone().map(ETagCondition::ETag);
    let condition = WriteCondition { if_match, if_none_match: None };
    Ok(backend.index.delete_if(bucket, &object.key, &condition).await?)
}
