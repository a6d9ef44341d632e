//! The Admin Ops API: signed calls, and what they are for.
//!
//! `DELETE /usage` without a uid deletes every account's usage; there is no call for it here, with
//! or without. All that acts on a user takes a [`UserId`], which is never empty.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::SdkBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use stowage_engine::{AccountAccess, KeyPair};
use stowage_engine_remote::{Fault, Net};
use stowage_types::Clock;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::options::CephOptions;
use crate::query::Query;
use crate::user::UserId;
use crate::wire::{Bucket, Quota, Refusal, UsageLog, User, UserPage};

/// Longest answer that is read: an hour of the usage log with some 200 000 buckets in it.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A client of the Admin Ops API.
#[derive(Debug)]
pub(crate) struct Admin {
    net: Net,
    /// `https://host:port/admin`
    base: String,
    region: String,
    identity: Identity,
    clock: Arc<dyn Clock>,
    call_timeout: Duration,
    purge_timeout: Duration,
}

/// Which hours of the usage log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hours<'a> {
    /// One hour of everybody. RGW merges several into the first of them.
    One(OffsetDateTime),
    /// A day of everybody, merged: only whether there is anything is of use.
    Day(OffsetDateTime),
    /// All since an hour, of one account, merged.
    Since(OffsetDateTime, &'a UserId),
    /// All there are, of one account, merged.
    All(&'a UserId),
}

impl Admin {
    pub(crate) fn new(
        net: Net,
        base: String,
        options: &CephOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let secret = options.secret_key.expose_secret();
        let credentials = Credentials::new(&options.access_key, secret, None, None, "stowage");
        Self {
            net,
            base,
            region: options.region.clone(),
            identity: credentials.into(),
            clock,
            call_timeout: options.call_timeout,
            purge_timeout: options.purge_timeout,
        }
    }

    pub(crate) async fn user(&self, uid: &UserId) -> Result<Option<User>, Fault> {
        match self.read("user", &of(uid)).await {
            Ok(user) => Ok(Some(user)),
            Err(fault) if fault.code() == "NoSuchUser" => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The user who has an access key, which is not empty. RGW denies access to a key that nobody
    /// has, as it does to all keys where we may not ask: whoever has not asked for anything else
    /// before has to find out.
    pub(crate) async fn user_with_key(&self, access_key: &str) -> Result<Option<User>, Fault> {
        match self.read("user", &Query::default().with("access-key", access_key)).await {
            Ok(user) => Ok(Some(user)),
            Err(fault) if ["AccessDenied", "NoSuchUser"].contains(&fault.code()) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(crate) async fn users(&self, marker: &str, max: u32) -> Result<UserPage, Fault> {
        let query = Query::about("list").with("max-entries", max.to_string());
        let query = if marker.is_empty() { query } else { query.with("marker", marker) };
        self.read("user", &query).await
    }

    /// Makes a user without keys.
    pub(crate) async fn create_user(
        &self,
        uid: &UserId,
        display_name: &str,
        max_buckets: i64,
    ) -> Result<(), Fault> {
        let query = of(uid)
            .with("display-name", display_name)
            .with("max-buckets", max_buckets.to_string())
            .with("generate-key", "false");
        self.act(Method::PUT, "user", &query).await
    }

    pub(crate) async fn modify_user(
        &self,
        uid: &UserId,
        max_buckets: i64,
        access: AccountAccess,
    ) -> Result<(), Fault> {
        let is_suspended = access == AccountAccess::Suspended;
        let may = if access == AccountAccess::ReadOnly { "read" } else { "read,write,delete" };
        let query = of(uid)
            .with("max-buckets", max_buckets.to_string())
            .with("suspended", is_suspended.to_string())
            .with("op-mask", may);
        self.act(Method::POST, "user", &query).await
    }

    /// Changes what a user is called by people, and nothing else of it.
    ///
    /// All of it is said again, since what is left out becomes a default.
    pub(crate) async fn name_user(&self, user: &User, display_name: &str) -> Result<(), Fault> {
        let query = of(&user.user_id)
            .with("display-name", display_name)
            .with("max-buckets", user.max_buckets.to_string())
            .with("suspended", user.suspended.to_string());
        self.act(Method::POST, "user", &query).await
    }

    /// Adds a key, or changes the secret of one the user has.
    pub(crate) async fn put_key(&self, uid: &UserId, key: &KeyPair) -> Result<(), Fault> {
        let query = Query::about("key")
            .with("uid", uid.as_str())
            .with("access-key", &key.access_key)
            .with("secret-key", key.secret_key.expose_secret());
        self.act(Method::PUT, "user", &query).await
    }

    pub(crate) async fn delete_key(&self, uid: &UserId, access_key: &str) -> Result<(), Fault> {
        let query = Query::about("key").with("uid", uid.as_str()).with("access-key", access_key);
        self.act(Method::DELETE, "user", &query).await
    }

    /// Sets the quota of all that the user stores.
    pub(crate) async fn set_quota(&self, uid: &UserId, quota: Quota) -> Result<(), Fault> {
        let query = Query::about("quota")
            .with("uid", uid.as_str())
            .with("quota-type", "user")
            .with("max-size", quota.max_size.to_string())
            .with("max-objects", quota.max_objects.to_string())
            .with("enabled", quota.enabled.to_string());
        self.act(Method::PUT, "user", &query).await
    }

    /// Deletes a user who has no buckets.
    pub(crate) async fn delete_user(&self, uid: &UserId) -> Result<(), Fault> {
        self.act(Method::DELETE, "user", &of(uid)).await
    }

    /// Whoever's bucket of a name. The name is of S3's rules, so it is never "all".
    pub(crate) async fn bucket(&self, bucket: &str) -> Result<Option<Bucket>, Fault> {
        match self.read("bucket", &Query::default().with("bucket", bucket)).await {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.code() == "NoSuchBucket" => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Names of the user's buckets. None for a user who is not there.
    pub(crate) async fn bucket_names(&self, uid: &UserId) -> Result<Vec<String>, Fault> {
        self.read("bucket", &of(uid)).await
    }

    /// The user's buckets with their figures. None for a user who is not there.
    pub(crate) async fn buckets(&self, uid: &UserId) -> Result<Vec<Bucket>, Fault> {
        self.read("bucket", &of(uid).with("stats", "true")).await
    }

    /// Sets the quota of a bucket of the user's.
    ///
    /// As a body, since version 16.2 takes the query's `max-size` for 0, and with all fields, since
    /// one that is left out becomes 0.
    pub(crate) async fn set_bucket_quota(
        &self,
        uid: &UserId,
        bucket: &str,
        quota: Quota,
    ) -> Result<(), Fault> {
        let query = Query::about("quota").with("uid", uid.as_str()).with("bucket", bucket);
        let body = serde_json::to_vec(&quota).map_err(Fault::failed)?;
        let request = self.signed(Method::PUT, "bucket", &query, Some(body))?;
        self.answer_to(request, self.call_timeout).await.map(drop)
    }

    /// Deletes a bucket with all that is in it, if it is the user's.
    pub(crate) async fn purge_bucket(&self, uid: &UserId, bucket: &str) -> Result<(), Fault> {
        match self.bucket(bucket).await? {
            Some(found) if found.owner == uid.as_str() => {}
            _ => return Ok(()),
        }
        let query = Query::default().with("bucket", bucket).with("purge-objects", "true");
        let purged = self.answer(Method::DELETE, "bucket", &query, self.purge_timeout).await;
        match purged {
            Err(fault) if fault.code() == "NoSuchBucket" => Ok(()),
            purged => purged.map(drop),
        }
    }

    /// Reads the usage log.
    pub(crate) async fn usage(&self, hours: Hours<'_>) -> Result<UsageLog, Fault> {
        let query = Query::default().with("show-entries", "true").with("show-summary", "false");
        let query = match hours {
            Hours::One(hour) => {
                query.with("start", text_of(hour)).with("end", text_of(hour + time::Duration::HOUR))
            }
            Hours::Day(hour) => {
                query.with("start", text_of(hour)).with("end", text_of(hour + time::Duration::DAY))
            }
            // From the hour itself, calls that name no bucket would be left out.
            Hours::Since(hour, uid) => query
                .with("uid", uid.as_str())
                .with("start", text_of(hour - time::Duration::SECOND)),
            Hours::All(uid) => query.with("uid", uid.as_str()),
        };
        self.read("usage", &query).await
    }

    async fn act(&self, method: Method, path: &str, query: &Query) -> Result<(), Fault> {
        self.answer(method, path, query, self.call_timeout).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, Fault> {
        let answer = self.answer(Method::GET, path, query, self.call_timeout).await?;
        // Where it failed is told, but not what was there: it may be a secret.
        serde_json::from_slice(&answer).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Fault::failed(format!("the answer to {path} is not understood at {line}:{column}"))
        })
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        timeout: Duration,
    ) -> Result<Bytes, Fault> {
        let request = self.signed(method, path, query, None)?;
        self.answer_to(request, timeout).await
    }

    async fn answer_to(
        &self,
        request: Request<SdkBody>,
        timeout: Duration,
    ) -> Result<Bytes, Fault> {
        let (status, body) = self.net.ask(request, timeout, ANSWER_BYTES_MAX).await?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        // What stands between may answer in HTML.
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        Err(Fault::Refused { status, code: refusal.code })
    }

    /// A signed request. A body is not part of what is signed: RGW refuses to be told of one.
    fn signed(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<Vec<u8>>,
    ) -> Result<Request<SdkBody>, Fault> {
        let uri = format!("{}/{path}?{}", self.base, query.as_str());
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::from(self.clock.now()))
            .settings(settings)
            .build()
            .map_err(Fault::failed)?
            .into();
        let covered = match &body {
            None => SignableBody::Bytes(&[]),
            Some(_) => SignableBody::UnsignedPayload,
        };
        let signable = SignableRequest::new(method.as_str(), &uri, std::iter::empty(), covered);
        let signable = signable.map_err(Fault::failed)?;
        let (instructions, _) = sign(signable, &params).map_err(Fault::failed)?.into_parts();
        let request = Request::builder().method(method).uri(&uri);
        let request = request.body(body.map_or_else(SdkBody::empty, SdkBody::from));
        let mut request = request.map_err(Fault::failed)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

fn of(uid: &UserId) -> Query {
    Query::default().with("uid", uid.as_str())
}

/// A date that RGW does not understand means everything to it.
fn text_of(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.format(form).expect("a date and a time have all that the form names")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn hours_are_written_as_rgw_reads_them() {
        assert_eq!(text_of(datetime!(2026-01-02 03:00 UTC)), "2026-01-02 03:00:00");
    }
}
