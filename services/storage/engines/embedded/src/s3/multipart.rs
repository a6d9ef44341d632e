//! Multipart uploads.

use bytes::Bytes;
use futures_util::Stream;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use super::bucket::owner;
use super::condition::{WriteCondition, etag};
use super::meta::{Meta, announced_length};
use super::object::{BODY_BYTES_MAX, check_key};
use crate::access::Caller;
use crate::error::Error;
use crate::hash::{Expected, Sums, bad_digest, combine, set_sums, sums_of};
use crate::index::account::Growth;
use crate::index::upload::{ChosenPart, Completion, PartRow};
use crate::index::{BucketRef, signed, unsigned};

/// Parts of an upload. Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const PARTS_MAX: i32 = 10_000;
/// Parts of a page.
const PAGE_MAX: i32 = 1000;
/// Bytes of an object. Source: as above (50 TB since 2025; 5 TB is what clients know).
const OBJECT_BYTES_MAX: i64 = 5 * 1024 * 1024 * 1024 * 1024;

pub(super) async fn create_multipart_upload(
    backend: &Backend,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let bucket = caller.bucket()?;
    let S3Request { input, headers, .. } = request;
    check_key(&input.key)?;
    let mut meta = Meta::of(&headers, input.metadata)?;
    let algorithm = input.checksum_algorithm.clone();
    meta.algorithm = algorithm.as_ref().map(|alg| alg.as_str().to_ascii_lowercase());
    meta.is_composite = is_composite(meta.algorithm.as_deref(), input.checksum_type.as_ref());
    let upload = backend.index.create_upload(bucket, &input.key, &meta.to_text()?).await?;
    let kind = meta.algorithm.as_ref().map(|_| kind_of(meta.is_composite));
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload),
        checksum_algorithm: algorithm,
        checksum_type: kind,
        ..CreateMultipartUploadOutput::default()
    }))
}

/// What S3 takes when the client does not say: whole-object for CRC64NVME only.
fn is_composite(algorithm: Option<&str>, kind: Option<&ChecksumType>) -> bool {
    match (algorithm, kind) {
        (_, Some(kind)) => kind.as_str() == ChecksumType::COMPOSITE,
        (algorithm, None) => algorithm.is_some_and(|alg| alg != "crc64nvme"),
    }
}

fn kind_of(is_composite: bool) -> ChecksumType {
    let kind = if is_composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    ChecksumType::from_static(kind)
}

/// Which part a body is for.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) bucket: &'a BucketRef,
    pub(super) key: &'a str,
    pub(super) upload: &'a str,
    pub(super) number: i32,
}

/// Takes a part in and stores it.
pub(super) async fn store_part<S, E>(
    backend: &Backend,
    target: Target<'_>,
    body: S,
    expected: Expected,
) -> S3Result<PartRow>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<s3s::StdError>,
{
    if !(1..=PARTS_MAX).contains(&target.number) {
        return Err(s3_error!(InvalidArgument, "part numbers are 1 to {PARTS_MAX}"));
    }
    let index = &backend.index;
    index.find_upload(target.bucket, target.key, target.upload).await?;
    let number = i64::from(target.number);
    let bytes = signed(expected.length) - index.part_size(target.upload, number).await?;
    index.check_quota(target.bucket, Growth { bytes, objects: 0 }).await?;
    let (stored, digests) = backend.blobs.write(index.new_id(), body, expected).await?;
    let blob = stored.segments.iter().find_map(|segment| segment.blob.clone());
    let part = PartRow {
        number,
        blob: blob.unwrap_or_default(),
        size_bytes: signed(digests.length),
        etag: digests.etag(),
        sums: serde_json::to_string(&digests.sums).map_err(|e| Error::Io(e.into()))?,
        update_time: index.clock.now(),
    };
    let (index, bucket) = (index.clone(), target.bucket.clone());
    let (upload, row) = (target.upload.to_owned(), part.clone());
    let put = async move { index.put_part(&bucket, &upload, &row).await };
    backend.commit(stored, put).await?;
    Ok(part)
}

pub(super) async fn upload_part(
    backend: &Backend,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let caller = Caller::of(&request)?;
    let S3Request { input, headers, trailing_headers, .. } = request;
    let length = announced_length(input.content_length, BODY_BYTES_MAX)?;
    let expected = Expected::of(length, &headers, trailing_headers)?;
    let target = Target {
        bucket: caller.bucket()?,
        key: &input.key,
        upload: &input.upload_id,
        number: input.part_number,
    };
    let body = input.body.unwrap_or_else(|| s3s::Body::empty().into());
    let part = store_part(backend, target, body, expected).await?;
    let sums: Sums = serde_json::from_str(&part.sums).unwrap_or_default();
    let mut output = UploadPartOutput { e_tag: etag(&part.etag), ..UploadPartOutput::default() };
    set_sums!(output, sums);
    Ok(S3Response::new(output))
}

/// The parts that the client names, as the index compares them.
fn chosen(upload: Option<CompletedMultipartUpload>) -> S3Result<Vec<ChosenPart>> {
    let parts = upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX as usize {
        return Err(s3_error!(MalformedXML, "one to {PARTS_MAX} parts"));
    }
    let choose = |part: CompletedPart| {
        let sums = [
            ("crc32", part.checksum_crc32),
            ("crc32c", part.checksum_crc32c),
            ("crc64nvme", part.checksum_crc64nvme),
            ("sha1", part.checksum_sha1),
            ("sha256", part.checksum_sha256),
        ];
        let sums = sums.into_iter().filter_map(|(alg, sum)| Some((alg.to_owned(), sum?)));
        let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
        let etag = part.e_tag.ok_or_else(|| s3_error!(InvalidPart, "a part has no ETag"))?;
        let etag = etag.value().trim_matches('"').to_owned();
        Ok(ChosenPart { number: number.into(), etag, sums: sums.collect() })
    };
    parts.into_iter().map(choose).collect()
}

/// Metadata of the object: the upload's, with the checksum that the parts add up to.
fn completed_meta(
    upload: &str,
    parts: &[PartRow],
    given: &Sums,
    size: Option<i64>,
) -> Result<String, Error> {
    let total: i64 = parts.iter().map(|part| part.size_bytes).sum();
    if total > OBJECT_BYTES_MAX || size.is_some_and(|size| size != total) {
        return Err(Error::Invalid(format!("the parts have {total} bytes together")));
    }
    let mut meta = Meta::from_text(upload)?;
    let algorithm = meta.algorithm.take().or_else(|| given.keys().next().cloned());
    let parse = |part: &PartRow| {
        let sums: Sums = serde_json::from_str(&part.sums).unwrap_or_default();
        (sums, unsigned(part.size_bytes))
    };
    let sums: Vec<_> = parts.iter().map(parse).collect();
    if let Some(alg) = algorithm
        && let Some(sum) = combine(&alg, !meta.is_composite, &sums)
    {
        meta.sums.insert(alg, sum);
    }
    let wrong = |(alg, sum): (&String, &String)| meta.sums.get(alg).is_some_and(|is| is != sum);
    if given.iter().any(wrong) {
        return Err(Error::BadDigest);
    }
    meta.to_text()
}

pub(super) async fn complete_multipart_upload(
    backend: &Backend,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let bucket = caller.bucket()?.clone();
    let S3Request { input, headers, .. } = request;
    let parts = chosen(input.multipart_upload)?;
    let given = sums_of(&headers);
    let condition = WriteCondition { if_match: input.if_match, if_none_match: input.if_none_match };
    let (index, key, upload) = (backend.index.clone(), input.key.clone(), input.upload_id);
    let size = input.mpu_object_size;
    let work = async move {
        let meta = |text: &str, parts: &[PartRow]| completed_meta(text, parts, &given, size);
        let completion = Completion {
            bucket: &bucket,
            key: &key,
            upload: &upload,
            parts: &parts,
            condition: &condition,
            meta: &meta,
        };
        index.complete_upload(completion).await
    };
    let row = backend.commit(crate::blobs::write::Stored::default(), work).await?;
    let meta = Meta::from_text(&row.meta).map_err(|_| bad_digest())?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: etag(&row.etag),
        ..CompleteMultipartUploadOutput::default()
    };
    set_sums!(output, meta.sums);
    output.checksum_type = meta.checksum_type();
    Ok(S3Response::new(output))
}

pub(super) async fn abort_multipart_upload(
    backend: &Backend,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    backend.index.abort_upload(caller.bucket()?, &input.key, &input.upload_id).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list_parts(
    backend: &Backend,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let index = &backend.index;
    let meta = index.find_upload(caller.bucket()?, &input.key, &input.upload_id).await?;
    let meta = Meta::from_text(&meta)?;
    let max = match input.max_parts.unwrap_or(PAGE_MAX) {
        max if max < 0 => return Err(s3_error!(InvalidArgument, "max-parts is negative")),
        max => max.min(PAGE_MAX),
    };
    let after = input.part_number_marker.unwrap_or(0);
    let mut rows = index.list_parts(&input.upload_id, after.into(), i64::from(max) + 1).await?;
    let is_truncated = rows.len() > max.unsigned_abs() as usize;
    rows.truncate(max.unsigned_abs() as usize);
    let next = rows.last().and_then(|row| i32::try_from(row.number).ok());
    let parts = rows.into_iter().map(|row| {
        let sums: Sums = serde_json::from_str(&row.sums).unwrap_or_default();
        let mut part = Part {
            e_tag: etag(&row.etag),
            last_modified: Some(row.update_time.into()),
            part_number: i32::try_from(row.number).ok(),
            size: Some(row.size_bytes),
            ..Part::default()
        };
        set_sums!(part, sums);
        part
    });
    Ok(S3Response::new(ListPartsOutput {
        parts: Some(parts.collect()),
        checksum_type: meta.algorithm.as_ref().map(|_| kind_of(meta.is_composite)),
        checksum_algorithm: meta.algorithm.map(|alg| alg.to_ascii_uppercase().into()),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(is_truncated),
        max_parts: Some(max),
        part_number_marker: Some(after),
        next_part_number_marker: next.filter(|_| is_truncated),
        owner: Some(owner(&caller)),
        initiator: Some(Initiator { display_name: None, id: owner(&caller).id }),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    }))
}
