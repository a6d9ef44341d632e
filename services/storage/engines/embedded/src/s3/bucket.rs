//! Operations on buckets.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use crate::access::Caller;

/// Buckets of a page, at most and by default.
const PAGE_MAX: i32 = 10_000;

pub(super) async fn list_buckets(
    backend: &Backend,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let max = input.max_buckets.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let max = usize::try_from(max).unwrap_or(1);
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.continuation_token.unwrap_or_default();
    let limit = u32::try_from(max + 1).unwrap_or(1);
    let mut page = backend.index.list_buckets(&caller.uid, &after, &prefix, limit).await?;
    page.retain(|row| row.bucket.as_str().starts_with(&prefix));
    let more = page.len() > max;
    page.truncate(max);
    let last = page.last().map(|row| row.bucket.as_str().to_owned());
    let buckets = page.into_iter().map(|row| Bucket {
        bucket_region: None,
        creation_date: Some(row.create_time.into()),
        name: Some(row.bucket.as_str().to_owned()),
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: last.filter(|_| more),
        owner: Some(owner(&caller)),
        prefix: input.prefix,
    }))
}

/// The account as S3 shows owners.
pub(super) fn owner(caller: &Caller) -> Owner {
    Owner { display_name: None, id: Some(caller.uid.as_str().to_owned()) }
}

pub(super) async fn create_bucket(
    backend: &Backend,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let caller = Caller::of(&request)?;
    let name = stowage_types::BucketName::new(&request.input.bucket)
        .map_err(|why| s3_error!(InvalidBucketName, "{why}"))?;
    // One that the account has already: 200, as RADOS Gateway and the oldest AWS region answer.
    backend.index.create_bucket(&caller.uid, &name).await?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", name.as_str())) }))
}

pub(super) async fn head_bucket(
    backend: &Backend,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    Caller::of(&request)?.bucket()?;
    let bucket_region = Some(backend.region.to_string());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
}

pub(super) async fn delete_bucket(
    backend: &Backend,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let caller = Caller::of(&request)?;
    backend.index.delete_bucket(caller.bucket()?).await?;
    Ok(S3Response::new(DeleteBucketOutput {}))
}

pub(super) async fn get_bucket_location(
    backend: &Backend,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    Caller::of(&request)?.bucket()?;
    let region = backend.region.to_string();
    // The oldest region has no name here.
    let location_constraint = (region != "us-east-1").then(|| region.into());
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// Buckets are not versioned, and saying so spares clients an error.
pub(super) async fn get_bucket_versioning(
    _: &Backend,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    Caller::of(&request)?.bucket()?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}
