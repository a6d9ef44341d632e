//! The S3 operations that we have; s3s answers 501 for all others.
//!
//! Left out on purpose, for now: versions, access control lists and policies, tags, locks,
//! encryption, lifecycle, CORS, websites, browser forms. Of lists and tags it can be asked what
//! there is: clients do before they copy or describe an object.

mod acl;
mod bucket;
pub(crate) mod condition;
mod content;
mod copy;
mod list;
pub(crate) mod meta;
mod multipart;
mod object;

use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use tokio::task::JoinError;

use crate::blobs::Blobs;
use crate::blobs::write::Stored;
use crate::error::Error;
use crate::index::Index;

/// Everything an operation needs.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) index: Index,
    pub(crate) blobs: Blobs,
    pub(crate) region: Arc<str>,
    /// Objects up to this many bytes lie in the index itself.
    pub(crate) inline_bytes_max: u64,
}

impl Backend {
    /// Runs the transaction that makes stored content visible, to its end even if the client
    /// goes away meanwhile, and settles the files by its outcome.
    async fn commit<T: Send + 'static>(
        &self,
        stored: Stored,
        transaction: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = tokio::spawn(stowage_trace::follow(async move {
            let outcome = transaction.await;
            let is_certain = outcome.as_ref().err().is_none_or(Error::is_certain);
            stored.settle(outcome.is_ok(), is_certain);
            outcome
        }));
        task.await.map_err(|error: JoinError| Error::from(error))?
    }
}

/// `async fn name(&self, request)` for each operation, done by a function of the same name.
macro_rules! operations {
    ($([$room:ident] $($name:ident($input:ident) -> $output:ident;)+)+) => {
        #[async_trait]
        impl S3 for Backend {
            $($(
                async fn $name(
                    &self,
                    request: S3Request<$input>,
                ) -> S3Result<S3Response<$output>> {
                    $room::$name(self, request).await
                }
            )+)+
        }
    };
}

operations! {
    [acl]
        get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
        get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    [bucket]
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    [object]
        put_object(PutObjectInput) -> PutObjectOutput;
        get_object(GetObjectInput) -> GetObjectOutput;
        head_object(HeadObjectInput) -> HeadObjectOutput;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    [copy]
        copy_object(CopyObjectInput) -> CopyObjectOutput;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    [list]
        list_objects(ListObjectsInput) -> ListObjectsOutput;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
    [multipart]
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
        upload_part(UploadPartInput) -> UploadPartOutput;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
        list_parts(ListPartsInput) -> ListPartsOutput;
}
