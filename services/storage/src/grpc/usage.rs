//! `UsageService`.

use stowage_proto::storage as pb;
use stowage_proto::storage::usage_service_server::UsageService;
use stowage_request::Once;
use stowage_types::{Violations, name, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};

#[tonic::async_trait]
impl UsageService for Api {
    async fn collect_usage(
        &self,
        request: Request<pb::CollectUsageRequest>,
    ) -> Result<Response<pb::CollectUsageResponse>, Status> {
        let read = |request: pb::CollectUsageRequest| {
            let mut violations = Violations::default();
            let uid = violations.check("name", name::parse_account(&request.name));
            complete(uid, violations)
        };
        let work = async |cx, uid, _once: Once<_>| {
            let stored = self.0.storage.collect_account(&cx, &uid).await?;
            Ok(pb::CollectUsageResponse {
                stored_bytes: signed(stored.stored_bytes),
                object_count: signed(stored.object_count),
                collect_time: Some(timestamp(stored.collect_time)),
            })
        };
        self.0.storage.requests.once(request, read, work).await
    }
}
