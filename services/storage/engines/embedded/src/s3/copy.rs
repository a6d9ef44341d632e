//! Copies. A copied object gets new names for the same files (hard links): it costs no bytes on
//! disk and each copy is deleted by itself. It counts fully against the quota all the same.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use super::condition::{ReadCondition, WriteCondition, etag};
use super::meta::Meta;
use super::object::{BODY_BYTES_MAX, check_key, check_version};
use crate::access::Caller;
use crate::blobs::read::ObjectBody;
use crate::blobs::write::Stored;
use crate::error::Error;
use crate::hash::{Expected, set_sums};
use crate::index::account::Growth;
use crate::index::object::{NewObject, Segment};
use crate::index::upload::PartRow;
use crate::index::{BucketRef, signed, unsigned};

/// The bucket and key of a copy's source. The bucket must be the caller's too.
async fn source(
    backend: &Backend,
    caller: &Caller,
    source: &CopySource,
) -> S3Result<(BucketRef, String)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "access points are not supported"));
    };
    check_version(version_id.as_deref())?;
    let found = backend.index.find_bucket(bucket).await?.ok_or(Error::NoSuchBucket)?;
    if found.uid != caller.uid {
        return Err(s3_error!(AccessDenied, "the source's bucket is not the account's"));
    }
    Ok((found, key.to_string()))
}

pub(super) async fn copy_object(
    backend: &Backend,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let caller = Caller::of(&request)?;
    let bucket = caller.bucket()?.clone();
    let S3Request { input, headers, .. } = request;
    check_key(&input.key)?;
    let (from, from_key) = source(backend, &caller, &input.copy_source).await?;
    let replaces = input.metadata_directive.as_ref().map(MetadataDirective::as_str)
        == Some(MetadataDirective::REPLACE);
    if from == bucket && from_key == input.key && !replaces {
        return Err(s3_error!(InvalidRequest, "a copy onto itself must replace the metadata"));
    }
    let (row, segments, _lease) = backend.open_object(&from, &from_key).await?;
    ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    }
    .check_source(&row)?;
    let mut meta = Meta::from_text(&row.meta)?;
    if replaces {
        let Meta { sums, is_composite, .. } = meta;
        meta = Meta { sums, is_composite, ..Meta::of(&headers, input.metadata)? };
    }
    let condition = WriteCondition::of(&headers)?;
    let old = backend.index.find_object(&bucket, &input.key).await?;
    condition.check(old.as_ref().map(|old| old.etag.as_str()))?;
    let growth = Growth::of(row.size_bytes, old.as_ref());
    backend.index.check_quota(&bucket, growth).await?;
    let mut stored = link(backend, segments).await?;
    let new = NewObject {
        bucket,
        key: input.key,
        etag: row.etag,
        meta: meta.to_text()?,
        segments: std::mem::take(&mut stored.segments),
        condition,
    };
    let index = backend.index.clone();
    let row = backend.commit(stored, async move { index.put_object(new).await }).await?;
    let mut result = CopyObjectResult {
        e_tag: etag(&row.etag),
        last_modified: Some(row.update_time.into()),
        ..CopyObjectResult::default()
    };
    set_sums!(result, meta.sums);
    result.checksum_type = meta.checksum_type();
    let copy_object_result = Some(result);
    Ok(S3Response::new(CopyObjectOutput { copy_object_result, ..CopyObjectOutput::default() }))
}

/// Gives each file of the segments another name.
async fn link(backend: &Backend, mut segments: Vec<Segment>) -> Result<Stored, Error> {
    let mut pairs = Vec::new();
    for blob in segments.iter_mut().filter_map(|segment| segment.blob.as_mut()) {
        let id = backend.index.new_id();
        pairs.push((std::mem::replace(blob, id.clone()), id));
    }
    Ok(Stored { segments, blobs: backend.blobs.link(pairs).await? })
}

/// The part of a source that is asked for. Unlike a range that is read it is never cut short.
fn part_of(size: u64, range: Option<&str>) -> S3Result<std::ops::Range<u64>> {
    let Some(text) = range else { return Ok(0..size) };
    match Range::parse(text) {
        Ok(Range::Int { last: Some(last), .. }) if last >= size => {
            Err(s3_error!(InvalidRange, "x-amz-copy-source-range goes beyond the source"))
        }
        Ok(Range::Int { first, last: Some(last) }) if first <= last => Ok(first..last + 1),
        _ => Err(s3_error!(InvalidArgument, "x-amz-copy-source-range is bytes=first-last")),
    }
}

pub(super) async fn upload_part_copy(
    backend: &Backend,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let caller = Caller::of(&request)?;
    let bucket = caller.bucket()?;
    let input = request.input;
    let (from, from_key) = source(backend, &caller, &input.copy_source).await?;
    let (row, segments, lease) = backend.open_object(&from, &from_key).await?;
    ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    }
    .check_source(&row)?;
    let range = part_of(unsigned(row.size_bytes), input.copy_source_range.as_deref())?;
    let length = range.end - range.start;
    if length > BODY_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "at most {BODY_BYTES_MAX} bytes at a time"));
    }
    let body = ObjectBody::new(&backend.blobs, segments, range, lease);
    let target = super::multipart::Target {
        bucket,
        key: &input.key,
        upload: &input.upload_id,
        number: input.part_number,
    };
    let part: PartRow =
        super::multipart::store_part(backend, target, body, Expected::of_length(length)).await?;
    debug_assert_eq!(part.size_bytes, signed(length), "the body was verified");
    let result = CopyPartResult {
        e_tag: etag(&part.etag),
        last_modified: Some(part.update_time.into()),
        ..CopyPartResult::default()
    };
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    }))
}
