//! Places that accounts are ordered at, and keys that are made there.

use stowage_auth::RequestContext;
use stowage_proto::storage;
use stowage_types::{S3uid, name};

use super::{CallError, EngineKey, Roles};

/// Where an account will be.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: String,
    /// Whether its engine makes keys by itself and takes no others.
    pub(crate) issues_keys: bool,
}

impl Roles {
    /// Looks whether a bucket of that name can be made at a location; answers where that is.
    pub(crate) async fn check_bucket_name(
        &self,
        cx: &RequestContext,
        location: &str,
        bucket: &str,
    ) -> Result<Place, CallError> {
        let message = storage::CheckBucketNameRequest {
            location: name::location(location),
            bucket: bucket.to_owned(),
        };
        let checked = self.buckets.clone().check_bucket_name(cx.outgoing(message)).await?;
        let checked = checked.into_inner();
        Ok(Place { endpoint: checked.endpoint, issues_keys: checked.issues_keys })
    }

    /// Whether the engine of a location makes keys by itself and takes no others.
    pub(crate) async fn issues_keys(
        &self,
        cx: &RequestContext,
        location: &str,
    ) -> Result<bool, CallError> {
        let message = storage::GetLocationRequest { name: name::location(location) };
        let found = self.locations.clone().get_location(cx.outgoing(message)).await?;
        Ok(found.into_inner().issues_keys)
    }

    /// Has the engine of an account make a key.
    pub(crate) async fn issue_engine_key(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<EngineKey, CallError> {
        let message = storage::IssueEngineKeyRequest { name: name::account(s3uid) };
        let made = self.engine_accounts.clone().issue_engine_key(cx.outgoing(message)).await?;
        Ok(made.into_inner().into())
    }
}
