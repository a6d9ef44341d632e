//! Who may do what: runs after the signature was verified and before anything else.
//!
//! - Nobody gets in without a signature.
//! - A suspended account gets nothing done. What it has under way is ended in `serve`. A read-only
//!   one reads; what it has begun to write is refused when it would be stored.
//! - An account reaches its own buckets only. Sources of copies are checked where they are read.
//! - A header `x-amz-*` that is not signed is refused. s3s 0.14 verifies the signature over the
//!   signed headers and then obeys all of them: whoever holds a presigned PUT URL could add
//!   `x-amz-copy-source` and read any object of the signer. (0.17 refuses them itself; it needs a
//!   newer compiler.)
//! - Signature version 2 covers method, path and time, and little of the query: it is good for a
//!   URL to read or write an object that says nothing else. s3cmd makes no other, and boto3 none
//!   unless it is told to.
//! - Requests for features that we lack are refused rather than half obeyed.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Request, S3Result, s3_error};
use stowage_engine::AccountAccess;
use stowage_types::S3uid;

use crate::auth::{Keys, Known};
use crate::error::{Error, custom};
use crate::index::{BucketRef, Index};
use crate::traffic::Meter;

/// Longest life of a signed URL, in seconds: a week.
///
/// Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters".
const EXPIRES_MAX: u32 = 604_800;

/// What a request may ask of the headers of its answer.
const RESPONSE_HEADERS: [&str; 6] = [
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

/// What a client is told whose account is suspended.
const SUSPENDED: &str = "the account is suspended";

/// What a client is told whose account is read-only.
const READ_ONLY: &str = "the account is read-only";

/// Whether an operation changes nothing: one that S3 may add later is taken for a change.
fn is_read(operation: &str) -> bool {
    ["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb))
}

/// Who calls, as the operations see it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) uid: S3uid,
    /// The bucket that the request names, if it is there. It is the caller's own, except in a
    /// request to create it.
    bucket: Option<BucketRef>,
}

impl Caller {
    /// The caller of a request.
    pub(crate) fn of<T>(request: &S3Request<T>) -> S3Result<Self> {
        let caller = request.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))
    }

    /// The caller's bucket that the request names.
    pub(crate) fn bucket(&self) -> Result<&BucketRef, Error> {
        self.bucket.as_ref().filter(|bucket| bucket.uid == self.uid).ok_or(Error::NoSuchBucket)
    }
}

/// The check before every operation.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) index: Index,
    pub(crate) keys: Arc<Keys>,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "the request is not signed"));
        };
        let access_key = credentials.access_key.clone();
        if let Some(meter) = cx.extensions_mut().get::<Arc<Meter>>() {
            meter.signed_by(&access_key);
        }
        let found = self.keys.find(&access_key).await?;
        let Known { uid, access, .. } = found.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        if access == AccountAccess::Suspended {
            // Before anybody is charged for it.
            return Err(s3_error!(AccessDenied, "{SUSPENDED}"));
        }
        let bucket = match cx.s3_path().get_bucket_name() {
            Some(name) => self.index.find_bucket(name).await?,
            None => None,
        };
        let own = bucket.as_ref().filter(|bucket| bucket.uid == uid);
        if let Some(meter) = cx.extensions_mut().get::<Arc<Meter>>() {
            meter.charge(&uid, own);
        }
        check_signed(cx.s3_op().name(), cx.uri(), cx.headers())?;
        if own.is_none()
            && let Some(meant) = &bucket
            && cx.s3_op().name() != "CreateBucket"
        {
            if let Some(meter) = cx.extensions_mut().get::<Arc<Meter>>() {
                meter.means(meant);
            }
            return Err(s3_error!(AccessDenied, "the bucket is not the account's"));
        }
        if access == AccountAccess::ReadOnly && !is_read(cx.s3_op().name()) {
            return Err(s3_error!(AccessDenied, "{READ_ONLY}"));
        }
        check_texts(cx.s3_op().name(), cx.uri())?;
        check_owner(cx.headers(), &uid)?;
        check_supported(cx.headers())?;
        self.keys.note_use(&access_key);
        if let Some(meter) = cx.extensions_mut().get::<Arc<Meter>>() {
            meter.let_in();
        }
        cx.extensions_mut().insert(Caller { uid, bucket });
        Ok(())
    }
}

/// Refuses a NUL in what is looked up as text, which no database takes. Keys are bytes there.
fn check_texts(operation: &str, uri: &Uri) -> S3Result<()> {
    const TEXTS: [&str; 3] = ["uploadId", "upload-id-marker", "continuation-token"];
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let is_text =
            TEXTS.contains(&name.as_ref()) || (operation == "ListBuckets" && name == "prefix");
        if is_text && value.contains('\0') {
            return Err(s3_error!(InvalidArgument, "{name} has a NUL"));
        }
    }
    Ok(())
}

type Query<'a> = [(Cow<'a, str>, Cow<'a, str>)];

/// Refuses what the signature does not cover.
fn check_signed(operation: &str, uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    // Decoded, as s3s reads them: an escaped name must not pass unseen.
    let query: Vec<_> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let parameter = |wanted: &str| {
        query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_ref())
    };
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_v2 = parameter("Signature").is_some()
        || authorization.is_some_and(|value| value.trim_start().starts_with("AWS "));
    if is_v2 {
        return check_version_2(operation, &query, headers);
    }
    let signed = match (parameter("X-Amz-Signature"), authorization) {
        (Some(_), Some(_)) => return Err(s3_error!(AccessDenied, "the request is signed twice")),
        (Some(_), None) => {
            check_expiry(parameter("X-Amz-Expires").unwrap_or_default())?;
            parameter("X-Amz-SignedHeaders").unwrap_or_default()
        }
        (None, authorization) => {
            let value = authorization.and_then(|value| value.split_once("SignedHeaders="));
            let value = value.map_or("", |(_, rest)| rest);
            value.split(',').next().unwrap_or_default().trim()
        }
    };
    for name in headers.keys().map(http::HeaderName::as_str) {
        let is_signed = || signed.split(';').any(|one| one.eq_ignore_ascii_case(name));
        if name.starts_with("x-amz-") && !is_signed() {
            return Err(s3_error!(AccessDenied, "the header {name} is not signed"));
        }
    }
    Ok(())
}

/// Refuses a signed URL that says more than version 2 of the signature covers: method, path, time,
/// type and digest of the body, and of the query what is asked of the answer's headers.
fn check_version_2(operation: &str, query: &Query<'_>, headers: &HeaderMap) -> S3Result<()> {
    const SIGNED: [&str; 3] = ["AWSAccessKeyId", "Expires", "Signature"];
    // boto3 repeats these headers here, where nobody reads them.
    const UNREAD: [&str; 2] = ["content-type", "content-md5"];
    let count = |wanted: &str| query.iter().filter(|(name, _)| name == wanted).count();
    let is_covered =
        |name: &str| [&SIGNED[..], &RESPONSE_HEADERS, &UNREAD].concat().contains(&name);
    let is_plain = SIGNED.iter().all(|name| count(name) == 1)
        && query.iter().all(|(name, _)| is_covered(name) && count(name) == 1)
        && !headers.contains_key(AUTHORIZATION)
        && !headers.keys().any(|name| name.as_str().starts_with("x-amz-"));
    if is_plain && ["GetObject", "HeadObject", "PutObject"].contains(&operation) {
        return Ok(());
    }
    let why = "signature version 2 is good for plain URLs to read or write an object only";
    Err(s3_error!(AccessDenied, "{why}; use version 4"))
}

/// Refuses a signed URL that is to be good for no time, or for too long.
fn check_expiry(seconds: &str) -> S3Result<()> {
    if seconds.parse().is_ok_and(|seconds| (1..=EXPIRES_MAX).contains(&seconds)) {
        return Ok(());
    }
    let code = "AuthorizationQueryParametersError";
    let why = format!("X-Amz-Expires is 1 to {EXPIRES_MAX} seconds");
    Err(custom(code, StatusCode::BAD_REQUEST, why))
}

/// A client may say whose buckets it takes them for.
fn check_owner(headers: &HeaderMap, uid: &S3uid) -> S3Result<()> {
    for name in ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"] {
        if headers.get(name).is_some_and(|value| value != uid.as_str()) {
            return Err(s3_error!(AccessDenied, "the bucket has another owner than expected"));
        }
    }
    Ok(())
}

/// Refuses what would be promised and not kept: encryption, locks, tags, grants, conditions.
fn check_supported(headers: &HeaderMap) -> S3Result<()> {
    const LACKING: [&str; 8] = [
        "x-amz-server-side-encryption",
        "x-amz-copy-source-server-side-encryption",
        "x-amz-object-lock-",
        "x-amz-bucket-object-lock-enabled",
        "x-amz-tagging",
        "x-amz-grant-",
        "x-amz-website-redirect-location",
        // Conditions of a deletion by size or time, which S3 itself has for few kinds of buckets.
        "x-amz-if-match-",
    ];
    for (name, value) in headers {
        let name = name.as_str();
        let is_false = value == "false" || value == "False";
        let is_lacking = LACKING.iter().any(|prefix| name.starts_with(prefix))
            && name != "x-amz-tagging-directive"
            && !is_false;
        if is_lacking || name == "x-amz-write-offset-bytes" {
            return Err(s3_error!(NotImplemented, "the header {name} is not supported"));
        }
        if name == "x-amz-acl" && value != "private" && value != "bucket-owner-full-control" {
            return Err(s3_error!(NotImplemented, "access control lists are not supported"));
        }
        if name == "x-amz-storage-class" && value != "STANDARD" {
            return Err(s3_error!(InvalidStorageClass, "the only storage class is STANDARD"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: &str, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        check_signed(operation, &uri.parse().unwrap(), &map).is_ok()
    }

    #[test]
    fn only_signed_amz_headers_pass() {
        let v4 = "AWS4-HMAC-SHA256 Credential=K/20261123/r/s3/aws4_request, \
                  SignedHeaders=host;x-amz-date, Signature=00";
        let url = "/b/k?X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-amz-acl&X-Amz-Signature=00";
        for (uri, headers, passes) in [
            ("/b/k", vec![("authorization", v4), ("x-amz-date", "d"), ("range", "r")], true),
            ("/b/k", vec![("authorization", v4), ("x-amz-copy-source", "/b/o")], false),
            (url, vec![("x-amz-acl", "private")], true),
            (url, vec![("x-amz-copy-source", "/b/o")], false),
            (url, vec![("authorization", v4), ("x-amz-date", "d")], false),
            (&url.replace("Amz-Sig", "Amz%2DSig"), vec![("x-amz-copy-source", "/b/o")], false),
            (
                &url.replace("Amz-Sig", "Amz%2DSig"),
                vec![("authorization", &v4.replace("x-amz-date", "x-amz-acl")), ("x-amz-acl", "p")],
                false,
            ),
            ("/b/k", vec![("authorization", "AWS K:sig")], false),
            (&url.replace("=60", "=0"), vec![], false),
            (&url.replace("=60", "=604800"), vec![], true),
            (&url.replace("=60", "=604801"), vec![], false),
            (&url.replace("=60", "=-1"), vec![], false),
        ] {
            assert_eq!(check("PutObject", uri, &headers), passes, "{uri} {headers:?}");
        }
    }

    #[test]
    fn version_2_passes_where_nothing_else_is_said() {
        let url = "/b/k?AWSAccessKeyId=K&Expires=1&Signature=x";
        for (operation, uri, headers, passes) in [
            ("GetObject", url, vec![("range", "bytes=0-1")], true),
            ("HeadObject", url, vec![], true),
            ("PutObject", url, vec![("content-type", "text/plain")], true),
            ("PutObject", &format!("{url}&content-type=text%2Fplain"), vec![], true),
            ("PutObject", &format!("{url}&x-amz-meta-a=b"), vec![], false),
            ("DeleteObject", url, vec![], false),
            ("UploadPart", &format!("{url}&partNumber=1&uploadId=u"), vec![], false),
            ("GetObjectTagging", &format!("{url}&tagging"), vec![], false),
            ("GetObject", &format!("{url}&response-content-type=a"), vec![], true),
            ("GetObject", &format!("{url}&response-expires=a&response-expires=b"), vec![], false),
            ("GetObject", &format!("{url}&partNumber=1"), vec![], false),
            ("GetObject", &format!("{url}&Expires=2"), vec![], false),
            ("GetObject", "/b/k?AWSAccessKeyId=K&Signature=x", vec![], false),
            ("GetObject", "/b/k?Signature=x&Signature=y&Expires=1", vec![], false),
            ("GetObject", url, vec![("x-amz-acl", "private")], false),
            ("GetObject", url, vec![("authorization", "AWS K:sig")], false),
        ] {
            assert_eq!(check(operation, uri, &headers), passes, "{operation} {uri} {headers:?}");
        }
    }
}
