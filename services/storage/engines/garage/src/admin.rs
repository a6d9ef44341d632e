//! The Admin API: calls, and what they are for.
//!
//! Whatever is not read is POST, deletions too. All that acts on a key or bucket names one; there
//! is no call that means "all".

use std::time::Duration;

use aws_sdk_s3::primitives::SdkBody;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stowage_engine_remote::{Fault, Net};

use crate::wire::{
    Bucket, Health, Key, KeyChange, ListedBucket, ListedKey, Permissions, Quotas, Refusal,
    Statistics,
};

/// Longest answer that is read: a list of some million keys.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// All but unreserved characters.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of the Admin API.
#[derive(Debug)]
pub(crate) struct Admin {
    net: Net,
    /// `https://host:port`
    base: String,
    token: SecretString,
    call_timeout: Duration,
}

impl Admin {
    pub(crate) fn new(net: Net, base: String, token: SecretString, call_timeout: Duration) -> Self {
        Self { net, base, token, call_timeout }
    }

    /// All keys there are, ours or not.
    pub(crate) async fn keys(&self) -> Result<Vec<ListedKey>, Fault> {
        self.read("ListKeys", "").await
    }

    /// A key with what it opens; with its secret too, if that is needed.
    pub(crate) async fn key(&self, id: &str, with_secret: bool) -> Result<Option<Key>, Fault> {
        let query = format!("?id={}&showSecretKey={with_secret}", encoded(id));
        found(self.read("GetKeyInfo", &query).await, "NoSuchAccessKey")
    }

    /// Makes a key that opens nothing yet.
    pub(crate) async fn import_key(
        &self,
        id: &str,
        secret: &SecretString,
        name: &str,
    ) -> Result<(), Fault> {
        let secret = secret.expose_secret();
        let body = json!({"accessKeyId": id, "secretAccessKey": secret, "name": name});
        self.act("ImportKey", "", &body).await
    }

    pub(crate) async fn change_key(&self, id: &str, change: &KeyChange) -> Result<(), Fault> {
        self.act("UpdateKey", &of(id), change).await
    }

    /// Its id is never taken again. Buckets that only it had are left behind.
    pub(crate) async fn delete_key(&self, id: &str) -> Result<(), Fault> {
        gone(self.act("DeleteKey", &of(id), &Value::Null).await, "NoSuchAccessKey")
    }

    /// All buckets there are, ours or not, by their names.
    pub(crate) async fn buckets(&self) -> Result<Vec<ListedBucket>, Fault> {
        self.read("ListBuckets", "").await
    }

    pub(crate) async fn bucket(&self, id: &str) -> Result<Option<Bucket>, Fault> {
        found(self.read("GetBucketInfo", &of(id)).await, "NoSuchBucket")
    }

    /// Makes a bucket that is only this key's.
    pub(crate) async fn create_bucket(&self, key: &str, alias: &str) -> Result<(), Fault> {
        let allow = Permissions::ALL;
        let body = json!({"localAlias": {"accessKeyId": key, "alias": alias, "allow": allow}});
        self.act("CreateBucket", "", &body).await
    }

    /// Makes a bucket that is nobody's; answers its id.
    pub(crate) async fn create_unnamed_bucket(&self) -> Result<String, Fault> {
        #[derive(serde::Deserialize)]
        struct Made {
            id: String,
        }
        let body = SdkBody::from("{}");
        let request = self.request(Method::POST, "CreateBucket", "", body)?;
        let made: Made = understood("CreateBucket", &self.answer(request).await?)?;
        Ok(made.id)
    }

    pub(crate) async fn set_quotas(&self, id: &str, quotas: Quotas) -> Result<(), Fault> {
        self.act("UpdateBucket", &of(id), &json!({"quotas": quotas})).await
    }

    /// Deletes an empty bucket with all its aliases.
    pub(crate) async fn delete_bucket(&self, id: &str) -> Result<(), Fault> {
        gone(self.act("DeleteBucket", &of(id), &Value::Null).await, "NoSuchBucket")
    }

    /// Gives a bucket a name that only this key knows.
    pub(crate) async fn name(&self, id: &str, key: &str, alias: &str) -> Result<(), Fault> {
        let body = json!({"bucketId": id, "accessKeyId": key, "localAlias": alias});
        self.act("AddBucketAlias", "", &body).await
    }

    /// Takes such a name away.
    pub(crate) async fn unname(&self, id: &str, key: &str, alias: &str) -> Result<(), Fault> {
        let body = json!({"bucketId": id, "accessKeyId": key, "localAlias": alias});
        self.act("RemoveBucketAlias", "", &body).await
    }

    pub(crate) async fn allow(&self, id: &str, key: &str, which: Permissions) -> Result<(), Fault> {
        self.permit("AllowBucketKey", (id, key), which).await
    }

    pub(crate) async fn deny(&self, id: &str, key: &str, which: Permissions) -> Result<(), Fault> {
        self.permit("DenyBucketKey", (id, key), which).await
    }

    async fn permit(
        &self,
        operation: &str,
        (id, key): (&str, &str),
        which: Permissions,
    ) -> Result<(), Fault> {
        let body = json!({"bucketId": id, "accessKeyId": key, "permissions": which});
        self.act(operation, "", &body).await
    }

    /// Ends all unfinished uploads of a bucket.
    pub(crate) async fn end_uploads(&self, id: &str) -> Result<(), Fault> {
        let body = json!({"bucketId": id, "olderThanSecs": 0});
        self.act("CleanupIncompleteUploads", "", &body).await
    }

    pub(crate) async fn health(&self) -> Result<Health, Fault> {
        self.read("GetClusterHealth", "").await
    }

    pub(crate) async fn statistics(&self) -> Result<Statistics, Fault> {
        self.read("GetClusterStatistics", "").await
    }

    async fn read<T: DeserializeOwned>(&self, operation: &str, query: &str) -> Result<T, Fault> {
        let request = self.request(Method::GET, operation, query, SdkBody::empty())?;
        understood(operation, &self.answer(request).await?)
    }

    async fn act(&self, operation: &str, query: &str, body: &impl Serialize) -> Result<(), Fault> {
        let body = SdkBody::from(serde_json::to_vec(body).map_err(Fault::failed)?);
        let request = self.request(Method::POST, operation, query, body)?;
        self.answer(request).await.map(drop)
    }

    fn request(
        &self,
        method: Method,
        operation: &str,
        query: &str,
        body: SdkBody,
    ) -> Result<Request<SdkBody>, Fault> {
        let bearer = format!("Bearer {}", self.token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(Fault::failed)?;
        bearer.set_sensitive(true);
        let uri = format!("{}/v2/{operation}{query}", self.base);
        let request = Request::builder().method(method).uri(uri).header(AUTHORIZATION, bearer);
        request.header(CONTENT_TYPE, "application/json").body(body).map_err(Fault::failed)
    }

    async fn answer(&self, request: Request<SdkBody>) -> Result<bytes::Bytes, Fault> {
        let asked = self.net.ask(request, self.call_timeout, ANSWER_BYTES_MAX);
        let (status, body) = asked.await?;
        if status.is_success() {
            return Ok(body);
        }
        // What stands between may answer in HTML.
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        Err(Fault::Refused { status, code: refusal.code })
    }
}

/// Where it failed is told, but not what was there: it may be a secret.
fn understood<T: DeserializeOwned>(operation: &str, answer: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(answer).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Fault::failed(format!("the answer to {operation} is not understood at {line}:{column}"))
    })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &ENCODED).to_string()
}

fn of(id: &str) -> String {
    format!("?id={}", encoded(id))
}

/// `None` where the refusal says that it is not there.
fn found<T>(answer: Result<T, Fault>, absent: &str) -> Result<Option<T>, Fault> {
    match answer {
        Err(fault) if fault.code() == absent => Ok(None),
        answer => answer.map(Some),
    }
}

/// What is not there is deleted.
fn gone(answer: Result<(), Fault>, absent: &str) -> Result<(), Fault> {
    found(answer, absent).map(drop)
}
