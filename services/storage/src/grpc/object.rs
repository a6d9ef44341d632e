//! `ObjectService`.

use stowage_auth::RequestContext;
use stowage_engine::ObjectInfo;
use stowage_proto::storage as pb;
use stowage_proto::storage::object_service_server::ObjectService;
use stowage_request::Once;
use stowage_types::{Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::change::{Change, What};
use crate::domain::object::ObjectQuery;
use crate::error::Error;

/// Longest key of an object, in bytes.
///
/// Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
const KEY_BYTES_MAX: usize = 1024;

fn object_of(info: ObjectInfo) -> pb::Object {
    pb::Object {
        key: info.key,
        size_bytes: signed(info.size_bytes),
        update_time: Some(timestamp(info.update_time)),
        etag: info.etag,
    }
}

fn check_key_length(field: &str, text: &str, violations: &mut Violations) {
    if text.len() > KEY_BYTES_MAX {
        violations.push(field, format!("is longer than {KEY_BYTES_MAX} bytes"));
    }
}

impl TryFrom<pb::ListObjectsRequest> for ObjectQuery {
    type Error = Error;

    fn try_from(request: pb::ListObjectsRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let parent = violations.check("parent", name::parse_bucket(&request.parent));
        check_key_length("prefix", &request.prefix, &mut violations);
        check_key_length("search", &request.search, &mut violations);
        let page_size = page::size(request.page_size, 100, 1000, &mut violations);
        let (uid, bucket) = complete(parent, violations)?;
        Ok(Self {
            uid,
            bucket,
            prefix: request.prefix,
            search: request.search,
            page_size,
            page_token: request.page_token,
        })
    }
}

#[tonic::async_trait]
impl ObjectService for Api {
    async fn list_objects(
        &self,
        request: Request<pb::ListObjectsRequest>,
    ) -> Result<Response<pb::ListObjectsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let query = ObjectQuery::try_from(request.into_inner())?;
        let page = self.0.storage.objects(&cx, &query).await?;
        Ok(Response::new(pb::ListObjectsResponse {
            objects: page.objects.into_iter().map(object_of).collect(),
            prefixes: page.prefixes,
            next_page_token: page.next_page_token,
        }))
    }

    async fn delete_object(
        &self,
        request: Request<pb::DeleteObjectRequest>,
    ) -> Result<Response<pb::DeleteObjectResponse>, Status> {
        let read = |request: pb::DeleteObjectRequest| {
            let mut violations = Violations::default();
            let parent = violations.check("parent", name::parse_bucket(&request.parent));
            check_key_length("key", &request.key, &mut violations);
            if request.key.is_empty() {
                violations.push("key", "must not be empty");
            }
            Ok::<_, Error>((complete(parent, violations)?, request.key))
        };
        let work = async |cx, ((uid, bucket), key): (_, String), once: Once<_>| {
            self.0.storage.delete_object(&cx, &uid, &bucket, (&key, once.resumes())).await?;
            let answer = pb::DeleteObjectResponse {};
            let what = What::FileDeleted;
            let change = Change { what, uid: &uid, bucket: &bucket, key: &key };
            self.0.storage.tell(&cx, change, (&once, &answer)).await?;
            Ok(answer)
        };
        self.0.storage.requests.once(request, read, work).await
    }
}
