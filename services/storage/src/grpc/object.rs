//! `ObjectService`.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_engine::{ObjectInfo, PresignMethod, VALID_FOR_MAX};
use stowage_proto::storage as pb;
use stowage_proto::storage::object_service_server::ObjectService;
use stowage_request::Once;
use stowage_types::{ExposeSecret as _, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::change::{Change, What};
use crate::domain::object::{ObjectQuery, UrlQuery};
use crate::error::Error;

/// Longest key of an object, in bytes.
///
/// Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
const KEY_BYTES_MAX: usize = 1024;

/// How long a signed URL works where the caller does not say, in seconds.
const VALID_SECONDS: i64 = 3600;

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

fn check_key(key: &str, violations: &mut Violations) {
    check_key_length("key", key, violations);
    if key.is_empty() {
        violations.push("key", "must not be empty");
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

impl TryFrom<pb::SignObjectUrlRequest> for UrlQuery {
    type Error = Error;

    fn try_from(request: pb::SignObjectUrlRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let parent = violations.check("parent", name::parse_bucket(&request.parent));
        check_key(&request.key, &mut violations);
        let method = match request.method() {
            pb::SignedMethod::Get => PresignMethod::Get,
            pb::SignedMethod::Put => PresignMethod::Put,
            pb::SignedMethod::Unspecified => {
                violations.push("method", "must be GET or PUT");
                PresignMethod::Get
            }
        };
        let seconds = match request.valid_seconds {
            0 => VALID_SECONDS,
            seconds => seconds,
        };
        let valid_for = u64::try_from(seconds).map(Duration::from_secs).unwrap_or_default();
        if valid_for.is_zero() || valid_for > VALID_FOR_MAX {
            let max = VALID_FOR_MAX.as_secs();
            violations.push("valid_seconds", format!("must be from 1 to {max}, or 0 for an hour"));
        }
        let (uid, bucket) = complete(parent, violations)?;
        Ok(Self { uid, bucket, key: request.key, method, valid_for })
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
            check_key(&request.key, &mut violations);
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

    async fn sign_object_url(
        &self,
        request: Request<pb::SignObjectUrlRequest>,
    ) -> Result<Response<pb::SignObjectUrlResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let query = UrlQuery::try_from(request.into_inner())?;
        let signed = self.0.storage.sign_object_url(&cx, query).await?;
        Ok(Response::new(pb::SignObjectUrlResponse {
            url: signed.url.expose_secret().to_owned(),
            expire_time: Some(timestamp(signed.expire_time)),
        }))
    }
}
