//! `UploadService`.

use stowage_auth::RequestContext;
use stowage_engine::UploadInfo;
use stowage_proto::storage as pb;
use stowage_proto::storage::upload_service_server::UploadService;
use stowage_request::Once;
use stowage_types::{BucketName, S3uid, Violations, from_timestamp, name, page, timestamp};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::change::{Change, What};
use crate::error::Error;

fn upload_of(info: UploadInfo) -> pb::Upload {
    pb::Upload {
        key: info.key,
        upload_id: info.upload_id,
        begin_time: Some(timestamp(info.begin_time)),
        stored_bytes: info.stored_bytes.map(signed),
    }
}

/// Which uploads to end.
struct Abort {
    uid: S3uid,
    bucket: BucketName,
    begun_before: Option<OffsetDateTime>,
}

impl TryFrom<pb::AbortUploadsRequest> for Abort {
    type Error = Error;

    fn try_from(request: pb::AbortUploadsRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let parent = violations.check("parent", name::parse_bucket(&request.parent));
        let begun_before = request.begun_before.as_ref().map(from_timestamp).transpose();
        let begun_before = violations.check("begun_before", begun_before);
        let ((uid, bucket), begun_before) = complete(parent.zip(begun_before), violations)?;
        Ok(Self { uid, bucket, begun_before })
    }
}

#[tonic::async_trait]
impl UploadService for Api {
    async fn list_uploads(
        &self,
        request: Request<pb::ListUploadsRequest>,
    ) -> Result<Response<pb::ListUploadsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let parent = violations.check("parent", name::parse_bucket(&request.parent));
        let size = page::size(request.page_size, 100, 1000, &mut violations);
        let (uid, bucket) = complete(parent, violations)?;
        let page = (size, request.page_token.as_str());
        let page = self.0.storage.uploads(&cx, (&uid, &bucket), page).await?;
        Ok(Response::new(pb::ListUploadsResponse {
            uploads: page.uploads.into_iter().map(upload_of).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn abort_uploads(
        &self,
        request: Request<pb::AbortUploadsRequest>,
    ) -> Result<Response<pb::AbortUploadsResponse>, Status> {
        let work = async |cx, abort: Abort, once: Once<pb::AbortUploadsResponse>| {
            let (uid, bucket, storage) = (&abort.uid, &abort.bucket, &self.0.storage);
            let done = storage.abort_uploads(&cx, (uid, bucket), abort.begun_before).await?;
            let answer =
                pb::AbortUploadsResponse { aborted_count: i64::from(done.count), more: done.more };
            let change = Change { what: What::UploadsAborted, uid, bucket, key: "" };
            storage.tell(&cx, change, (&once, &answer)).await?;
            Ok::<_, Error>(answer)
        };
        self.0.storage.requests.once(request, Abort::try_from, work).await
    }
}
