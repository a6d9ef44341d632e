//! `BucketDeletionService`.

use stowage_auth::RequestContext;
use stowage_proto::storage as pb;
use stowage_proto::storage::bucket_deletion_service_server::BucketDeletionService;
use stowage_request::Once;
use stowage_types::{BucketName, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete};
use crate::domain::bucket_deletion::{BucketDeletion, Order, State};

impl From<BucketDeletion> for pb::BucketDeletion {
    fn from(deletion: BucketDeletion) -> Self {
        let state = match deletion.state {
            State::Running => pb::BucketDeletionState::Running,
            State::Paused => pb::BucketDeletionState::Paused,
            State::Done => pb::BucketDeletionState::Done,
            State::Cancelled => pb::BucketDeletionState::Cancelled,
            State::Failed => pb::BucketDeletionState::Failed,
        };
        Self {
            name: name::bucket_deletion(&deletion.uid, deletion.id),
            bucket: deletion.bucket.into(),
            state: state.into(),
            why: deletion.why,
            deleted_object_count: deletion.deleted.objects,
            deleted_bytes: deletion.deleted.bytes,
            start_object_count: deletion.start.objects,
            start_bytes: deletion.start.bytes,
            create_time: Some(timestamp(deletion.create_time)),
            update_time: Some(timestamp(deletion.update_time)),
            end_time: deletion.end_time.map(timestamp),
        }
    }
}

/// A change of one deletion: the three methods differ in their request and in what is ordered.
macro_rules! change {
    ($self:ident, $request:ident: $message:ident, $order:expr) => {{
        let read = |request: pb::$message| {
            let mut violations = Violations::default();
            let named = violations.check("name", name::parse_bucket_deletion(&request.name));
            complete(named, violations)
        };
        let work = async |cx, (uid, id), once: Once<BucketDeletion>| {
            $self.0.storage.change_bucket_deletion(&cx, (&uid, id), $order, &once).await
        };
        $self.0.storage.requests.once($request, read, work).await
    }};
}

#[tonic::async_trait]
impl BucketDeletionService for Api {
    async fn start_bucket_deletion(
        &self,
        request: Request<pb::StartBucketDeletionRequest>,
    ) -> Result<Response<pb::BucketDeletion>, Status> {
        let read = |request: pb::StartBucketDeletionRequest| {
            let mut violations = Violations::default();
            let named = violations.check("bucket", name::parse_bucket(&request.bucket));
            complete(named, violations)
        };
        let work = async |cx, (uid, bucket), once: Once<BucketDeletion>| {
            self.0.storage.start_bucket_deletion(&cx, &uid, &bucket, &once).await
        };
        self.0.storage.requests.once(request, read, work).await
    }

    async fn get_bucket_deletion(
        &self,
        request: Request<pb::GetBucketDeletionRequest>,
    ) -> Result<Response<pb::BucketDeletion>, Status> {
        let cx = RequestContext::of(&request)?;
        let mut violations = Violations::default();
        let named = name::parse_bucket_deletion(&request.get_ref().name);
        let named = violations.check("name", named);
        let (uid, id) = complete(named, violations)?;
        Ok(Response::new(self.0.storage.bucket_deletion(&cx, &uid, id).await?.into()))
    }

    async fn list_bucket_deletions(
        &self,
        request: Request<pb::ListBucketDeletionsRequest>,
    ) -> Result<Response<pb::ListBucketDeletionsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let uid = violations.check("parent", name::parse_account(&request.parent));
        let bucket = match request.bucket.as_str() {
            "" => None,
            text => violations.check("bucket", BucketName::new(text)),
        };
        let size = page::size(request.page_size, 50, 1000, &mut violations);
        let uid = complete(uid, violations)?;
        let page = (size, request.page_token.as_str());
        let page = self.0.storage.bucket_deletions(&cx, &uid, bucket.as_ref(), page).await?;
        Ok(Response::new(pb::ListBucketDeletionsResponse {
            deletions: page.deletions.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn pause_bucket_deletion(
        &self,
        request: Request<pb::PauseBucketDeletionRequest>,
    ) -> Result<Response<pb::BucketDeletion>, Status> {
        change!(self, request: PauseBucketDeletionRequest, Order::Pause)
    }

    async fn resume_bucket_deletion(
        &self,
        request: Request<pb::ResumeBucketDeletionRequest>,
    ) -> Result<Response<pb::BucketDeletion>, Status> {
        change!(self, request: ResumeBucketDeletionRequest, Order::Resume)
    }

    async fn cancel_bucket_deletion(
        &self,
        request: Request<pb::CancelBucketDeletionRequest>,
    ) -> Result<Response<pb::BucketDeletion>, Status> {
        change!(self, request: CancelBucketDeletionRequest, Order::Cancel)
    }
}
