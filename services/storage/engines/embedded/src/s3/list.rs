//! Listings of objects and of unfinished uploads.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use super::bucket::owner;
use super::condition::etag;
use crate::access::Caller;
use crate::index::list::{After, ListedObject, Page, Query, just_after_upload};

/// Items of a page, at most and by default.
const PAGE_MAX: i32 = 1000;

/// How keys are written into an answer.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    is_url: bool,
}

impl Encoding {
    fn of(kind: Option<&EncodingType>) -> S3Result<Self> {
        match kind.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { is_url: false }),
            Some(EncodingType::URL) => Ok(Self { is_url: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "encoding-type is url or absent")),
        }
    }

    /// Everything but unreserved characters and `/` is escaped, a space as `%20`, which readers
    /// of forms and of addresses understand alike.
    fn text(self, text: &[u8]) -> String {
        let plain = String::from_utf8_lossy(text);
        if !self.is_url {
            return plain.into_owned();
        }
        let mut encoded = String::with_capacity(text.len());
        for byte in plain.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    }

    fn option(self, text: Option<String>) -> Option<String> {
        text.map(|text| self.text(text.as_bytes()))
    }

    fn prefixes(self, prefixes: Vec<Vec<u8>>) -> Option<Vec<CommonPrefix>> {
        let common = |prefix: Vec<u8>| CommonPrefix { prefix: Some(self.text(&prefix)) };
        Some(prefixes.into_iter().map(common).collect())
    }
}

fn page_size(max: Option<i32>) -> S3Result<i32> {
    match max.unwrap_or(PAGE_MAX) {
        max if max < 0 => Err(s3_error!(InvalidArgument, "the size of a page is negative")),
        max => Ok(max.min(PAGE_MAX)),
    }
}

fn objects(rows: Vec<ListedObject>, encoding: Encoding, owner: Option<&Owner>) -> Vec<Object> {
    let object = |row: ListedObject| Object {
        e_tag: etag(&row.etag),
        key: Some(encoding.text(&row.key)),
        last_modified: Some(row.update_time.into()),
        owner: owner.cloned(),
        size: Some(row.size_bytes),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    };
    rows.into_iter().map(object).collect()
}

fn query(prefix: Option<&String>, delimiter: Option<&String>, after: After, max: i32) -> Query {
    Query {
        prefix: prefix.map(|text| text.as_bytes().to_vec()).unwrap_or_default(),
        // An empty delimiter is none.
        delimiter: delimiter.map(|text| text.as_bytes().to_vec()).unwrap_or_default(),
        after,
        max: usize::try_from(max).unwrap_or(0),
    }
}

pub(super) async fn list_objects(
    backend: &Backend,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys)?;
    // The marker may be a common prefix that a page ended with.
    let after = input.marker.as_ref().filter(|marker| !marker.is_empty());
    let after = after.map_or(After::Start, |marker| After::Item(marker.as_bytes().to_vec()));
    let query = query(input.prefix.as_ref(), input.delimiter.as_ref(), after, max);
    let page = backend.index.list_objects(caller.bucket()?, &query).await?;
    let Page { rows, prefixes, next } = page;
    Ok(S3Response::new(ListObjectsOutput {
        is_truncated: Some(next.is_some()),
        next_marker: next.map(|next| encoding.text(&next)),
        contents: Some(objects(rows, encoding, Some(&owner(&caller)))),
        common_prefixes: encoding.prefixes(prefixes),
        name: Some(input.bucket),
        prefix: Some(encoding.option(input.prefix).unwrap_or_default()),
        marker: Some(encoding.option(input.marker).unwrap_or_default()),
        delimiter: encoding.option(input.delimiter.filter(|text| !text.is_empty())),
        max_keys: Some(max),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

pub(super) async fn list_objects_v2(
    backend: &Backend,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys)?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => {
            let item = BASE64_URL_SAFE_NO_PAD.decode(token);
            After::Item(item.map_err(|_| s3_error!(InvalidArgument, "not a continuation token"))?)
        }
        (None, Some(key)) if !key.is_empty() => After::Key(key.as_bytes().to_vec()),
        (None, _) => After::Start,
    };
    let query = query(input.prefix.as_ref(), input.delimiter.as_ref(), after, max);
    let page = backend.index.list_objects(caller.bucket()?, &query).await?;
    let Page { rows, prefixes, next } = page;
    let owner = input.fetch_owner.unwrap_or(false).then(|| owner(&caller));
    Ok(S3Response::new(ListObjectsV2Output {
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|next| BASE64_URL_SAFE_NO_PAD.encode(next)),
        key_count: i32::try_from(rows.len() + prefixes.len()).ok(),
        contents: Some(objects(rows, encoding, owner.as_ref())),
        common_prefixes: encoding.prefixes(prefixes),
        name: Some(input.bucket),
        prefix: Some(encoding.option(input.prefix).unwrap_or_default()),
        start_after: encoding.option(input.start_after),
        continuation_token: input.continuation_token,
        delimiter: encoding.option(input.delimiter.filter(|text| !text.is_empty())),
        max_keys: Some(max),
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    }))
}

pub(super) async fn list_multipart_uploads(
    backend: &Backend,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_uploads)?;
    let key = input.key_marker.clone().unwrap_or_default().into_bytes();
    let upload = input.upload_id_marker.clone().unwrap_or_default();
    let after = if key.is_empty() { After::Start } else { After::Item(key.clone()) };
    // With an upload's id the page goes on inside the key.
    let start = (!key.is_empty() && !upload.is_empty()).then(|| (key, just_after_upload(&upload)));
    let query = query(input.prefix.as_ref(), input.delimiter.as_ref(), after, max);
    let page = backend.index.list_uploads(caller.bucket()?, &query, start).await?;
    let Page { rows, prefixes, next } = page;
    let next_upload = rows.last().filter(|row| next.as_ref() == Some(&row.key));
    let next_upload = next_upload.map(|row| row.id.clone());
    let uploads = rows.into_iter().map(|row| MultipartUpload {
        initiated: Some(row.create_time.into()),
        key: Some(encoding.text(&row.key)),
        owner: Some(owner(&caller)),
        initiator: Some(Initiator { display_name: None, id: owner(&caller).id }),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(row.id),
        ..MultipartUpload::default()
    });
    Ok(S3Response::new(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        common_prefixes: encoding.prefixes(prefixes),
        bucket: Some(input.bucket),
        is_truncated: Some(next.is_some()),
        next_key_marker: next.map(|next| encoding.text(&next)),
        next_upload_id_marker: next_upload,
        key_marker: encoding.option(input.key_marker),
        upload_id_marker: input.upload_id_marker,
        prefix: encoding.option(input.prefix),
        delimiter: encoding.option(input.delimiter.filter(|text| !text.is_empty())),
        max_uploads: Some(max),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    }))
}
