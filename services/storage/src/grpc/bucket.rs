//! `BucketService`.

use stowage_auth::RequestContext;
use stowage_engine::Quota;
use stowage_proto::storage as pb;
use stowage_proto::storage::bucket_service_server::BucketService;
use stowage_request::Once;
use stowage_types::{BucketName, Violations, name, page};
use tonic::{Request, Response, Status};

use super::{Api, complete};
use crate::domain::bucket::message_of;
use crate::domain::change::{Change, What};
use crate::error::Error;

/// A bound, where there is one.
fn bound(field: &str, value: Option<i64>, violations: &mut Violations) -> Option<u64> {
    let value = value?;
    let bound = u64::try_from(value).ok().filter(|bound| *bound > 0);
    if bound.is_none() {
        violations.push(field, "must be above 0; leave it out for no bound");
    }
    bound
}

#[tonic::async_trait]
impl BucketService for Api {
    async fn create_bucket(
        &self,
        request: Request<pb::CreateBucketRequest>,
    ) -> Result<Response<pb::Bucket>, Status> {
        let read = |request: pb::CreateBucketRequest| {
            let mut violations = Violations::default();
            let uid = violations.check("parent", name::parse_account(&request.parent));
            let bucket = violations.check("bucket", BucketName::new(&request.bucket));
            complete(uid.zip(bucket), violations)
        };
        let work = async |cx, (uid, bucket), once: Once<pb::Bucket>| {
            let info = self.0.create_bucket(&cx, (&uid, &bucket), &once).await?;
            Ok::<_, Error>(message_of(&uid, info))
        };
        self.0.storage.requests.once(request, read, work).await
    }

    async fn list_buckets(
        &self,
        request: Request<pb::ListBucketsRequest>,
    ) -> Result<Response<pb::ListBucketsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let uid = violations.check("parent", name::parse_account(&request.parent));
        let size = page::size(request.page_size, 1000, 1000, &mut violations);
        let uid = complete(uid, violations)?;
        let page = self.0.storage.buckets(&cx, &uid, size, &request.page_token).await?;
        Ok(Response::new(pb::ListBucketsResponse {
            buckets: page.buckets.into_iter().map(|info| message_of(&uid, info)).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn set_bucket_quota(
        &self,
        request: Request<pb::SetBucketQuotaRequest>,
    ) -> Result<Response<pb::Bucket>, Status> {
        let read = |request: pb::SetBucketQuotaRequest| {
            let mut violations = Violations::default();
            let named = violations.check("name", name::parse_bucket(&request.name));
            let quota = Quota {
                bytes: bound("quota_bytes", request.quota_bytes, &mut violations),
                objects: bound("quota_objects", request.quota_objects, &mut violations),
            };
            Ok::<_, Error>((complete(named, violations)?, quota))
        };
        let work = async |cx, ((uid, bucket), quota): (_, Quota), once: Once<pb::Bucket>| {
            let storage = &self.0.storage;
            let info = storage.set_bucket_quota(&cx, (&uid, &bucket), quota).await?;
            let answer = message_of(&uid, info);
            let change = Change { what: What::BucketQuotaSet, uid: &uid, bucket: &bucket, key: "" };
            storage.tell(&cx, change, (&once, &answer)).await?;
            Ok(answer)
        };
        self.0.storage.requests.once(request, read, work).await
    }

    async fn delete_bucket(
        &self,
        request: Request<pb::DeleteBucketRequest>,
    ) -> Result<Response<pb::DeleteBucketResponse>, Status> {
        let read = |request: pb::DeleteBucketRequest| {
            let mut violations = Violations::default();
            let named = violations.check("name", name::parse_bucket(&request.name));
            complete(named, violations)
        };
        let work = async |cx, (uid, bucket), once: Once<pb::DeleteBucketResponse>| {
            self.0.delete_bucket(&cx, (&uid, &bucket), &once).await?;
            Ok::<_, Error>(pb::DeleteBucketResponse {})
        };
        self.0.storage.requests.once(request, read, work).await
    }

    async fn check_bucket_name(
        &self,
        request: Request<pb::CheckBucketNameRequest>,
    ) -> Result<Response<pb::CheckBucketNameResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let location = violations.check("location", name::parse_location(&request.location));
        let bucket = violations.check("bucket", BucketName::new(&request.bucket));
        let (location, bucket) = complete(location.zip(bucket), violations)?;
        let location = self.0.storage.check_bucket_name(&cx, &location, &bucket).await?;
        Ok(Response::new(pb::CheckBucketNameResponse {
            issues_keys: location.issues_keys,
            endpoint: location.endpoint,
            storage_types: location.storage_types,
        }))
    }
}
