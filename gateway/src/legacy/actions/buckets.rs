//! `create_bucket` and `delete_bucket`.

use stowage_proto::storage::{CreateBucketRequest, DeleteBucketRequest};
use stowage_types::name;

use super::{Call, Payload};
use crate::json::Object;

pub(crate) async fn create_bucket(call: &Call<'_>) -> Payload {
    let bucket = call.bucket()?;
    let parent = name::account(&call.bound_s3uid().await?);
    let message = CreateBucketRequest {
        parent,
        bucket: bucket.as_str().to_owned(),
        request_id: call.idempotency_key.clone(),
    };
    let made = call.buckets().create_bucket(call.request(message)).await?.into_inner();
    Ok(Object::new().with("bucket_name", made.bucket))
}

pub(crate) async fn delete_bucket(call: &Call<'_>) -> Payload {
    let bucket = call.bucket()?;
    let name = name::bucket(&call.bound_s3uid().await?, &bucket);
    call.buckets()
        .delete_bucket(
            call.request(DeleteBucketRequest { name, request_id: call.idempotency_key.clone() }),
        )
        .await?;
    Ok(Object::new().with("bucket_name", bucket.as_str().to_owned()))
}
