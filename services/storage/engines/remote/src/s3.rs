//! S3, by the hand of an account or by our own.

use std::cmp::Ordering;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::list_objects::ListObjectsOutput;
use aws_sdk_s3::types::{Delete, EncodingType, MultipartUpload, ObjectIdentifier};
use aws_sdk_s3::{Client, Config};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use stowage_engine::{Error, ListQuery, ObjectInfo, ObjectPage, UploadCursor, UploadInfo};
use stowage_types::BucketName;
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::net::Net;

/// Keys of a page, of a deletion, and uploads of a page.
const PAGE_MAX: u32 = 1000;

/// Makes clients for whoever acts.
#[derive(Debug)]
pub struct S3 {
    http: SharedHttpClient,
    endpoint: String,
    region: String,
    call_timeout: Duration,
    skips_prefixes: bool,
}

/// A client that acts as somebody.
#[derive(Debug)]
pub struct Hand {
    pub(crate) client: Client,
    skips_prefixes: bool,
    /// A parameter of the query by which a server is told whom a call is made for.
    acts_for: Option<(&'static str, String)>,
}

impl S3 {
    /// Nothing is sent yet.
    #[must_use]
    pub fn new(net: &Net, endpoint: String, region: String, call_timeout: Duration) -> Self {
        Self { http: net.for_sdk(), endpoint, region, call_timeout, skips_prefixes: false }
    }

    /// For a server that lists a common prefix again in the page after it.
    #[must_use]
    pub fn skipping_prefixes(mut self) -> Self {
        self.skips_prefixes = true;
        self
    }

    /// Whoever has these credentials.
    #[must_use]
    pub fn hand(&self, access_key: &str, secret_key: &SecretString) -> Hand {
        let secret = secret_key.expose_secret();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(access_key, secret, None, None, "stowage"))
            // Each client is for one call, so there is nothing to remember.
            .identity_cache(IdentityCache::no_cache())
            .http_client(self.http.clone())
            // Whoever asked repeats what can be repeated.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(self.call_timeout).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Older versions do not know them.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let client = Client::from_conf(config);
        Hand { client, skips_prefixes: self.skips_prefixes, acts_for: None }
    }
}

impl Hand {
    /// The library's client, for calls that only one kind of server has.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same hand, acting for somebody whom a parameter of each query names: what it makes is
    /// his. Buckets and objects are made so; nothing else heeds it.
    #[must_use]
    pub fn acting_for(mut self, parameter: &'static str, uid: &str) -> Self {
        self.acts_for = Some((parameter, uid.to_owned()));
        self
    }

    /// Tells in a request whom it is made for; to be signed with the rest.
    pub(crate) fn tells_whom(&self) -> impl Fn(&mut HttpRequest) + Send + Sync + use<> {
        let acts_for = self.acts_for.clone();
        move |request| {
            let Some((parameter, uid)) = &acts_for else { return };
            let sign = if request.uri().contains('?') { '&' } else { '?' };
            let uri = format!("{}{sign}{parameter}={uid}", request.uri());
            if let Err(error) = request.set_uri(uri) {
                tracing::error!(%error, "a request cannot say whom it is made for");
            }
        }
    }

    /// Creates a bucket, which is whose hand it is.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn create_bucket(&self, bucket: &BucketName) -> Result<(), Error> {
        let make = self.client.create_bucket().bucket(bucket.as_str());
        let made = make.customize().mutate_request(self.tells_whom()).send().await;
        made.map(drop).map_err(error_of)
    }

    /// Deletes an empty bucket.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn delete_bucket(&self, bucket: &BucketName) -> Result<(), Error> {
        let deleted = self.client.delete_bucket().bucket(bucket.as_str()).send().await;
        deleted.map(drop).map_err(error_of)
    }

    /// Lists a page of objects.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn list(&self, bucket: &BucketName, query: &ListQuery) -> Result<ObjectPage, Error> {
        // Version 1 of the call: its marker may be a common prefix, whose keys are then left out.
        let max = i32::try_from(query.max.min(PAGE_MAX)).unwrap_or(0);
        let list = self.client.list_objects().bucket(bucket.as_str()).max_keys(max);
        let list = list.prefix(&query.prefix).set_marker(self.marker(query));
        let list = list.set_delimiter(query.delimiter.map(String::from));
        let page = list.encoding_type(EncodingType::Url).send().await.map_err(error_of)?;
        page_of(page)
    }

    /// Where a page begins: behind all that a common prefix stands for, if it begins with one.
    fn marker(&self, query: &ListQuery) -> Option<String> {
        let after = query.after.clone()?;
        let rest = after.strip_prefix(&query.prefix);
        let is_common = query.delimiter.zip(rest).is_some_and(|(delimiter, rest)| {
            rest.find(delimiter).is_some_and(|at| at + delimiter.len_utf8() == rest.len())
        });
        let skips = is_common && self.skips_prefixes;
        Some(if skips { format!("{after}{}", char::MAX) } else { after })
    }

    /// Deletes an object, there or not.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn delete(&self, bucket: &BucketName, key: &str) -> Result<(), Error> {
        let deleted = self.client.delete_object().bucket(bucket.as_str()).key(key).send().await;
        deleted.map(drop).map_err(error_of)
    }

    /// Deletes objects, there or not. After a failure some are deleted.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn delete_all(&self, bucket: &BucketName, keys: &[String]) -> Result<(), Error> {
        // XML has no way to write these.
        let (odd, plain): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| key.chars().any(|c| !is_xml(c)));
        for key in odd {
            self.delete(bucket, key).await?;
        }
        for keys in plain.chunks(PAGE_MAX as usize) {
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build());
            let objects = objects.collect::<Result<Vec<_>, _>>().map_err(Error::unavailable)?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
            let delete = delete.map_err(Error::unavailable)?;
            let delete = self.client.delete_objects().bucket(bucket.as_str()).delete(delete);
            let deleted = delete.send().await.map_err(error_of)?;
            // A policy may shut out even our own hand here, but not from a key by itself.
            for key in deleted.errors().iter().filter_map(|error| error.key()) {
                self.delete(bucket, key).await?;
            }
        }
        Ok(())
    }

    /// Lists unfinished uploads, 1000 at most.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn uploads(
        &self,
        bucket: &BucketName,
        after: Option<&UploadCursor>,
        max: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        let page = i32::try_from(max.min(PAGE_MAX)).unwrap_or(0);
        let list = self.client.list_multipart_uploads().bucket(bucket.as_str()).max_uploads(page);
        let list = list.set_key_marker(after.map(|after| after.key.clone()));
        let list = list.set_upload_id_marker(after.map(|after| after.upload_id.clone()));
        // Not encoded: some servers do it without saying so.
        let listed = list.send().await.map_err(error_of)?;
        let uploads = listed.uploads().iter().map(upload_of);
        let mut uploads = uploads.collect::<Result<Vec<_>, Error>>()?;
        // Some servers give the right page in no order, and some give all there are.
        uploads.sort_unstable_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
        let place = |own: &UploadInfo| {
            after.map(|after| (&own.key, &own.upload_id).cmp(&(&after.key, &after.upload_id)))
        };
        if uploads.iter().any(|own| place(own) == Some(Ordering::Equal)) {
            uploads.retain(|own| place(own) == Some(Ordering::Greater));
        }
        uploads.truncate(usize::try_from(page).unwrap_or(0));
        Ok(uploads)
    }

    /// Ends unfinished uploads, `max` of them at most, and answers how many.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn abort_uploads(
        &self,
        bucket: &BucketName,
        begun_before: Option<OffsetDateTime>,
        max: u32,
    ) -> Result<u32, Error> {
        let (mut aborted, mut after) = (0, None);
        while aborted < max {
            let page = self.uploads(bucket, after.as_ref(), PAGE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(UploadCursor { key: last.key.clone(), upload_id: last.upload_id.clone() });
            let is_old = |upload: &&UploadInfo| begun_before.is_none_or(|t| upload.begin_time < t);
            for upload in page.iter().filter(is_old) {
                if aborted == max {
                    break;
                }
                self.abort(bucket, upload).await?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }

    pub(crate) async fn abort(
        &self,
        bucket: &BucketName,
        upload: &UploadInfo,
    ) -> Result<(), Error> {
        let abort = self.client.abort_multipart_upload().bucket(bucket.as_str());
        let abort = abort.key(&upload.key).upload_id(&upload.upload_id);
        match abort.send().await.map_err(error_of) {
            // Its client has ended it.
            Err(Error::NotFound) => Ok(()),
            aborted => aborted.map(drop),
        }
    }
}

fn upload_of(upload: &MultipartUpload) -> Result<UploadInfo, Error> {
    let time = upload.initiated().map_or(0, aws_sdk_s3::primitives::DateTime::as_nanos);
    Ok(UploadInfo {
        key: upload.key().unwrap_or_default().to_owned(),
        upload_id: upload.upload_id().unwrap_or_default().to_owned(),
        begin_time: OffsetDateTime::from_unix_timestamp_nanos(time).map_err(Error::unavailable)?,
        // Its parts would have to be listed.
        stored_bytes: None,
    })
}

fn page_of(page: ListObjectsOutput) -> Result<ObjectPage, Error> {
    let is_encoded = page.encoding_type().is_some();
    let mut objects = Vec::new();
    for object in page.contents() {
        let time = object.last_modified().map_or(0, aws_sdk_s3::primitives::DateTime::as_nanos);
        let update_time = OffsetDateTime::from_unix_timestamp_nanos(time);
        objects.push(ObjectInfo {
            key: decoded(object.key().unwrap_or_default(), is_encoded)?,
            size_bytes: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            update_time: update_time.map_err(Error::unavailable)?,
            etag: object.e_tag().unwrap_or_default().trim_matches('"').to_owned(),
        });
    }
    let prefixes = page.common_prefixes().iter().filter_map(|common| common.prefix());
    let prefixes = prefixes.map(|prefix| decoded(prefix, is_encoded));
    let prefixes = prefixes.collect::<Result<Vec<_>, Error>>()?;
    let mut next = None;
    if page.is_truncated() == Some(true) {
        // What RGW gives as the next marker it does not encode; it is the last of the page.
        let last_key = objects.last().map(|object| &object.key);
        next = last_key.max(prefixes.last()).cloned();
    }
    Ok(ObjectPage { objects, prefixes, next })
}

/// A key as servers encode it when they are asked to: a plus is a plus.
fn decoded(text: &str, is_encoded: bool) -> Result<String, Error> {
    if !is_encoded {
        return Ok(text.to_owned());
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(Error::unavailable)?;
    Ok(decoded.into_owned())
}

/// Source: Extensible Markup Language (XML) 1.0, section 2.2. A carriage return would arrive
/// as a line feed.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

pub(crate) fn error_of<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fault_of(error).into()
}

/// What went wrong with a call of the library's client.
pub fn fault_of<E>(error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    match (status, error.as_service_error()) {
        (Some(status), Some(refusal)) => {
            let code = refusal.code().unwrap_or_default().to_owned();
            Fault::Refused { status, code }
        }
        (Some(status), None) if !status.is_success() => {
            Fault::Refused { status, code: String::new() }
        }
        // The cause alone, without the request, which is signed.
        _ => match error.into_source() {
            Ok(source) => Fault::Failed(source),
            Err(_) => Fault::failed("the server gave no answer"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_they_were_encoded() {
        assert_eq!(decoded("sp%20ace%2Bplus%252+", true).unwrap(), "sp ace+plus%2+");
        assert_eq!(decoded("a%20b", false).unwrap(), "a%20b");
        assert!(decoded("%ff", true).is_err());
    }

    #[test]
    fn keys_that_xml_cannot_hold_are_told_apart() {
        for (key, plain) in [("é/a b\t+%", true), ("a\u{1}", false), ("a\r", false)] {
            assert_eq!(key.chars().all(is_xml), plain, "{key:?}");
        }
    }
}
