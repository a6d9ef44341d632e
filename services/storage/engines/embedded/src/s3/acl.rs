//! What clients ask of access control lists and tags. Neither can be changed: an account reaches
//! its own buckets and nobody else does, and no object has a tag.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Backend;
use super::bucket::owner;
use super::object::check_version;
use crate::access::Caller;
use crate::error::Error;

/// All that there is to say: its owner may do everything.
fn grants(caller: &Caller) -> Grants {
    let grantee = Grantee {
        display_name: None,
        email_address: None,
        id: owner(caller).id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Some(Permission::from_static(Permission::FULL_CONTROL));
    vec![Grant { grantee: Some(grantee), permission }]
}

/// Refuses to describe an object that is not there.
async fn check_there(
    backend: &Backend,
    caller: &Caller,
    (key, version): (&str, Option<&str>),
) -> S3Result<()> {
    check_version(version)?;
    let found = backend.index.find_object(caller.bucket()?, key).await?;
    found.map(drop).ok_or_else(|| Error::NoSuchKey.into())
}

pub(super) async fn get_bucket_acl(
    _: &Backend,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let caller = Caller::of(&request)?;
    caller.bucket()?;
    let (grants, owner) = (Some(grants(&caller)), Some(owner(&caller)));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
}

pub(super) async fn get_object_acl(
    backend: &Backend,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    check_there(backend, &caller, (&input.key, input.version_id.as_deref())).await?;
    let (grants, owner) = (Some(grants(&caller)), Some(owner(&caller)));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner, request_charged: None }))
}

pub(super) async fn get_object_tagging(
    backend: &Backend,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    check_there(backend, &caller, (&input.key, input.version_id.as_deref())).await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None }))
}
