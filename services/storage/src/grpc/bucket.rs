//! `BucketService`.

use stowage_auth::RequestContext;
use stowage_engine::BucketInfo;
use stowage_proto::storage as pb;
use stowage_proto::storage::bucket_service_server::BucketService;
use stowage_request::Once;
use stowage_types::{BucketName, S3uid, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::change::{Change, What};

fn bucket_of(uid: &S3uid, info: BucketInfo) -> pb::Bucket {
    pb::Bucket {
        name: name::bucket(uid, &info.bucket),
        bucket: info.bucket.into(),
        create_time: Some(timestamp(info.create_time)),
        object_count: signed(info.object_count),
        stored_bytes: signed(info.stored_bytes),
        received_bytes: signed(info.received_bytes),
        sent_bytes: signed(info.sent_bytes),
    }
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
            let (info, was_there) = self.0.create_bucket(&cx, &uid, &bucket).await?;
            let answer = bucket_of(&uid, info);
            // What a cut-off attempt has made is told by the one that ends it.
            if !was_there || once.resumes() {
                let (what, key) = (What::BucketCreated, "");
                let change = Change { what, uid: &uid, bucket: &bucket, key };
                self.0.tell(&cx, change, (&once, &answer)).await?;
            }
            Ok(answer)
        };
        self.0.requests.once(request, read, work).await
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
        let page = self.0.buckets(&cx, &uid, size, &request.page_token).await?;
        Ok(Response::new(pb::ListBucketsResponse {
            buckets: page.buckets.into_iter().map(|info| bucket_of(&uid, info)).collect(),
            next_page_token: page.next_page_token,
        }))
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
            self.0.delete_bucket(&cx, &uid, &bucket, once.resumes()).await?;
            let answer = pb::DeleteBucketResponse {};
            let (what, key) = (What::BucketDeleted, "");
            let change = Change { what, uid: &uid, bucket: &bucket, key };
            self.0.tell(&cx, change, (&once, &answer)).await?;
            Ok(answer)
        };
        self.0.requests.once(request, read, work).await
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
        let location = self.0.check_bucket_name(&cx, &location, &bucket).await?;
        Ok(Response::new(pb::CheckBucketNameResponse {
            endpoint: location.endpoint,
            storage_types: location.storage_types,
        }))
    }
}
